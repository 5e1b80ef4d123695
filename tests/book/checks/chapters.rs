//! Which chapters and programs there are, and how a chapter is divided.

use std::collections::{BTreeSet, HashSet};

use examiner::stages::{Kind, Program};
use pulldown_cmark::{Event, Tag};

use crate::support::{Book, Chapter, Language, Problem, below, number_of};

/// The headings that end the chapter of a stage in this language.
pub(super) fn headings_of(language: &Language) -> Option<[&'static str; 6]> {
    match language.name.as_str() {
        "en" => Some([
            "Run it",
            "Break it",
            "What changed",
            "Exercises",
            "Check yours",
            "Summary",
        ]),
        "zh-CN" => Some(["运行", "让它出错", "改动", "练习", "检验你的程序", "小结"]),
        _ => None,
    }
}

/// The heading of the questions, in each language.
const QUESTIONS: [&str; 2] = ["Questions", "问题"];

/// The chapters that change a stage; those of experiments have the parts that their idea needs.
pub(super) fn stage_chapters<'a>(
    book: &'a Book,
    language: &'a Language,
) -> impl Iterator<Item = &'a Chapter> {
    let changes_a_stage = |chapter: &&Chapter| {
        let program = book.list.get(&chapter.name);
        program.is_ok_and(|program| program.is_stage() && program.kind != Kind::Experiment)
    };
    language.chapters.iter().filter(changes_a_stage)
}

/// Chapters of stages that don't end with the headings that all of them end with.
pub(super) fn headings(book: &Book, problems: &mut Vec<Problem>) {
    for language in &book.languages {
        let Some(wanted) = headings_of(language) else {
            let what = "add the headings of this language to tests/book/checks/chapters.rs";
            problems.push(language.summary.problem(0, what));
            continue;
        };
        for chapter in stage_chapters(book, language) {
            let mut found = chapter.headings();
            // What a run brings up may be discussed behind it; questions stand before the exercises.
            let run = found.iter().position(|heading| heading.text == wanted[0]);
            let broken = found.iter().position(|heading| heading.text == wanted[1]);
            if let (Some(run), Some(broken)) = (run, broken) {
                found.drain(run + 1..broken.max(run + 1));
            }
            found.retain(|heading| heading.level == 2 && !QUESTIONS.contains(&&*heading.text));
            let found = &found[found.len().saturating_sub(wanted.len())..];
            let texts: Vec<&str> = found.iter().map(|heading| heading.text.as_str()).collect();
            if texts != wanted {
                let start = found.first().map_or(0, |first| first.range.start);
                let what = format!(
                    "the last headings of a stage's chapter are {wanted:?}; here they are {texts:?}"
                );
                problems.push(chapter.problem(chapter.line_of(start), what));
            }
        }
    }
}

/// Chapters that the summary leaves out or makes up.
pub(super) fn summary(book: &Book, problems: &mut Vec<Problem>) {
    for language in &book.languages {
        let summary = &language.summary;
        let mut listed = HashSet::new();
        for (event, range) in summary.events() {
            let Event::Start(Tag::Link { dest_url, .. }) = event else {
                continue;
            };
            let path = format!("src/{}/{dest_url}", language.name);
            let what = if !language.chapters.iter().any(|chapter| chapter.path == path) {
                format!("there is no chapter {dest_url}; write it or remove the entry")
            } else if !listed.insert(path) {
                format!("{dest_url} is listed twice")
            } else {
                continue;
            };
            problems.push(summary.problem(summary.line_of(range.start), what));
        }
        for chapter in &language.chapters {
            // The page for addresses without a page isn't a chapter.
            if !listed.contains(&chapter.path) && chapter.name != "404" {
                let what = format!("no entry of {} leads here; add one", summary.path);
                problems.push(chapter.problem(0, what));
            }
        }
    }
}

/// Stages without a chapter, and numbered chapters without a stage. `00` has no program.
pub(super) fn pairs(book: &Book, problems: &mut Vec<Problem>) {
    for language in &book.languages {
        for stage in &book.stages {
            let name = &stage.name;
            if language.chapter_of(name).is_none() && !language.awaits(name) {
                let what = format!("has no chapter src/{}/{name}.md", language.name);
                problems.push(stage.problem(0, what));
            }
        }
        for chapter in &language.chapters {
            let is_numbered = number_of(&chapter.name).is_some_and(|number| number != "00");
            if is_numbered && !book.list.get(&chapter.name).is_ok_and(Program::is_stage) {
                let what = format!("has no program code/src/bin/{}.rs", chapter.name);
                problems.push(chapter.problem(0, what));
            }
        }
    }
}

/// Programs that the list doesn't have, or has elsewhere, and programs that are nowhere but in the list.
pub(super) fn programs(book: &Book, problems: &mut Vec<Problem>) {
    let mut files = BTreeSet::new();
    for folder in ["code/src/bin", "code/examples"] {
        files.extend(below(&book.root, folder).expect("code can be read"));
    }
    let listed: BTreeSet<String> = book.list.programs().map(Program::path).collect();
    let unlisted = "code/stages.toml doesn't list it here; give it an entry of the right kind";
    let missing = "is listed in code/stages.toml, and isn't there; write it or remove the entry";
    let unlisted = files.difference(&listed).map(|path| (path, unlisted));
    let missing = listed.difference(&files).map(|path| (path, missing));
    for (path, what) in unlisted.chain(missing) {
        problems.push(Problem::new(path, 0, what));
    }
}

/// Chapters whose heading isn't the number and the title of their stage.
pub(super) fn titles(book: &Book, problems: &mut Vec<Problem>) {
    let mut languages = book.languages.iter();
    let english = languages.find(|language| language.name == "en");
    let stages = english
        .into_iter()
        .flat_map(|english| book.stages_in(english));
    for (chapter, stage) in stages {
        let headings = chapter.headings();
        let heading = headings.first().map_or("", |heading| &heading.text);
        let number = number_of(&stage.name).unwrap_or_default();
        let heading = heading.strip_prefix(number).unwrap_or(heading).trim();
        let title = &book.list.get(&stage.name).expect("a stage is listed").title;
        if heading != title && chapter.name == stage.name {
            let what = format!("the title in code/stages.toml is `{title}`, not `{heading}`");
            problems.push(chapter.problem(1, what));
        }
    }
}
