//! Exercises, their hints, and the programs that solve them.

use std::ops::Range;

use examiner::stages::Kind;

use super::chapters::{headings_of, stage_chapters};
use crate::support::{Book, Chapter, Language, Problem, number_of};

/// Exercises without a hint or without a solution that runs, and examples that no chapter names.
pub(super) fn exercises(book: &Book, problems: &mut Vec<Problem>) {
    for language in &book.languages {
        let [.., heading, _, _] = headings_of(language).unwrap_or_default();
        for chapter in stage_chapters(book, language) {
            // If the heading is missing, another check says so.
            if let Some(section) = chapter.section(heading) {
                malformed(book, chapter, section, problems);
            }
        }
        examples(book, language, problems);
    }
}

/// Exercises of a chapter that lack something.
fn malformed(book: &Book, chapter: &Chapter, section: Range<usize>, problems: &mut Vec<Problem>) {
    let exercises = exercises_in(chapter, &section);
    let count = exercises.len();
    if !(2..=3).contains(&count) {
        let what = format!(
            "there are {count} exercises; a chapter has two or three, each a paragraph that starts with its \
             number, `**1. Title.**`"
        );
        problems.push(chapter.problem(chapter.line_of(section.start), what));
    }
    let number = number_of(&chapter.name).unwrap_or_default();
    let is_solution = |example: &&str| {
        let entry = book.list.get(example);
        example.starts_with(number) && entry.is_ok_and(|entry| entry.kind == Kind::Solution)
    };
    for exercise in exercises {
        let line = chapter.line_of(exercise.start);
        let text = &chapter.text[exercise];
        if !text.contains("<details>") {
            let what = "this exercise has no hint; put one into `<details>`";
            problems.push(chapter.problem(line, what));
        }
        if !examples_in(text).iter().any(is_solution) {
            let what = format!(
                "this exercise names no solution; write one as code/examples/{number}-….rs and give the \
                 command `cargo run --example {number}-…`"
            );
            problems.push(chapter.problem(line, what));
        }
    }
}

/// Examples that a chapter names and that don't exist, and examples that their chapter doesn't name.
fn examples(book: &Book, language: &Language, problems: &mut Vec<Problem>) {
    for chapter in &language.chapters {
        for example in examples_in(&chapter.text) {
            let is_there = book.examples.iter().any(|program| program.name == example);
            // A reader makes those whose names end in `-mine`.
            if !is_there && !example.ends_with("-mine") {
                let offset = example.as_ptr() as usize - chapter.text.as_ptr() as usize;
                let what = format!("there is no program code/examples/{example}.rs");
                problems.push(chapter.problem(chapter.line_of(offset), what));
            }
        }
    }
    for example in &book.examples {
        let name = example.name.as_str();
        let what = match language.chapter_of(name) {
            Some(chapter) if examples_in(&chapter.text).contains(&name) => continue,
            Some(chapter) => format!("isn't mentioned by {}; name it there", chapter.path),
            None if language.awaits(name) => continue,
            None => "is numbered like no chapter; name it NN-name after its chapter".to_string(),
        };
        problems.push(example.problem(0, what));
    }
}

/// Exercises are the paragraphs that start with a bold number: `**1. Survive it.** Make the …`.
fn exercises_in(chapter: &Chapter, section: &Range<usize>) -> Vec<Range<usize>> {
    let text = &chapter.text[section.clone()];
    let starts = text.match_indices("\n**").filter(|(start, mark)| {
        let number = text[start + mark.len()..].split_once(". ");
        number.is_some_and(|(number, _)| number.parse::<usize>().is_ok())
    });
    let mut bounds: Vec<usize> = starts.map(|(start, _)| section.start + start + 1).collect();
    bounds.push(section.end);
    bounds.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// The examples of Cargo that a text names: `--example NAME` or `code/examples/NAME.rs`.
fn examples_in(text: &str) -> Vec<&str> {
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let marks = ["--example ", "code/examples/"];
    let places = marks.iter().flat_map(|mark| text.match_indices(mark));
    let names = places.filter_map(|(start, mark)| {
        let rest = &text[start + mark.len()..];
        let (name, rest) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
        // Cargo doesn't run a server in another language.
        (!name.is_empty() && !rest.starts_with(".py")).then_some(name)
    });
    names.collect()
}
