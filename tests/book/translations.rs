//! The Chinese edition: in step with the English one, with one word for one thing, and written as Chinese
//! is written. CONTRIBUTING.md, "The Chinese edition", has the rules and their reasons.

use std::{
    collections::{BTreeMap, HashSet},
    env, fs,
    ops::Range,
};

use pulldown_cmark::{Event, Tag, TagEnd};
use sha2::{Digest, Sha256};
use similar::{DiffTag, capture_diff_slices};
use crate::support::{self, Book, Chapter, Language, Problem};

/// Chapters that have no Chinese text yet.
const ENGLISH_ONLY: [&str; 0] = [];

/// Chapters in which a term of the glossary occurs only in another meaning, for which Chinese has another
/// word: a sender is a person, a reader a client or a `BufReader`, a stream a connection, a limit one of
/// time, and `select` lets two futures race; or that describe something before it gets its Chinese name.
const OTHER_MEANINGS: [(&str, &str); 18] = [
    ("00-specification", "reader"),
    ("00-specification", "receiver"),
    ("00-specification", "sender"),
    ("02-read", "reader"),
    ("02-read", "sender"),
    ("02-read", "stream"),
    ("07-client", "race"),
    ("08-names", "race"),
    ("08-names", "stream"),
    ("09-limits", "race"),
    ("10-backpressure", "race"),
    ("10-backpressure", "receiver"),
    ("11-drain", "limit"),
    ("11-drain", "receiver"),
    ("12-throughput", "sender"),
    ("13-library", "limit"),
    ("faults", "race"),
    ("faults", "reader"),
];

/// What a machine makes of the terms, what other books call them, and the tone of an advertisement: what
/// no text of this book says, and what to write.
const FORBIDDEN: [(&str, &str); 35] = [
    ("经纪人", "代理任务"),
    ("代理商", "代理任务"),
    ("代理人", "代理任务"),
    ("演员", "参与者模型"),
    ("频道", "通道"),
    ("信道", "通道"),
    ("期货", "future"),
    ("轮询", "poll"),
    ("读者任务", "读任务"),
    ("写者", "写任务"),
    ("作家", "写任务"),
    ("对等", "成员"),
    ("侦听", "监听"),
    ("听众", "监听器"),
    ("邮件", "消息 or 行"),
    ("流媒体", "流"),
    ("恐慌", "panic"),
    ("板条箱", "crate"),
    ("特质", "trait"),
    ("反压", "背压"),
    ("回压", "背压"),
    ("半封闭", "半关闭"),
    ("半闭", "半关闭"),
    ("关机", "停机"),
    ("成绩单", "对话记录"),
    ("抄本", "对话记录"),
    ("截止日期", "期限"),
    ("您", "你"),
    ("简单地", "nothing"),
    ("只需", "nothing, or 只要"),
    ("显然", "nothing"),
    ("众所周知", "nothing"),
    ("毫无疑问", "nothing"),
    ("值得注意的是", "nothing"),
    ("进行了", "the verb itself"),
];

#[test]
fn chinese_chapters_are_those_of_the_english_edition() {
    support::assert_none(&files(&Book::load(), &ENGLISH_ONLY));
}

#[test]
fn chinese_chapters_have_the_parts_of_the_english_ones() {
    support::assert_none(&parts(&Book::load(), &ENGLISH_ONLY));
}

/// `RENDERED=04-broker` confirms a chapter: its Chinese text renders the English one as it is now.
#[test]
fn chinese_chapters_render_the_english_text_of_today() {
    let mut book = Book::load();
    if let Ok(names) = env::var("RENDERED") {
        support::assert_none(&confirm(&book, &names));
        book = Book::load();
    }
    support::assert_none(&outdated(&book));
}

#[test]
fn one_term_has_one_rendering() {
    support::assert_none(&terms(&Book::load(), &OTHER_MEANINGS));
}

#[test]
fn chinese_is_written_as_chinese() {
    support::assert_none(&writing(&Book::load(), &FORBIDDEN));
}

/// A text in both languages.
struct Pair<'a> {
    english: &'a Chapter,
    chinese: &'a Chapter,
}

fn language<'a>(book: &'a Book, name: &str) -> Option<&'a Language> {
    book.languages.iter().find(|language| language.name == name)
}

/// Every text that exists in both languages.
fn pairs(book: &Book) -> Vec<Pair<'_>> {
    let texts = |name| {
        let language = language(book, name).into_iter();
        language.flat_map(Language::texts)
    };
    texts("en")
        .filter_map(|english| {
            let chinese = texts("zh-CN").find(|chinese| chinese.name == english.name)?;
            Some(Pair { english, chinese })
        })
        .collect()
}

/// Chapters that one language has and the other does not.
fn files(book: &Book, english_only: &[&str]) -> Vec<Problem> {
    let [Some(english), Some(chinese)] = ["en", "zh-CN"].map(|name| language(book, name)) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    let list = "ENGLISH_ONLY in tests/support/mod.rs";
    for chapter in english.texts() {
        let rendered = chinese.texts().any(|other| other.name == chapter.name);
        let listed = english_only.contains(&chapter.name.as_str());
        let what = match (rendered, listed) {
            (true, true) => format!("exists in Chinese now; take it from {list}"),
            (false, false) => format!(
                "does not exist in Chinese; write src/zh-CN/{0}.md, or, for now, add \"{0}\" to {list}",
                chapter.name
            ),
            _ => continue,
        };
        problems.push(chapter.problem(0, what));
    }
    for chapter in chinese.texts() {
        if !english.texts().any(|other| other.name == chapter.name) {
            problems.push(chapter.problem(0, "does not exist in English"));
        }
    }
    for name in english_only {
        if !english.texts().any(|other| other.name == *name) {
            let what = format!("there is no {name}.md; take it from {list}");
            problems.push(english.summary.problem(0, what));
        }
    }
    problems
}

/// Headings, snippets, pictures, links, lists and tables that are not the same in both languages.
fn parts(book: &Book, english_only: &[&str]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for Pair { english, chinese } in pairs(book) {
        // The table of terms stands in front of the Chinese glossary, and it is in both languages.
        let skip = |chapter: &Chapter| match chapter.name.as_str() {
            "glossary" => chapter.text.find("\n## ").unwrap_or_default(),
            _ => 0,
        };
        let ours = parts_of(english, skip(english), english_only);
        let theirs = parts_of(chinese, skip(chinese), english_only);
        let keys: Vec<_> = ours.iter().map(|part| &part.key).collect();
        let others: Vec<_> = theirs.iter().map(|part| &part.key).collect();
        let change = capture_diff_slices(similar::Algorithm::Myers, &keys, &others)
            .into_iter()
            .find(|operation| operation.tag() != DiffTag::Equal);
        if let Some(change) = change {
            let list = |parts: &[Part], range: Range<usize>| match range.is_empty() {
                true => "nothing".to_string(),
                false => parts[range]
                    .iter()
                    .map(|part| part.key.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            let line = theirs
                .get(change.new_range().start)
                .or(theirs.last())
                .map_or(0, |part| part.line);
            let what = format!(
                "here is {}, where {}:{} has {}",
                list(&theirs, change.new_range()),
                english.path,
                ours.get(change.old_range().start)
                    .or(ours.last())
                    .map_or(0, |part| part.line),
                list(&ours, change.old_range()),
            );
            problems.push(chinese.problem(line, what));
        }
        problems.extend(links(english, chinese, english_only));
    }
    problems
}

/// What a chapter in another language has to have in the same place.
struct Part {
    line: usize,
    /// What it is, in words that tell it from others.
    key: String,
}

fn parts_of(chapter: &Chapter, skip: usize, english_only: &[&str]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut add = |range: &Range<usize>, key: String| {
        let line = chapter.line_of(range.start);
        parts.push(Part { line, key });
    };
    let summary = chapter.name == "SUMMARY";
    let fences = chapter.fences();
    let headings = chapter.headings();
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    for (event, range) in chapter.events() {
        if range.start < skip {
            continue;
        }
        match event {
            Event::Start(Tag::Heading { level, id, .. }) if !summary => {
                if chapter.name == "README" {
                    // GitHub knows no names of headings.
                    add(&range, format!("a heading {level}"));
                    continue;
                }
                let heading = headings.iter().find(|heading| heading.range == range);
                let text = heading.map_or("", |heading| &heading.text);
                let mut id = id.map_or_else(|| id_of(text), |id| id.to_string());
                let count = ids.entry(id.clone()).or_default();
                if *count > 0 {
                    id = format!("{id}-{count}");
                }
                *count += 1;
                add(&range, format!("a heading {level} {{#{id}}}"));
            }
            Event::Start(Tag::CodeBlock(_)) => {
                let fence = fences.iter().find(|fence| fence.range == range);
                let Some(fence) = fence else { continue };
                // The words of a picture are translated.
                let picture = fence.info == "text" && !fence.text.contains("{{#include");
                add(
                    &range,
                    match picture {
                        true => "a picture".to_string(),
                        false => format!("```{} {}```", fence.info, fence.text),
                    },
                );
            }
            Event::Start(Tag::List(number)) if !summary => {
                let kind = if number.is_some() { "numbered " } else { "" };
                add(&range, format!("a {kind}list"));
            }
            Event::Start(Tag::Link { dest_url, .. }) if summary => {
                let name = dest_url.trim_end_matches(".md");
                if !english_only.contains(&name) {
                    add(&range, format!("the chapter {dest_url}"));
                }
            }
            Event::Start(Tag::Item) if !summary => add(&range, "an item".to_string()),
            Event::Start(Tag::Paragraph) if !summary => add(&range, "a paragraph".to_string()),
            Event::Start(Tag::TableRow) => add(&range, "a row".to_string()),
            Event::Html(html) | Event::InlineHtml(html) if html.contains("<details>") => {
                add(&range, "<details>".to_string());
            }
            _ => {}
        }
    }
    parts
}

/// The name that mdBook gives to a heading without one.
fn id_of(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c),
            c if c.is_whitespace() => Some('-'),
            _ => None,
        })
        .collect()
}

/// Links that one language has and the other does not. Their order within a sentence may differ.
fn links(english: &Chapter, chinese: &Chapter, english_only: &[&str]) -> Vec<Problem> {
    let links = |chapter: &Chapter| {
        let mut links: BTreeMap<String, (isize, usize)> = BTreeMap::new();
        for (event, range) in chapter.events() {
            if let Event::Start(Tag::Link { dest_url, .. }) = event {
                // Each language of the README begins with a link to the other.
                if chapter.name == "README" && dest_url.starts_with("README.") {
                    continue;
                }
                let count = links.entry(dest_url.to_string()).or_default();
                *count = (count.0 + 1, chapter.line_of(range.start));
            }
        }
        links
    };
    let (ours, mut theirs) = (links(english), links(chinese));
    let mut problems = Vec::new();
    for (link, (wanted, line)) in ours {
        let (path, fragment) = link.split_once('#').unwrap_or((&link, ""));
        let name = path.trim_end_matches(".md");
        // What is not rendered yet is linked to in English.
        let expected = match english_only.contains(&name) {
            true if fragment.is_empty() => format!("../{name}.html"),
            true => format!("../{name}.html#{fragment}"),
            false => link.clone(),
        };
        let (found, _) = theirs.remove(&expected).unwrap_or_default();
        // The summary lists what there is.
        if found != wanted && !(chinese.name == "SUMMARY" && expected != link) {
            let what = format!(
                "links {found} times to {expected}; {}:{line} does so {wanted} times",
                english.path
            );
            problems.push(chinese.problem(0, what));
        }
    }
    for (link, (_, line)) in theirs {
        let what = format!("links to {link}, and {} does not", english.path);
        problems.push(chinese.problem(line, what));
    }
    problems
}

/// A paragraph, a heading, a list: what stands between blank lines.
struct Block<'a> {
    line: usize,
    text: &'a str,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut start = 0;
    let mut open: Option<(usize, usize)> = None;
    for (line, number) in text.split_inclusive('\n').zip(1..).chain([("", 0)]) {
        match (line.trim().is_empty(), open) {
            (false, None) => open = Some((start, number)),
            (true, Some((from, line))) => {
                let text = text[from..start].trim_end();
                blocks.push(Block { line, text });
                open = None;
            }
            _ => {}
        }
        start += line.len();
    }
    blocks
}

/// What begins the record of the English text at the end of a Chinese one.
const RECORD: &str = "<!-- renders ";

/// The record of an English text: its path, and a hash of each of its blocks.
fn record(english: &Chapter) -> String {
    let mut record = format!("{RECORD}{}:", english.path);
    for (count, block) in blocks(&english.text).iter().enumerate() {
        record += if count % 10 == 0 { "\n" } else { " " };
        record += &hash(block.text);
    }
    record + "\n-->\n"
}

fn hash(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A Chinese text, and the hashes in its record, if it has one.
fn split_record<'a>(chinese: &'a Chapter, english: &Chapter) -> (&'a str, Option<Vec<&'a str>>) {
    let Some((text, record)) = chinese.text.rsplit_once(RECORD) else {
        return (&chinese.text, None);
    };
    let hashes = record
        .trim_end()
        .strip_suffix("-->")
        .and_then(|record| record.strip_prefix(&format!("{}:", english.path)));
    (
        text,
        hashes.map(|hashes| hashes.split_whitespace().collect()),
    )
}

/// Writes the record of today's English text into the Chinese texts of these names.
fn confirm(book: &Book, names: &str) -> Vec<Problem> {
    let mut names: HashSet<&str> = names
        .split([',', ' '])
        .filter(|name| !name.is_empty())
        .collect();
    for Pair { english, chinese } in pairs(book) {
        if names.remove(english.name.as_str()) {
            let (text, _) = split_record(chinese, english);
            let text = format!("{}\n\n{}", text.trim_end(), record(english));
            fs::write(book.root.join(&chinese.path), text).expect("the chapter can be written to");
        }
    }
    names
        .into_iter()
        .map(|name| Problem {
            path: "RENDERED".to_string(),
            line: 0,
            what: format!("there is no {name} in both languages; name it like 04-broker"),
        })
        .collect()
}

/// Chinese texts whose English has changed since they were confirmed, paragraph by paragraph.
fn outdated(book: &Book) -> Vec<Problem> {
    let mut problems = Vec::new();
    for Pair { english, chinese } in pairs(book) {
        let again = format!(
            "`RENDERED={} cargo test --test translations` confirms that the Chinese renders it",
            english.name
        );
        let (text, recorded) = split_record(chinese, english);
        let Some(recorded) = recorded else {
            let what = format!(
                "does not say which text of {} it renders; {again}",
                english.path
            );
            problems.push(chinese.problem(0, what));
            continue;
        };
        let (ours, theirs) = (blocks(&english.text), blocks(text));
        let hashes: Vec<String> = ours.iter().map(|block| hash(block.text)).collect();
        let hashes: Vec<&str> = hashes.iter().map(String::as_str).collect();
        // As long as there are as many blocks as the English had, each has its counterpart.
        let aligned = theirs.len() == recorded.len();
        let mut changed = false;
        for change in capture_diff_slices(similar::Algorithm::Myers, &recorded, &hashes) {
            if change.tag() == DiffTag::Equal {
                continue;
            }
            let (old, new) = (change.old_range(), change.new_range());
            let line = theirs
                .get(old.start)
                .or(theirs.last())
                .filter(|_| aligned)
                .map_or(0, |block| block.line);
            let now: Vec<&str> = ours[new.clone()].iter().map(|block| block.text).collect();
            let at = ours.get(new.start).map_or(0, |block| block.line);
            let what = match (old.len(), new.len()) {
                (_, 0) => format!("the English of {} from here is gone", count(old.len())),
                (0, _) => format!(
                    "before this, {}:{at} has {} more:\n{}\n",
                    english.path,
                    count(new.len()),
                    now.join("\n\n")
                ),
                _ => format!(
                    "the English of {} from here has changed; {}:{at} says now:\n{}\n",
                    count(old.len()),
                    english.path,
                    now.join("\n\n")
                ),
            };
            problems.push(chinese.problem(line, what));
            changed = true;
        }
        if changed {
            let what = format!(
                "bring this up to date, then {again}; `git log -p -- {}` shows what the English said",
                english.path
            );
            problems.push(chinese.problem(0, what));
        }
    }
    problems
}

fn count(blocks: usize) -> String {
    match blocks {
        1 => "1 paragraph".to_string(),
        blocks => format!("{blocks} paragraphs"),
    }
}

/// The rows of the table of terms: English, Chinese, and the line.
fn glossary(book: &Book) -> Vec<(String, String, usize)> {
    let chapters = language(book, "zh-CN")
        .into_iter()
        .flat_map(Language::texts);
    let Some(glossary) = chapters
        .into_iter()
        .find(|chapter| chapter.name == "glossary")
    else {
        return Vec::new();
    };
    let mut terms = Vec::new();
    for (line, number) in glossary.text.lines().zip(1..) {
        let Some(row) = line
            .strip_prefix("| ")
            .and_then(|row| row.strip_suffix(" |"))
        else {
            continue;
        };
        let Some((english, chinese)) = row.split_once(" | ") else {
            continue;
        };
        if english == "英文" || english.starts_with('-') {
            continue;
        }
        // Several words of one row have a rendering each, or one for all.
        let chinese: Vec<&str> = chinese
            .split('、')
            .map(|word| word.split('（').next().unwrap_or_default())
            .collect();
        for (position, word) in english.split(", ").enumerate() {
            let chinese = chinese.get(position).or(chinese.last()).copied();
            terms.push((
                word.to_string(),
                chinese.unwrap_or_default().to_string(),
                number,
            ));
        }
    }
    terms
}

/// Terms with two renderings, and chapters that render one in another way.
fn terms(book: &Book, other_meanings: &[(&str, &str)]) -> Vec<Problem> {
    let terms = glossary(book);
    let mut problems = Vec::new();
    let problem = |line: usize, what: String| Problem {
        path: "src/zh-CN/glossary.md".to_string(),
        line,
        what,
    };
    for (index, (english, chinese, line)) in terms.iter().enumerate() {
        for (other, rendering, before) in &terms[..index] {
            if other == english {
                problems.push(problem(
                    *line,
                    format!("{english} is in line {before} already"),
                ));
            }
            if rendering == chinese && before != line {
                let what = format!("{chinese} stands for {other} in line {before} already");
                problems.push(problem(*line, what));
            }
        }
    }
    for Pair { english, chinese } in pairs(book) {
        if english.name == "SUMMARY" {
            continue;
        }
        let (ours, theirs) = (flat(english), flat(chinese));
        let prose: String = ours
            .iter()
            .map(|(text, _)| text.to_lowercase() + "\n")
            .collect();
        let words: HashSet<&str> = prose
            .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
            .collect();
        for (term, rendering, _) in &terms {
            let used = match term.contains(' ') {
                true => prose.contains(term),
                false => words.contains(term.as_str()) || words.contains(&*format!("{term}s")),
            };
            let missing = used && !theirs.iter().any(|(text, _)| text.contains(rendering));
            let excused = other_meanings.contains(&(&english.name, term));
            let list = "OTHER_MEANINGS in tests/translations.rs";
            let what = match (missing, excused) {
                (true, false) => format!(
                    "{} speaks of “{term}”, and {rendering} does not occur here; write {rendering} (or, \
                     where the word never has the meaning of the glossary, add the chapter to {list})",
                    english.path
                ),
                (false, true) => format!("{rendering} stands here for “{term}”; correct {list}"),
                _ => continue,
            };
            problems.push(chinese.problem(0, what));
        }
    }
    problems
}

/// The paragraphs of a chapter as one reads them, each with its line: no code blocks, no marks, and
/// every piece of code between backquotes as an `x`.
fn flat(chapter: &Chapter) -> Vec<(String, usize)> {
    let mut paragraphs: Vec<(String, usize)> = Vec::new();
    let mut inside = false;
    let mut open = false;
    for (event, range) in chapter.events() {
        let piece = match &event {
            Event::Start(Tag::CodeBlock(_)) => {
                inside = true;
                continue;
            }
            Event::End(TagEnd::CodeBlock) => {
                inside = false;
                continue;
            }
            Event::Text(text) if !inside => text.to_string(),
            Event::Code(_) => "`x`".to_string(),
            // A summary is a list of its lines.
            Event::SoftBreak if chapter.name == "SUMMARY" => {
                open = false;
                continue;
            }
            Event::SoftBreak | Event::HardBreak => " ".to_string(),
            Event::Start(
                Tag::Paragraph | Tag::Heading { .. } | Tag::Item | Tag::TableCell | Tag::HtmlBlock,
            )
            | Event::End(
                TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::Item | TagEnd::TableCell,
            ) => {
                open = false;
                continue;
            }
            Event::InlineHtml(_) => {
                open = false;
                continue;
            }
            Event::Html(html) if !html.starts_with("<!--") => {
                open = false;
                html.replace(['<', '>', '/'], " ")
                    .replace("details", "")
                    .replace("summary", "")
                    .trim()
                    .to_string()
            }
            _ => continue,
        };
        match paragraphs.last_mut().filter(|_| open) {
            Some((text, _)) => *text += &piece,
            None => paragraphs.push((piece, chapter.line_of(range.start))),
        }
        open = true;
    }
    paragraphs.retain(|(text, _)| !text.trim().is_empty());
    paragraphs
}

fn is_han(c: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&c)
}

/// Punctuation that has its space in itself.
fn is_wide(c: char) -> bool {
    "，。：；！？、（）“”‘’《》…—".contains(c)
}

/// Half-width punctuation beside Chinese, wrong spaces, italics, English, and words of a machine.
fn writing(book: &Book, forbidden: &[(&str, &str)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let chapters = language(book, "zh-CN")
        .into_iter()
        .flat_map(Language::texts);
    for chapter in chapters {
        for (text, line) in flat(chapter) {
            let mut found: Vec<String> = misprints(&text);
            found.extend(english_in(&text));
            for (word, better) in forbidden {
                if text.contains(word) {
                    found.push(format!("`{word}` is not used in this book; write {better}"));
                }
            }
            problems.extend(found.into_iter().map(|what| chapter.problem(line, what)));
        }
        for (event, range) in chapter.events() {
            if matches!(event, Event::Start(Tag::Emphasis)) {
                let what = "Chinese has no italics; make it bold, or leave it plain";
                problems.push(chapter.problem(chapter.line_of(range.start), what));
            }
        }
    }
    problems
}

/// What is wrong between neighbouring characters.
fn misprints(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.trim().chars().collect();
    let mut problems = Vec::new();
    for (index, pair) in characters.windows(2).enumerate() {
        let (before, after) = (pair[0], pair[1]);
        let latin = |c: char| c.is_ascii_alphanumeric() || c == '`';
        let third = characters.get(index + 2).copied();
        let around: String = characters
            [index.saturating_sub(8)..(index + 10).min(characters.len())]
            .iter()
            .collect();
        let what = if is_han(before) && latin(after) || latin(before) && is_han(after) {
            "a space is missing between Chinese and Latin"
        } else if is_wide(before) && after == ' ' || before == ' ' && is_wide(after) {
            "there is no space beside full-width punctuation"
        } else if is_han(before) && after == ' ' && third.is_some_and(is_han) {
            "there is no space between Chinese characters"
        } else if (is_han(before) || is_wide(before)) && ",.;:!?()\"'".contains(after)
            || ",;:!?()\"'".contains(before) && is_han(after)
        {
            "punctuation of a Chinese sentence is full-width"
        } else {
            continue;
        };
        problems.push(format!("{what}: `{around}`"));
    }
    problems
}

/// A run of English words that is too long for a name.
fn english_in(text: &str) -> Option<String> {
    const WORDS: usize = 4;
    text.split(|c: char| !(c.is_ascii_alphabetic() || "' -".contains(c)))
        .find(|run| run.split_whitespace().count() >= WORDS)
        .map(|run| {
            format!(
                "this is English: `{}`; translate it, or mark it as code",
                run.trim()
            )
        })
}

/// The checks, held against a sound book in two languages with one fault put in.
mod seen_to_fail {
    use super::*;
    use crate::fixture::Fixture;

    const ENGLISH: &str = "# Spec\n\nThe broker is a task.\n\n1. One\n2. Two\n\n## The end\n\n\
                           [Back](01-quiet.md) to the start.\n";
    const CHINESE: &str = "# 规范 {#spec}\n\n代理任务（broker）是一个任务。\n\n1. 一\n2. 二\n\n\
                           ## 结尾 {#the-end}\n\n[回到](01-quiet.md)开头。\n";
    const GLOSSARY: &str = "# 术语表 {#glossary}\n\n| 英文 | 中文 |\n| --- | --- |\n\
                            | broker | 代理任务（broker） |\n| sender, receiver | 发送端、接收端 |\n\n## 代理任务 {#broker}\n";
    const SPEC: &str = "src/zh-CN/00-spec.md";

    /// Two chapters, a glossary and a summary, in both languages.
    fn sound() -> Fixture {
        let summary = "- [One](00-spec.md)\n- [Two](glossary.md)\n";
        let fixture = Fixture::new()
            .remove("src/en/01-quiet.md")
            .remove("src/en/02-loud.md")
            .write("src/en/SUMMARY.md", summary)
            .write("src/en/00-spec.md", ENGLISH)
            .write("src/en/glossary.md", "# Glossary\n\n## Broker\n")
            .write(
                "src/zh-CN/SUMMARY.md",
                &summary.replace("One", "一").replace("Two", "二"),
            )
            .write(SPEC, CHINESE)
            .write("src/zh-CN/glossary.md", GLOSSARY);
        assert_eq!(confirm(&fixture.load(), "00-spec,glossary,SUMMARY"), []);
        fixture
    }

    fn lines(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(Problem::to_string).collect()
    }

    /// Everything that is wrong.
    fn problems(fixture: &Fixture) -> Vec<String> {
        let book = fixture.load();
        let problems = [
            files(&book, &[]),
            parts(&book, &[]),
            outdated(&book),
            terms(&book, &[]),
            writing(&book, &FORBIDDEN),
        ];
        lines(&problems.into_iter().flatten().collect::<Vec<_>>())
    }

    /// The one problem of the sound book with this text in the place of another.
    fn with(old: &str, new: &str) -> String {
        let problems = problems(&sound().edit(SPEC, old, new));
        assert_eq!(problems.len(), 1, "{problems:#?}");
        problems[0].clone()
    }

    #[test]
    fn a_sound_translation_passes() {
        assert_eq!(problems(&sound()), [""; 0]);
    }

    #[test]
    fn chapter_not_rendered() {
        let fixture = sound().remove(SPEC);
        let book = fixture.load();
        assert_eq!(files(&book, &["00-spec"]), []);
        let found = lines(&files(&book, &[]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("src/en/00-spec.md: does not exist in Chinese;"));
    }

    #[test]
    fn list_of_chapters_not_rendered_gets_shorter() {
        let found = lines(&files(&sound().load(), &["00-spec", "09-none"]));
        assert_eq!(
            found,
            [
                "src/en/00-spec.md: exists in Chinese now; take it from ENGLISH_ONLY in \
                 tests/support/mod.rs",
                "src/en/SUMMARY.md: there is no 09-none.md; take it from ENGLISH_ONLY in \
                 tests/support/mod.rs"
            ]
        );
    }

    #[test]
    fn chapter_only_in_chinese() {
        let found = problems(&sound().write("src/zh-CN/extra.md", "# 多余\n"));
        assert_eq!(found, ["src/zh-CN/extra.md: does not exist in English"]);
    }

    #[test]
    fn what_is_not_rendered_is_linked_to_in_english() {
        let fixture = sound()
            .write("src/en/08-new.md", "# New\n")
            .edit("src/en/00-spec.md", "(01-quiet.md)", "(08-new.md#new)")
            .edit(SPEC, "(01-quiet.md)", "(../08-new.html#new)");
        assert_eq!(parts(&fixture.load(), &["08-new"]), []);
        let fixture = fixture.edit(SPEC, "(../08-new.html#new)", "(08-new.md#new)");
        let found = lines(&parts(&fixture.load(), &["08-new"]));
        assert_eq!(
            found[0],
            "src/zh-CN/00-spec.md: links 0 times to ../08-new.html#new; src/en/00-spec.md:10 does so 1 times"
        );
    }

    #[test]
    fn heading_with_another_name() {
        let found = with("{#the-end}", "{#end}");
        let expected = "src/zh-CN/00-spec.md:8: here is a heading h2 {#end}, where src/en/00-spec.md:8 has a \
                        heading h2 {#the-end}";
        assert_eq!(found, expected);
    }

    #[test]
    fn item_left_out() {
        let found = with("\n2. 二", "");
        assert!(
            found.ends_with("here is nothing, where src/en/00-spec.md:6 has an item"),
            "{found}"
        );
    }

    #[test]
    fn another_snippet() {
        let fence = |file| format!("```text\n{{{{#include ../../code/{file}}}}}\n```\n");
        let fixture = sound()
            .write("src/en/00-spec.md", &format!("{ENGLISH}\n{}", fence("a")))
            .write(SPEC, &format!("{CHINESE}\n{}", fence("b")));
        confirm(&fixture.load(), "00-spec");
        let found = problems(&fixture);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("```text {{#include ../../code/b}}"),
            "{found:?}"
        );
    }

    #[test]
    fn another_link() {
        let found = problems(&sound().edit(SPEC, "(01-quiet.md)", "(02-loud.md)"));
        assert_eq!(
            found,
            [
                "src/zh-CN/00-spec.md: links 0 times to 01-quiet.md; src/en/00-spec.md:10 does so 1 times",
                "src/zh-CN/00-spec.md:10: links to 02-loud.md, and src/en/00-spec.md does not"
            ]
        );
    }

    #[test]
    fn chapters_in_another_order() {
        let summary = "- [二](glossary.md)\n- [一](00-spec.md)\n";
        let fixture = sound().write("src/zh-CN/SUMMARY.md", summary);
        confirm(&fixture.load(), "SUMMARY");
        let found = problems(&fixture);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("src/zh-CN/SUMMARY.md:1: here is"),
            "{found:?}"
        );
    }

    #[test]
    fn english_changed() {
        let fixture = sound().edit("src/en/00-spec.md", "is a task", "is one task");
        let found = problems(&fixture);
        let expected = [
            "src/zh-CN/00-spec.md:3: the English of 1 paragraph from here has changed; \
             src/en/00-spec.md:3 says now:\nThe broker is one task.\n",
            "src/zh-CN/00-spec.md: bring this up to date, then `RENDERED=00-spec cargo test --test \
             translations` confirms that the Chinese renders it; `git log -p -- src/en/00-spec.md` shows \
             what the English said",
        ];
        assert_eq!(found, expected);
        confirm(&fixture.load(), "00-spec");
        assert_eq!(problems(&fixture), [""; 0]);
    }

    #[test]
    fn english_grew_and_shrank() {
        let fixture = sound().edit("src/en/00-spec.md", "## The end", "New.\n\n## The end");
        let found = lines(&outdated(&fixture.load()));
        assert!(
            found[0].starts_with(
                "src/zh-CN/00-spec.md:8: before this, src/en/00-spec.md:8 has 1 paragraph more:\nNew.\n"
            ),
            "{found:?}"
        );
        let fixture = sound().edit("src/en/00-spec.md", "The broker is a task.\n\n", "");
        let found = lines(&outdated(&fixture.load()));
        assert!(
            found[0].starts_with(
                "src/zh-CN/00-spec.md:3: the English of 1 paragraph from here is gone"
            ),
            "{found:?}"
        );
    }

    #[test]
    fn nothing_recorded() {
        let found = problems(&sound().write(SPEC, CHINESE));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("does not say which text"), "{found:?}");
    }

    #[test]
    fn confirmation_of_nothing() {
        let found = lines(&confirm(&sound().load(), "04-none"));
        assert!(
            found[0].starts_with("RENDERED: there is no 04-none"),
            "{found:?}"
        );
    }

    #[test]
    fn term_rendered_in_another_way() {
        let found = with("代理任务（broker）", "居中的任务");
        assert!(
            found.contains("speaks of “broker”, and 代理任务 does not occur here"),
            "{found}"
        );
        let fixture = sound();
        let found = lines(&terms(&fixture.load(), &[("00-spec", "broker")]));
        assert_eq!(
            found,
            [
                "src/zh-CN/00-spec.md: 代理任务 stands here for “broker”; correct OTHER_MEANINGS in \
              tests/translations.rs"
            ]
        );
    }

    #[test]
    fn term_with_two_renderings() {
        let more = "发送端、接收端 |\n| broker | 中间人 |\n| agent | 代理任务 |";
        let fixture = sound().edit("src/zh-CN/glossary.md", "发送端、接收端 |", more);
        let found = lines(&terms(&fixture.load(), &[]));
        assert!(
            found.contains(&"src/zh-CN/glossary.md:7: broker is in line 5 already".to_string())
                && found.contains(
                    &"src/zh-CN/glossary.md:8: 代理任务 stands for broker in line 5 already"
                        .to_string()
                ),
            "{found:?}"
        );
    }

    #[test]
    fn word_of_a_machine() {
        let found = with("是一个任务", "显然是一个任务");
        assert_eq!(
            found,
            "src/zh-CN/00-spec.md:3: `显然` is not used in this book; write nothing"
        );
    }

    #[test]
    fn misprints_of_chinese() {
        for (text, what) in [
            ("一个task", "a space is missing"),
            ("`a`的值", "a space is missing"),
            ("一个 ，两个", "beside full-width punctuation"),
            ("一个， two", "beside full-width punctuation"),
            ("一 个", "between Chinese characters"),
            ("一个,两个", "is full-width"),
            ("一个(两个)", "is full-width"),
            ("一个\"", "is full-width"),
            ("一个.", "is full-width"),
        ] {
            let found = misprints(text);
            assert!(
                !found.is_empty() && found[0].contains(what),
                "{text}: {found:?}"
            );
        }
        assert_eq!(
            misprints("在 `a.b` 里，用 3.7 节的“说法”（见 01）。"),
            [""; 0]
        );
    }

    #[test]
    fn italics() {
        let found = with("是一个任务", "是*一个*任务");
        assert_eq!(
            found,
            "src/zh-CN/00-spec.md:3: Chinese has no italics; make it bold, or leave it plain"
        );
    }

    #[test]
    fn sentence_left_in_english() {
        let found = with("是一个任务。", "is one of the tasks.");
        assert!(
            found.contains("this is English: `is one of the tasks`"),
            "{found}"
        );
    }
}
