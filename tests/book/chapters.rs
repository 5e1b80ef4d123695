//! Checks of the chapters that need no compiler.
//!
//! Each check is a function from a book to what is wrong with it. One test holds it against this
//! book; the tests in `seen_to_fail` hold it against a small book with one fault.

#[path = "seen_to_fail.rs"]
mod seen_to_fail;

use std::{
    collections::HashSet,
    env, fs,
    ops::Range,
    panic,
    path::{Path, PathBuf},
};

use pulldown_cmark::{Event, Tag};
use similar::{ChangeTag, DiffTag, TextDiff};
use crate::support::{self, Anchor, Book, Chapter, Fence, Include, Language, Problem, Program};

/// What may stand after the three backquotes. `compile_fail` is followed by the error code.
const FENCES: [&str; 7] = [
    "rust,no_run",
    "text",
    "console",
    "toml",
    "diff",
    "sh",
    "powershell",
];

/// The anchor that is empty: what includes it has all of the file, and shows nothing of it. A snippet of a
/// module includes other modules so, which it does not compile without.
const HIDDEN: &str = "hidden";

/// The headings that end the chapter of a stage, in each language.
const HEADINGS: [(&str, [&str; 6]); 2] = [
    (
        "en",
        [
            "Run it",
            "What changed",
            "Break it",
            "Exercises",
            "Check yours",
            "Summary",
        ],
    ),
    (
        "zh-CN",
        ["运行", "改动", "让它出错", "练习", "检验你的程序", "小结"],
    ),
];

/// Stages that do not start from the stage before them: where they start, or nothing.
const STARTS: [(&str, Option<&str>); 3] = [
    ("07-client", None),
    ("08-names", Some("06-disconnect")),
    ("08-client", Some("07-client")),
];

#[test]
fn includes_name_files_and_anchors_that_exist() {
    support::assert_none(&includes(&Book::load()));
}

#[test]
fn rust_snippets_are_includes() {
    support::assert_none(&rust_snippets(&Book::load()));
}

#[test]
fn fences_are_of_a_known_kind() {
    support::assert_none(&fence_kinds(&Book::load()));
}

#[test]
fn anchors_are_well_formed_and_shown() {
    support::assert_none(&anchors(&Book::load()));
}

#[test]
fn every_line_that_a_stage_adds_is_shown() {
    support::assert_none(&unshown(&Book::load()));
}

#[test]
fn what_a_stage_removes_is_mentioned() {
    support::assert_none(&unmentioned(&Book::load()));
}

#[test]
fn summary_lists_every_chapter() {
    support::assert_none(&summary(&Book::load()));
}

#[test]
fn every_stage_has_its_chapter() {
    support::assert_none(&pairs(&Book::load()));
}

#[test]
fn stage_chapters_have_their_headings() {
    support::assert_none(&headings(&Book::load()));
}

#[test]
fn exercises_have_hints_and_solutions() {
    support::assert_none(&exercises(&Book::load()));
}

#[test]
fn numbered_marks_are_explained() {
    support::assert_none(&numbered_marks(&Book::load()));
}

#[test]
fn chapters_include_their_diffs() {
    support::assert_none(&diff_sections(&Book::load()));
}

#[test]
fn every_transcript_is_shown() {
    support::assert_none(&transcripts(&Book::load()));
}

#[test]
fn diffs_are_fresh() {
    const AGAIN: &str = "`UPDATE_EXPECT=1 cargo test --test chapters` makes it again";
    let book = Book::load();
    let diffs = diffs(&book);
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(book.root.join("code/diffs")).expect("code/ can be written to");
    }
    let mut problems = stray_diffs(&book, &diffs);
    for (path, diff) in &diffs {
        // expect-test panics after it has shown the difference; the other files still count.
        let file = expect_test::expect_file![book.root.join(path)];
        if panic::catch_unwind(|| file.assert_eq(diff)).is_err() {
            problems.push(Problem {
                path: path.clone(),
                line: 0,
                what: format!("differs from what its two stages give; {AGAIN}"),
            });
        }
    }
    support::assert_none(&problems);
}

/// Transcripts that no chapter shows.
fn transcripts(book: &Book) -> Vec<Problem> {
    let shown: HashSet<String> = book
        .chapters()
        .flat_map(|chapter| chapter.includes())
        .map(|include| include.path)
        .collect();
    let mut problems = Vec::new();
    for folder in files(&book.root.join("code/transcripts")) {
        for file in files(&folder) {
            let part = |path: &Path| {
                path.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned()
            };
            let path = format!("code/transcripts/{}/{}", part(&folder), part(&file));
            if !shown.contains(&path) {
                problems.push(Problem {
                    path,
                    line: 0,
                    what: "no chapter includes it; show it or remove it".into(),
                });
            }
        }
    }
    problems
}

/// What is in a folder; nothing, if there is none.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Includes that name nothing: mdBook shows an empty snippet for those, without a word.
fn includes(book: &Book) -> Vec<Problem> {
    let mut problems = Vec::new();
    for chapter in book.chapters() {
        for include in chapter.includes() {
            if let Some(what) = include_problem(book, &include) {
                problems.push(chapter.problem(include.line, what));
            }
        }
    }
    problems
}

fn include_problem(book: &Book, include: &Include) -> Option<String> {
    let path = &include.path;
    if !book.root.join(path).is_file() {
        return Some(format!(
            "there is no file {path}; the path of an include is relative to the chapter"
        ));
    }
    let wanted = include.anchor.as_ref()?;
    if wanted.starts_with(|c: char| c.is_ascii_digit() || c == ':') {
        return Some(format!(
            "`{path}:{wanted}` includes lines by number; name an anchor, which moves with its lines"
        ));
    }
    let program = book.program(path)?;
    let (anchors, _) = program.anchors();
    let names: Vec<&str> = anchors.iter().map(|anchor| anchor.name.as_str()).collect();
    (!names.contains(&wanted.as_str())).then(|| {
        format!(
            "{path} has no anchor `{wanted}`; it has {}",
            match names.is_empty() {
                true => "none".to_string(),
                false => names.join(", "),
            }
        )
    })
}

/// Rust snippets that are typed into the prose instead of included from a program.
fn rust_snippets(book: &Book) -> Vec<Problem> {
    let mut problems = Vec::new();
    for chapter in book.chapters() {
        let includes = chapter.includes();
        for fence in chapter.fences() {
            if fence.info.starts_with("rust") && !fence.info.contains("compile_fail") {
                if let Some((line, what)) = snippet_problem(book, &fence, &includes) {
                    problems.push(chapter.problem(line, what));
                }
            } else if fence.info.contains("compile_fail") && fence.text.contains("{{#include") {
                let what = "a compile_fail snippet is written by hand; an include would have to \
                            be of a program that does not compile";
                problems.push(chapter.problem(fence.line, what));
            }
        }
    }
    problems
}

fn snippet_problem(book: &Book, fence: &Fence, includes: &[Include]) -> Option<(usize, String)> {
    const SHAPE: &str = "a Rust snippet is one line \
                         `{{#rustdoc_include ../../code/src/bin/NN-name.rs:anchor}}`, then hidden \
                         lines `# extern crate name;`";
    let mut lines = fence.text.lines().zip(fence.line + 1..);
    let Some((first, number)) = lines.next() else {
        return Some((fence.line, format!("the snippet is empty; {SHAPE}")));
    };
    let include = includes.iter().find(|include| include.line == number);
    let Some(include) = include.filter(|_| first.starts_with("{{#") && first.ends_with("}}"))
    else {
        return Some((number, format!("code is written by hand here; {SHAPE}")));
    };
    if include.kind != "rustdoc_include" || include.anchor.is_none() {
        return Some((
            number,
            format!("the tests must see the whole program and the reader an anchor of it; {SHAPE}"),
        ));
    }
    if book.program(&include.path).is_none() && book.root.join(&include.path).exists() {
        return Some((
            number,
            format!("{} is not a program; {SHAPE}", include.path),
        ));
    }
    for (line, number) in lines {
        let hidden = includes
            .iter()
            .any(|include| include.line == number && include.anchor.as_deref() == Some(HIDDEN));
        // A module has no `main`, and other modules may have to stand around it.
        let items = ["extern crate ", "use ", "mod "];
        let is_around = line.strip_prefix("# ").is_some_and(|line| {
            ["fn main() {}", "}"].contains(&line) || items.iter().any(|i| line.starts_with(i))
        });
        if !hidden && !is_around {
            return Some((
                number,
                format!("`{line}` does not belong in a snippet; {SHAPE}"),
            ));
        }
    }
    None
}

/// Fences that mdBook, rustdoc or skeptic would misunderstand in silence.
fn fence_kinds(book: &Book) -> Vec<Problem> {
    let allowed = format!("{} or rust,compile_fail,EXXXX", FENCES.join(", "));
    let mut problems = Vec::new();
    for chapter in book.chapters() {
        for fence in chapter.fences() {
            let what = if fence.indented {
                format!("this is an indented code block; write a fence of a kind: {allowed}")
            } else if fence.info.is_empty() {
                format!("the fence does not say what it holds; write one of {allowed}")
            } else if !FENCES.contains(&fence.info.as_str()) && error_code(&fence.info).is_none() {
                format!(
                    "`{}` is not a known fence; write one of {allowed}",
                    fence.info
                )
            } else {
                continue;
            };
            problems.push(chapter.problem(fence.line, what));
        }
    }
    problems
}

/// The error code of `rust,compile_fail,E0382`.
fn error_code(info: &str) -> Option<&str> {
    let code = info.strip_prefix("rust,compile_fail,")?;
    let digits = code.strip_prefix('E')?;
    (digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(code)
}

/// Anchors that are malformed, empty, misnamed or shown nowhere.
fn anchors(book: &Book) -> Vec<Problem> {
    let shown: HashSet<(String, String)> = book
        .chapters()
        .flat_map(Chapter::includes)
        .filter_map(|include| Some((include.path, include.anchor?)))
        .collect();
    let mut problems = Vec::new();
    for program in book.programs() {
        let (anchors, marks) = program.anchors();
        problems.extend(marks);
        let lines: Vec<&str> = program.text.lines().collect();
        for anchor in anchors {
            let name = &anchor.name;
            let what = if !is_snake_case(name) {
                format!("the anchor `{name}` is not named in snake_case")
            } else if anchor
                .lines
                .iter()
                .all(|&line| lines[line].trim().is_empty())
                != (name == HIDDEN)
            {
                match name == HIDDEN {
                    true => format!("the anchor `{name}` shows nothing; move its marks together"),
                    false => {
                        format!("the anchor `{name}` is empty; move its marks around what it shows")
                    }
                }
            } else if !shown.contains(&(program.path.clone(), name.clone())) {
                format!(
                    "no chapter shows the anchor `{name}`; include `{}:{name}` or remove its marks",
                    program.path
                )
            } else {
                continue;
            };
            problems.push(program.problem(anchor.line, what));
        }
    }
    problems
}

fn is_snake_case(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('_')
        && !name.contains("__")
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The stage that this one starts from.
fn predecessor<'a>(book: &'a Book, stage: &Program) -> Option<&'a Program> {
    if let Some((_, from)) = STARTS.iter().find(|(name, _)| *name == stage.name) {
        let from = (*from)?;
        return Some(
            book.stages
                .iter()
                .find(|stage| stage.name == from)
                .unwrap_or_else(|| {
                    panic!("STARTS in tests/chapters/main.rs names {from}, no stage")
                }),
        );
    }
    let position = book.stages.iter().position(|s| s.name == stage.name)?;
    book.stages[..position].last()
}

/// The lines that a reader of this chapter has seen of this program, by index.
fn shown_lines(chapter: &Chapter, program: &Program) -> HashSet<usize> {
    let (anchors, _) = program.anchors();
    let mut shown = HashSet::new();
    for include in chapter.includes() {
        if include.path != program.path {
            continue;
        }
        match include.anchor {
            None => shown.extend(0..program.text.lines().count()),
            Some(name) => {
                let anchor = anchors.iter().find(|anchor| anchor.name == name);
                shown.extend(anchor.into_iter().flat_map(|anchor| &anchor.lines));
            }
        }
    }
    shown
}

/// Lines that a reader who types along would not have.
///
/// What a chapter does not show of its stage, the reader must have already, in the same order: the
/// lines not shown are a subsequence of the stage before. That is stricter than to look at the lines
/// that a difference marks with `+`, and does not depend on how one is computed. Headers and lines
/// without a letter or digit, which may be matched to any other brace, do not count.
fn unshown(book: &Book) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (chapter, stage) in stage_chapters(book) {
        let shown = shown_lines(chapter, stage);
        let start = predecessor(book, stage);
        let before: Vec<&str> = start
            .map(|start| counted(start).map(|(_, line)| line).collect())
            .unwrap_or_default();
        let lines: Vec<(usize, &str)> = counted(stage).collect();
        let (positions, hidden): (Vec<usize>, Vec<&str>) = lines
            .iter()
            .enumerate()
            .filter(|(_, (index, _))| !shown.contains(index))
            .map(|(position, (_, line))| (position, *line))
            .unzip();
        let missing: Vec<usize> = TextDiff::from_slices(&before, &hidden)
            .iter_all_changes()
            .filter(|change| change.tag() == ChangeTag::Insert)
            .filter_map(|change| Some(positions[change.new_index()?]))
            .collect();
        for (first, last) in runs(&missing) {
            let (line, (first, last)) = (lines[first].1.trim(), (lines[first].0, lines[last].0));
            let what = format!(
                "{} does not show {} (`{line}`), and {}; put it inside an anchor that the chapter \
                 includes",
                chapter.path,
                match first == last {
                    true => "this line".to_string(),
                    false => format!("lines {} to {}", first + 1, last + 1),
                },
                match start {
                    Some(start) => format!("{} does not have it in this place", start.name),
                    None => "this stage starts from nothing".to_string(),
                },
            );
            problems.push(stage.problem(first + 1, what));
        }
    }
    problems
}

/// The lines of a program that count: no header, no marks, nothing that is only punctuation.
fn counted(program: &Program) -> impl Iterator<Item = (usize, &str)> {
    program
        .plain()
        .into_iter()
        .filter(|(_, line)| !line.starts_with("//!") && line.contains(char::is_alphanumeric))
}

/// Neighbouring numbers as pairs of the first and the last.
fn runs(numbers: &[usize]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    runs
}

/// Removals that a chapter passes over.
///
/// That lines go is shown by the difference under "What changed". Where names go with them that
/// occur nowhere in the stage any more, the reader is told of it in the prose, or wonders: of each
/// run of removed lines that held such names, the prose must mention one. Names after a dot do not
/// count: they are methods, nearly always of a library, and the prose speaks of what they did.
fn unmentioned(book: &Book) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (chapter, stage) in stage_chapters(book) {
        let Some(start) = predecessor(book, stage) else {
            continue;
        };
        let kept: HashSet<String> = names(stage).into_iter().map(|(_, name)| name).collect();
        let mut gone = names(start);
        gone.retain(|(_, name)| !kept.contains(name));
        let prose = chapter.prose().to_lowercase();
        let mentioned: HashSet<&str> = support::words(&prose).collect();
        for removed in removals(start, stage) {
            let mut names: Vec<&str> = gone
                .iter()
                .filter(|(line, _)| removed.contains(line))
                .map(|(_, name)| name.as_str())
                .collect();
            names.sort_unstable();
            names.dedup();
            if !names.is_empty() && !names.iter().any(|n| mentioned.contains(&*n.to_lowercase())) {
                let what = format!(
                    "{} does away with `{}` ({}:{}), and the prose does not say so; mention it",
                    stage.name,
                    names.join("`, `"),
                    start.path,
                    removed[0] + 1
                );
                problems.push(chapter.problem(0, what));
            }
        }
    }
    problems
}

/// The lines, by index, that are in `before` and not in `after`; neighbours are together.
fn removals(before: &Program, after: &Program) -> Vec<Vec<usize>> {
    let (indices, old): (Vec<usize>, Vec<&str>) = counted(before).unzip();
    let new: Vec<&str> = counted(after).map(|(_, line)| line).collect();
    TextDiff::from_slices(&old, &new)
        .ops()
        .iter()
        .filter(|operation| operation.tag() != DiffTag::Equal && !operation.old_range().is_empty())
        .map(|operation| indices[operation.old_range()].to_vec())
        .collect()
}

/// The identifiers of a program's code with the indices of their lines: no comments, no strings.
fn names(program: &Program) -> Vec<(usize, String)> {
    const KEYWORDS: [&str; 36] = [
        "as", "async", "await", "bool", "break", "const", "continue", "crate", "dyn", "else",
        "enum", "false", "fn", "for", "if", "impl", "in", "let", "loop", "match", "mod", "move",
        "mut", "pub", "ref", "return", "self", "static", "str", "struct", "trait", "true", "type",
        "use", "where", "while",
    ];
    let mut names = Vec::new();
    for (index, line) in program.plain() {
        let code = line.split_once("//").map_or(line, |(code, _)| code);
        // Every second part is inside quotes.
        for part in code.split('"').step_by(2) {
            for word in support::words(part) {
                let start = word.as_ptr() as usize - part.as_ptr() as usize;
                let method = part[..start].ends_with('.') && !part[..start].ends_with("..");
                let number = word.starts_with(|c: char| c.is_ascii_digit());
                if !method && !number && !KEYWORDS.contains(&word) {
                    names.push((index, word.to_string()));
                }
            }
        }
    }
    names
}

/// The chapters of all stages, in every language.
fn stage_chapters(book: &Book) -> impl Iterator<Item = (&Chapter, &Program)> {
    let stages = |language| stages_of(book, language);
    book.languages.iter().flat_map(stages)
}

/// Chapters that the summary leaves out or makes up.
fn summary(book: &Book) -> Vec<Problem> {
    let mut problems = Vec::new();
    for language in &book.languages {
        let summary = &language.summary;
        let mut listed = HashSet::new();
        for (event, range) in summary.events() {
            let Event::Start(Tag::Link { dest_url, .. }) = event else {
                continue;
            };
            let line = summary.line_of(range.start);
            let Some(chapter) = language
                .chapters
                .iter()
                .find(|chapter| chapter.path.ends_with(&format!("/{dest_url}")))
            else {
                let what = format!("there is no chapter {dest_url}; write it or remove the entry");
                problems.push(summary.problem(line, what));
                continue;
            };
            if !listed.insert(&chapter.name) {
                problems.push(summary.problem(line, format!("{dest_url} is listed twice")));
            }
        }
        for chapter in &language.chapters {
            // What addresses without a page show is not a chapter.
            if !listed.contains(&chapter.name) && chapter.name != "404" {
                let what = format!(
                    "no entry of {} leads to this chapter; add one",
                    summary.path
                );
                problems.push(chapter.problem(0, what));
            }
        }
    }
    problems
}

/// Numbered chapters without a stage, and stages without a chapter. `00` has no program.
fn pairs(book: &Book) -> Vec<Problem> {
    let mut problems = Vec::new();
    for language in &book.languages {
        for stage in &book.stages {
            if chapter_of(language, stage).is_none() && !language.may_lack(&stage.name) {
                let what = format!("has no chapter src/{}/{}.md", language.name, stage.name);
                problems.push(stage.problem(0, what));
            }
        }
        for chapter in &language.chapters {
            let numbered = number_of(&chapter.name).is_some_and(|number| number != "00");
            if numbered && !book.stages.iter().any(|stage| stage.name == chapter.name) {
                let what = format!("has no program code/src/bin/{}.rs", chapter.name);
                problems.push(chapter.problem(0, what));
            }
        }
    }
    problems
}

/// The `04` of `04-broker`.
fn number_of(name: &str) -> Option<&str> {
    let (number, _) = name.split_once('-')?;
    (number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
}

fn headings_of(language: &Language) -> Option<&'static [&'static str; 6]> {
    HEADINGS
        .iter()
        .find(|(name, _)| *name == language.name)
        .map(|(_, headings)| headings)
}

/// Chapters of stages that do not end with the five headings that every one of them ends with.
fn headings(book: &Book) -> Vec<Problem> {
    let mut problems = Vec::new();
    for language in &book.languages {
        let Some(wanted) = headings_of(language) else {
            let what = "add the headings of this language to HEADINGS in tests/chapters/main.rs";
            problems.push(language.summary.problem(0, what));
            continue;
        };
        for chapter in chapters_of_stages(book, language) {
            let found: Vec<_> = chapter
                .headings()
                .into_iter()
                .filter(|heading| heading.level == 2)
                .collect();
            let first = found.len().saturating_sub(wanted.len());
            let last: Vec<&str> = found[first..].iter().map(|h| h.text.as_str()).collect();
            if last != wanted[..] {
                let what = format!(
                    "the last headings of a stage's chapter are `## {}`; here they are: {}",
                    wanted.join("`, `## "),
                    last.join(", ")
                );
                problems.push(chapter.problem(found.get(first).map_or(0, |h| h.line), what));
            }
        }
    }
    problems
}

/// Stages and their chapters.
fn stages_of<'a>(
    book: &'a Book,
    language: &'a Language,
) -> impl Iterator<Item = (&'a Chapter, &'a Program)> {
    let stages = book.stages.iter();
    stages.filter_map(|stage| Some((chapter_of(language, stage)?, stage)))
}

/// The chapter of a stage: the one of its name, or else the one of its number. A client of a new version
/// of the protocol belongs to the chapter of the server that speaks it first.
fn chapter_of<'a>(language: &'a Language, stage: &Program) -> Option<&'a Chapter> {
    let chapters = || language.chapters.iter();
    let number = number_of(&stage.name);
    let numbered = |chapter: &&Chapter| number.is_some() && number_of(&chapter.name) == number;
    chapters()
        .find(|chapter| chapter.name == stage.name)
        .or_else(|| chapters().find(numbered))
}

/// The chapters of stages, each once.
fn chapters_of_stages<'a>(
    book: &'a Book,
    language: &'a Language,
) -> impl Iterator<Item = &'a Chapter> {
    let mut seen = HashSet::new();
    let chapters = stages_of(book, language).map(|(chapter, _)| chapter);
    chapters.filter(move |chapter| seen.insert(&chapter.name))
}

/// The bytes of a chapter below one of its five headings, up to the next heading of that level.
fn section(chapter: &Chapter, heading: &str) -> Option<Range<usize>> {
    let headings = chapter.headings();
    let mut headings = headings.iter().filter(|heading| heading.level == 2);
    let start = headings.find(|found| found.text == heading)?.range.end;
    let end = headings
        .next()
        .map_or(chapter.text.len(), |next| next.range.start);
    Some(start..end)
}

/// Exercises without a hint or without a solution that runs, and examples that no chapter names.
fn exercises(book: &Book) -> Vec<Problem> {
    let mut problems = Vec::new();
    for language in &book.languages {
        let Some(wanted) = headings_of(language) else {
            continue;
        };
        for chapter in chapters_of_stages(book, language) {
            // Without its heading, another check has said so.
            let Some(section) = section(chapter, wanted[3]) else {
                continue;
            };
            let exercises = exercises_in(chapter, section.clone());
            if !(2..=3).contains(&exercises.len()) {
                let what = format!(
                    "there are {} exercises; a chapter has two or three, each a paragraph that \
                     starts with its number, `**1. Title.**`",
                    exercises.len()
                );
                problems.push(chapter.problem(chapter.line_of(section.start), what));
            }
            for exercise in exercises {
                let line = chapter.line_of(exercise.start);
                let text = &chapter.text[exercise];
                if !text.contains("<details>") {
                    let what = "this exercise has no hint; put one into `<details>`";
                    problems.push(chapter.problem(line, what));
                }
                let number = number_of(&chapter.name).unwrap_or_default();
                let own = |example: &&str| example.starts_with(&format!("{number}-"));
                if !examples_in(text).iter().any(own) {
                    let what = format!(
                        "this exercise names no solution; write one as code/examples/{number}-….rs \
                         and give the command `cargo run --example {number}-…`"
                    );
                    problems.push(chapter.problem(line, what));
                }
            }
        }
        for chapter in &language.chapters {
            for example in examples_in(&chapter.text) {
                // What readers make for themselves.
                if example.ends_with("-mine") {
                    continue;
                }
                if !book.examples.iter().any(|program| program.name == example) {
                    let offset = example.as_ptr() as usize - chapter.text.as_ptr() as usize;
                    let what = format!("there is no program code/examples/{example}.rs");
                    problems.push(chapter.problem(chapter.line_of(offset), what));
                }
            }
        }
        for example in &book.examples {
            let number = number_of(&example.name);
            let chapter = chapters_of_stages(book, language)
                .find(|chapter| number.is_some() && number_of(&chapter.name) == number);
            if chapter.is_none() && language.may_lack(&example.name) {
                continue;
            }
            let Some(chapter) = chapter else {
                let what = "is numbered like no chapter; name it NN-name.rs after its chapter";
                problems.push(example.problem(0, what));
                continue;
            };
            if !examples_in(&chapter.text).contains(&example.name.as_str()) {
                let what = format!("is not mentioned by {}; name it there", chapter.path);
                problems.push(example.problem(0, what));
            }
        }
    }
    problems
}

/// Exercises are the paragraphs that start with a bold number: `**1. Survive it.** Make the …`.
fn exercises_in(chapter: &Chapter, section: Range<usize>) -> Vec<Range<usize>> {
    let text = &chapter.text[section.clone()];
    let starts: Vec<usize> = text
        .match_indices("\n**")
        .filter(|(start, mark)| {
            let number = text[start + mark.len()..].split_once(". ");
            number.is_some_and(|(number, _)| number.parse::<usize>().is_ok())
        })
        .map(|(start, _)| section.start + start + 1)
        .collect();
    let ends = starts.iter().copied().skip(1).chain([section.end]);
    starts
        .iter()
        .copied()
        .zip(ends)
        .map(|(start, end)| start..end)
        .collect()
}

/// The examples that a text names: `--example NAME` or `code/examples/NAME.rs`.
fn examples_in(text: &str) -> Vec<&str> {
    let mut examples = Vec::new();
    for mark in ["--example ", "code/examples/"] {
        for (start, _) in text.match_indices(mark) {
            let rest = &text[start + mark.len()..];
            let end = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
                .unwrap_or(rest.len());
            // A server in another language is none of Cargo's examples; the conversations run it.
            if end > 0 && !rest[end..].starts_with(".py") {
                examples.push(&rest[..end]);
            }
        }
    }
    examples
}

/// A list that is not inside another one.
struct List {
    ordered: bool,
    range: Range<usize>,
    /// Where its own items start.
    items: Vec<usize>,
}

fn lists(chapter: &Chapter) -> Vec<List> {
    let mut lists: Vec<List> = Vec::new();
    let mut depth = 0;
    for (event, range) in chapter.events() {
        match event {
            Event::Start(Tag::List(start)) => {
                depth += 1;
                if depth == 1 {
                    lists.push(List {
                        ordered: start == Some(1),
                        range,
                        items: Vec::new(),
                    });
                }
            }
            Event::End(pulldown_cmark::TagEnd::List(_)) => depth -= 1,
            Event::Start(Tag::Item) if depth == 1 => {
                if let Some(list) = lists.last_mut() {
                    list.items.push(range.start);
                }
            }
            _ => {}
        }
    }
    lists
}

/// Snippets with `// 1`, `// 2` that no numbered list of as many items follows.
///
/// A chapter that shows another chapter's program again need not explain its marks again.
fn numbered_marks(book: &Book) -> Vec<Problem> {
    let mut problems = Vec::new();
    for chapter in book.chapters() {
        let includes = chapter.includes();
        let lists = lists(chapter);
        for fence in chapter.fences() {
            if !fence.info.starts_with("rust") {
                continue;
            }
            let mut numbers = marks_shown(book, chapter, &fence, &includes);
            numbers.sort_unstable();
            numbers.dedup();
            let count = numbers.len();
            if count == 0 {
                continue;
            }
            let next = lists
                .iter()
                .find(|list| list.range.start >= fence.range.end);
            let what = if !numbers.iter().copied().eq(1..=count) {
                format!("the snippet has the marks {numbers:?}; count them from 1")
            } else if !next.is_some_and(|list| list.ordered && list.items.len() == count) {
                format!(
                    "the snippet has {count} numbered marks; the list after it must be a numbered \
                     one that explains each of them, and no more"
                )
            } else {
                continue;
            };
            problems.push(chapter.problem(fence.line, what));
        }
    }
    problems
}

fn marks_shown(book: &Book, chapter: &Chapter, fence: &Fence, includes: &[Include]) -> Vec<usize> {
    // A module belongs to the only chapter that shows it.
    let own = |program: &&Program| {
        let number = number_of(&program.name);
        number.is_none() || number == number_of(&chapter.name)
    };
    let by_hand = fence.text.lines().filter_map(support::number);
    let included = includes
        .iter()
        .filter(|include| {
            (fence.line..=fence.line + fence.text.lines().count()).contains(&include.line)
        })
        .flat_map(|include| {
            let program = book.program(&include.path).filter(own);
            let anchor: Option<Anchor> = program.and_then(|program| {
                let (anchors, _) = program.anchors();
                anchors
                    .into_iter()
                    .find(|anchor| Some(&anchor.name) == include.anchor.as_ref())
            });
            let (Some(program), Some(anchor)) = (program, anchor) else {
                return Vec::new();
            };
            let lines: Vec<&str> = program.text.lines().collect();
            let numbers = anchor
                .lines
                .iter()
                .map(|&line| support::number(lines[line]));
            numbers.flatten().collect()
        });
    by_hand.chain(included).collect()
}

/// What each stage changed, as the reader is shown it: the path and the text of each difference.
fn diffs(book: &Book) -> Vec<(String, String)> {
    let mut diffs = Vec::new();
    for stage in &book.stages {
        if let Some(start) = predecessor(book, stage) {
            let (before, after) = (readable(start), readable(stage));
            let diff = TextDiff::from_lines(&before, &after)
                .unified_diff()
                .context_radius(3)
                .header(&start.path, &stage.path)
                .to_string();
            diffs.push((format!("code/diffs/{}.diff", stage.name), diff));
        }
    }
    diffs
}

/// A program without the marks that are there for the book alone.
fn readable(program: &Program) -> String {
    program
        .plain()
        .into_iter()
        .flat_map(|(_, line)| [line, "\n"])
        .collect()
}

/// Files in `code/diffs` that belong to no stage.
fn stray_diffs(book: &Book, diffs: &[(String, String)]) -> Vec<Problem> {
    let files = support::files(&book.root.join("code/diffs"), "diff").expect("code/ can be read");
    files
        .iter()
        .filter_map(|file| {
            let name = file.file_name()?.to_str()?;
            let path = format!("code/diffs/{name}");
            (!diffs.iter().any(|(known, _)| *known == path)).then(|| Problem {
                path,
                line: 0,
                what: "belongs to no stage that starts from another; remove it".to_string(),
            })
        })
        .collect()
}

/// Chapters that do not show the whole difference under its heading.
fn diff_sections(book: &Book) -> Vec<Problem> {
    let mut problems = Vec::new();
    for language in &book.languages {
        let Some(wanted) = headings_of(language) else {
            continue;
        };
        for (chapter, stage) in stages_of(book, language) {
            if predecessor(book, stage).is_none() {
                continue;
            }
            let Some(section) = section(chapter, wanted[1]) else {
                continue;
            };
            let line = format!("{{{{#include ../../code/diffs/{}.diff}}}}", stage.name);
            let shown = chapter.fences().iter().any(|fence| {
                fence.info == "diff"
                    && section.contains(&fence.range.start)
                    && fence.text.trim() == line
            });
            if !shown {
                let what = format!(
                    "`## {}` does not show the difference; write a fence ```diff around `{line}`",
                    wanted[1]
                );
                problems.push(chapter.problem(chapter.line_of(section.start), what));
            }
        }
    }
    problems
}
