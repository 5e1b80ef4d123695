//! The same chapters, with the same parts and links, in both languages.

use std::collections::BTreeSet;

use pulldown_cmark::{Event, Tag};

use super::{editions, pairs};
use crate::support::{Book, Chapter, Language, Problem};

/// Chapters that one language has and the other does not.
pub(super) fn files(book: &Book) -> Vec<Problem> {
    let [english, chinese] = editions(book);
    let [ours, theirs] = [english, chinese].map(|language| {
        let names = language.texts().map(|text| &text.name);
        names.collect::<BTreeSet<_>>()
    });
    let listed = BTreeSet::from_iter(&chinese.not_rendered);
    let mut problems = Vec::new();
    for name in &(&ours | &theirs) | &listed {
        let [in_english, in_chinese] = [&ours, &theirs].map(|names| names.contains(name));
        let what = match (in_english, in_chinese, listed.contains(name)) {
            (true, false, false) => {
                "has no Chinese text; write it, or list it in the comment `not yet rendered`"
            }
            (true, true, true) => {
                "has a Chinese text now; remove it from the comment `not yet rendered`"
            }
            (false, false, _) => {
                "isn't there in English; remove it from the comment `not yet rendered`"
            }
            (false, true, _) => "isn't there in English; write it, or delete the Chinese text",
            _ => continue,
        };
        problems.push(chinese.summary.problem(0, format!("{name} {what}")));
    }
    problems
}

/// Headings, snippets, pictures, links, lists and tables that are not the same in both languages.
pub(super) fn parts(book: &Book) -> Vec<Problem> {
    let [_, Language { not_rendered, .. }] = editions(book);
    let mut problems = Vec::new();
    for (english, chinese) in pairs(book) {
        let parts = [english, chinese].map(|chapter| parts_of(chapter, not_rendered));
        problems.extend(difference(english, chinese, parts));
        problems.extend(links(english, chinese, not_rendered));
    }
    problems
}

/// What a chapter must have in the other language too: its line, and what it is.
type Part = (usize, String);

/// The first difference between the parts of two chapters.
fn difference(english: &Chapter, chinese: &Chapter, parts: [Vec<Part>; 2]) -> Option<Problem> {
    let pairs = parts[0].iter().zip(&parts[1]);
    let same = pairs.take_while(|(one, other)| one.1 == other.1).count();
    if parts.iter().all(|parts| parts.len() == same) {
        return None;
    }
    let [(at, ours), (line, theirs)] = parts.map(|parts| {
        let last = parts.last().map_or(0, |(line, _)| *line);
        let differing = parts.into_iter().nth(same);
        differing.unwrap_or((last, "nothing more".to_string()))
    });
    let path = &english.path;
    let what = format!("here is {theirs}, where {path}:{at} has {ours}; follow the English");
    Some(chinese.problem(line, what))
}

fn parts_of(chapter: &Chapter, not_rendered: &[String]) -> Vec<Part> {
    let (fences, headings) = (chapter.fences(), chapter.headings());
    // The Chinese glossary begins with the table of terms, which is in both languages.
    let start = match chapter.name.as_str() {
        "glossary" => chapter.text.find("\n## ").unwrap_or_default(),
        _ => 0,
    };
    let mut parts = Vec::new();
    for (event, range) in chapter.events() {
        let key = match event {
            _ if range.start < start => continue,
            Event::Start(Tag::Link { dest_url, .. }) if chapter.name == "SUMMARY" => {
                let name = dest_url.trim_end_matches(".md");
                if not_rendered.iter().any(|chapter| chapter == name) {
                    continue;
                }
                format!("the chapter {dest_url}")
            }
            _ if chapter.name == "SUMMARY" => continue,
            // GitHub, which shows the README, knows no names of headings.
            Event::Start(Tag::Heading { level, .. }) if chapter.name == "README" => {
                format!("a heading {level}")
            }
            Event::Start(Tag::Heading { level, id, .. }) => {
                let heading = headings.iter().find(|heading| heading.range == range);
                let text = heading.map_or("", |heading| &heading.text);
                let id = id.map_or_else(|| id_of(text), |id| id.to_string());
                format!("a heading {level} {{#{id}}}")
            }
            Event::Start(Tag::CodeBlock(_)) => {
                let Some(fence) = fences.iter().find(|fence| fence.range == range) else {
                    continue;
                };
                // The words of a picture are translated.
                match fence.info == "text" && !fence.text.contains("{{#include") {
                    true => "a picture".to_string(),
                    false => format!("```{} {}```", fence.info, fence.text),
                }
            }
            Event::Start(Tag::List(Some(_))) => "a numbered list".to_string(),
            Event::Start(Tag::List(None)) => "a list".to_string(),
            Event::Start(Tag::Item) => "an item".to_string(),
            Event::Start(Tag::Paragraph) => "a paragraph".to_string(),
            Event::Start(Tag::TableRow) => "a row".to_string(),
            Event::Html(html) | Event::InlineHtml(html) if html.contains("<details>") => {
                "<details>".to_string()
            }
            _ => continue,
        };
        parts.push((chapter.line_of(range.start), key));
    }
    parts
}

/// The id that mdBook gives to a heading without one.
pub(crate) fn id_of(heading: &str) -> String {
    let text = heading
        .trim()
        .to_lowercase()
        .replace(char::is_whitespace, "-");
    text.replace(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'), "")
}

/// Links that one language has and the other does not. Their order within a sentence may differ.
fn links(english: &Chapter, chinese: &Chapter, not_rendered: &[String]) -> Vec<Problem> {
    let (mut ours, mut theirs) = (links_of(english, not_rendered), links_of(chinese, &[]));
    theirs.retain(|(_, link)| {
        let same = ours.iter().position(|(_, other)| other == link);
        same.map(|same| ours.remove(same)).is_none()
    });
    let missing = [(english, ours, chinese), (chinese, theirs, english)];
    let missing = missing.into_iter().flat_map(|(chapter, links, other)| {
        links.into_iter().map(|(line, link)| {
            chapter.problem(line, format!("{} links to {link} less often", other.path))
        })
    });
    missing.collect()
}

/// The links of a chapter. What is not rendered yet is linked to in English.
fn links_of(chapter: &Chapter, not_rendered: &[String]) -> Vec<Part> {
    let mut links = Vec::new();
    for (event, range) in chapter.events() {
        let Event::Start(Tag::Link { dest_url, .. }) = event else {
            continue;
        };
        // The summary is all links, and each language of the README begins with one to the other.
        if chapter.name == "SUMMARY" || dest_url.starts_with("README.") {
            continue;
        }
        let in_english = not_rendered.iter().find_map(|name| {
            let fragment = dest_url.strip_prefix(&format!("{name}.md"))?;
            Some(format!("../{name}.html{fragment}"))
        });
        let link = in_english.unwrap_or(dest_url.to_string());
        links.push((chapter.line_of(range.start), link));
    }
    links
}
