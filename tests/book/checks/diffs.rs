//! The differences between programs in `code/diffs`, which are generated.
//!
//! That of a stage is shown by its chapter. That of a solution records all lines in which it isn't the copy
//! of its stage that it started as: when a change of the stage isn't made in the copy too, the record gets
//! longer, so the tests fail, and whoever renews the record sees what has drifted.

use std::collections::BTreeMap;

use examiner::stages::Kind;
use similar::{DiffTag, TextDiff};

use super::chapters::headings_of;
use crate::support::{Book, Problem, Program, below, read};

/// The differences that belong into `code/diffs`, by their paths.
pub(super) fn diffs(book: &Book) -> BTreeMap<String, String> {
    let programs = book.stages.iter().chain(&book.examples);
    let diffs = programs.filter_map(|program| {
        let start = book.start_of(program)?;
        let text = match book.list.get(&program.name).ok()?.kind {
            Kind::Server | Kind::Client => unified(start, program),
            Kind::Solution => changed_lines(start, program),
            Kind::Alternative | Kind::Experiment => return None,
        };
        Some((format!("code/diffs/{}.diff", program.name), text))
    });
    diffs.collect()
}

/// The difference as readers are shown it.
fn unified(start: &Program, stage: &Program) -> String {
    let (before, after) = (readable(start), readable(stage));
    TextDiff::from_lines(&before, &after)
        .unified_diff()
        .context_radius(3)
        .header(&start.path, &stage.path)
        .to_string()
}

/// The lines that differ, but for the header. They have no numbers, so nothing changes them but a change of
/// the solution, or one of the stage that isn't made in the solution.
fn changed_lines(start: &Program, solution: &Program) -> String {
    let (before, after) = (readable(start), readable(solution));
    let diff = TextDiff::from_lines(&before, &after);
    let mut text = format!("--- {}\n+++ {}\n", start.path, solution.path);
    for op in diff.ops().iter().filter(|op| op.tag() != DiffTag::Equal) {
        let lines = diff
            .iter_changes(op)
            .map(|change| format!("{}{change}", change.tag()));
        let lines: String = lines.filter(|line| !line[1..].starts_with("//!")).collect();
        if !lines.is_empty() {
            text += &format!("@@\n{lines}");
        }
    }
    text
}

/// A program without the marks that are there for the book alone.
fn readable(program: &Program) -> String {
    let lines = program.plain().flat_map(|(_, line)| [line, "\n"]);
    lines.collect()
}

/// Files in `code/diffs` that aren't what the programs give now.
pub(super) fn fresh_diffs(book: &Book, problems: &mut Vec<Problem>) {
    let mut wanted = diffs(book);
    for path in below(&book.root, "code/diffs").expect("code can be read") {
        wanted.entry(path).or_default();
    }
    for (path, wanted) in wanted {
        let recorded = read(&book.root.join(&path)).unwrap_or_default();
        if wanted.is_empty() {
            let what = "belongs to no stage or solution that starts from another; remove it";
            problems.push(Problem::new(path, 0, what));
        } else if recorded != wanted {
            let changes = TextDiff::from_lines(&recorded, &wanted);
            let what = format!(
                "the two programs differ in other lines now. If one of them is a solution, make what isn't \
                 part of its exercise the same in both. Then `UPDATE_EXPECT=1 cargo test --test book` writes \
                 this file again:\n{}",
                changes.unified_diff()
            );
            problems.push(Problem::new(path, 0, what));
        }
    }
}

/// Chapters that don't show the whole difference under its heading.
pub(super) fn diff_sections(book: &Book, problems: &mut Vec<Problem>) {
    for language in &book.languages {
        let changed = headings_of(language).map_or("", |[_, _, changed, ..]| changed);
        for (chapter, stage) in book.stages_in(language) {
            let section = chapter.section(changed);
            let Some(section) = section.filter(|_| book.start_of(stage).is_some()) else {
                continue;
            };
            let line = format!("{{{{#include ../../code/diffs/{}.diff}}}}", stage.name);
            let mut fences = chapter.fences();
            fences.retain(|fence| fence.info == "diff" && section.contains(&fence.range.start));
            if !fences.iter().any(|fence| fence.text.trim() == line) {
                let what = format!(
                    "`## {changed}` doesn't show the difference; write a fence ```diff around `{line}`"
                );
                problems.push(chapter.problem(chapter.line_of(section.start), what));
            }
        }
    }
}
