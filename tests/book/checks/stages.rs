//! What a stage adds to the one it starts from, and what it removes: a reader who types along ends with the
//! same program.

use std::collections::{BTreeSet, HashSet};

use similar::{DiffTag, TextDiff};

use crate::support::{Book, Chapter, Problem, Program, words};

/// Lines that a reader who types along wouldn't have.
///
/// What a chapter doesn't show of its stage, the reader must have already, in the same order: the lines not
/// shown are a subsequence of the stage before. That is stricter than looking at the lines that a difference
/// marks with `+`, and doesn't depend on how the difference is computed.
pub(super) fn unshown(book: &Book, problems: &mut Vec<Problem>) {
    for (chapter, stage) in stage_chapters(book) {
        let includes = chapter.includes().into_iter();
        let includes = includes.filter(|(path, _)| *path == stage.path);
        let shown = includes.flat_map(|(_, include)| stage.shown(include.anchor));
        let shown: HashSet<usize> = shown.map(|(index, _)| index).collect();
        let start = book.start_of(stage);
        let before: Vec<&str> = start.map_or(Vec::new(), |start| counted(start).1);
        let (indices, lines) = counted(stage);
        let is_hidden = |place: &usize| !shown.contains(&indices[*place]);
        let hidden: Vec<usize> = (0..lines.len()).filter(is_hidden).collect();
        let not_shown: Vec<&str> = hidden.iter().map(|&place| lines[place]).collect();
        let difference = TextDiff::from_slices(&before, &not_shown);
        let missing = difference.ops().iter().flat_map(|op| match op.tag() {
            DiffTag::Equal => &[],
            _ => &hidden[op.new_range()],
        });
        let missing: Vec<&usize> = missing.collect();
        for run in missing.chunk_by(|one, next| **one + 1 == **next) {
            let (first, last) = (indices[*run[0]] + 1, indices[*run[run.len() - 1]] + 1);
            let which = match run.len() {
                1 => "this line".to_string(),
                _ => format!("lines {first} to {last}"),
            };
            let before = match start {
                Some(start) => format!("{} doesn't have it in this place", start.name),
                None => "this stage starts from nothing".to_string(),
            };
            let what = format!(
                "{} doesn't show {which} (`{}`), and {before}; put it inside an anchor that the chapter \
                 includes",
                chapter.path,
                lines[*run[0]].trim()
            );
            problems.push(stage.problem(first, what));
        }
    }
}

/// The stages of every language with their chapters.
fn stage_chapters(book: &Book) -> impl Iterator<Item = (&Chapter, &Program)> {
    let languages = book.languages.iter();
    languages.flat_map(|language| book.stages_in(language))
}

/// The lines of a program that count, and before them their indices: no header, no marks, nothing without a
/// letter or digit, which may match any other brace.
fn counted(program: &Program) -> (Vec<usize>, Vec<&str>) {
    let lines = program.plain();
    lines
        .filter(|(_, line)| !line.starts_with("//!") && line.contains(char::is_alphanumeric))
        .unzip()
}

/// Removals that a chapter passes over.
///
/// The difference under "What changed" shows that lines go. Where they take names with them that occur
/// nowhere in the stage any more, the prose has to say so, or the reader wonders: it must mention one name of
/// each run of removed lines that held such names. Names after a dot don't count: they are methods, nearly
/// always of a library, and the prose speaks of what they did.
pub(super) fn unmentioned(book: &Book, problems: &mut Vec<Problem>) {
    for (chapter, stage) in stage_chapters(book) {
        let Some(start) = book.start_of(stage) else {
            continue;
        };
        let prose = chapter.prose().to_lowercase();
        let mentioned: HashSet<&str> = words(&prose).collect();
        let kept: HashSet<&str> = names(stage).map(|(_, name)| name).collect();
        let mut all_gone: Vec<(usize, &str)> = names(start).collect();
        all_gone.retain(|(_, name)| !kept.contains(name));
        let (indices, before) = counted(start);
        let difference = TextDiff::from_slices(&before, &counted(stage).1);
        let removed = difference.ops().iter().map(|op| match op.tag() {
            DiffTag::Equal => &[],
            _ => &indices[op.old_range()],
        });
        for removed in removed {
            let gone = all_gone.iter().filter(|(line, _)| removed.contains(line));
            let gone: BTreeSet<&str> = gone.map(|(_, name)| *name).collect();
            let is_mentioned = |name: &&str| mentioned.contains(name.to_lowercase().as_str());
            if !gone.is_empty() && !gone.iter().any(is_mentioned) {
                let gone: Vec<&str> = gone.into_iter().collect();
                let what = format!(
                    "{} does away with `{}` ({}:{}), and the prose doesn't say so; mention it",
                    stage.name,
                    gone.join("`, `"),
                    start.path,
                    removed[0] + 1
                );
                problems.push(chapter.problem(0, what));
            }
        }
    }
}

/// The identifiers of a program's code with the indices of their lines: no comments, no strings.
fn names(program: &Program) -> impl Iterator<Item = (usize, &str)> {
    const KEYWORDS: [&str; 36] = [
        "as", "async", "await", "bool", "break", "const", "continue", "crate", "dyn", "else",
        "enum", "false", "fn", "for", "if", "impl", "in", "let", "loop", "match", "mod", "move",
        "mut", "pub", "ref", "return", "self", "static", "str", "struct", "trait", "true", "type",
        "use", "where", "while",
    ];
    let is_name = |part: &str, word: &str| {
        let start = word.as_ptr() as usize - part.as_ptr() as usize;
        let is_method = part[..start].ends_with('.') && !part[..start].ends_with("..");
        let is_number = word.starts_with(|c: char| c.is_ascii_digit());
        !is_method && !is_number && !KEYWORDS.contains(&word)
    };
    program.plain().flat_map(move |(index, line)| {
        let code = line.split_once("//").map_or(line, |(code, _)| code);
        // Every second part is inside quotes.
        let parts = code.split('"').step_by(2);
        let names = parts.flat_map(move |part| words(part).filter(move |word| is_name(part, word)));
        names.map(move |name| (index, name))
    })
}
