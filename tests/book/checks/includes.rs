//! What a chapter shows from a file: its includes, and the fences around them.

use std::collections::HashSet;

use companion::book::include::{self, Include};

use crate::support::{Book, Chapter, Fence, Problem, below};

/// What may follow the three backquotes, besides `rust,compile_fail,EXXXX` with the code of the error.
const FENCES: &str = "rust,no_run, text, console, toml, diff, sh, powershell";

/// The anchor that is empty: an include of it compiles the whole file and shows none of it. The snippet of a
/// module includes the modules it doesn't compile without in this way.
pub(super) const HIDDEN: &str = "hidden";

/// Includes that lead nowhere, for which mdBook shows an empty snippet without a word, and includes of lines
/// by number, which show others as soon as a line is added before them.
pub(super) fn includes(book: &Book, problems: &mut Vec<Problem>) {
    for chapter in book.chapters() {
        let broken = include::broken(&book.root.join(&chapter.path), &chapter.text);
        for (line, what) in broken {
            problems.push(chapter.problem(line, what));
        }
        for (path, Include { line, lines, .. }) in chapter.includes() {
            if let Some(lines) = lines {
                let what = format!("`{path}:{lines}` includes lines by number; name an anchor");
                problems.push(chapter.problem(line, what));
            }
        }
    }
}

/// Rust snippets that are typed into the chapter instead of included from a program.
pub(super) fn rust_snippets(book: &Book, problems: &mut Vec<Problem>) {
    for chapter in book.chapters() {
        let includes = chapter.includes();
        for fence in chapter.rust_fences() {
            if let Some((line, what)) = snippet_problem(book, &fence, &includes) {
                let shape = "a Rust snippet is one line \
                             `{{#rustdoc_include ../../code/src/bin/NN-name.rs:anchor}}`, then hidden lines \
                             `# extern crate name;`; one that must not compile is written by hand";
                problems.push(chapter.problem(line, format!("{what}; {shape}")));
            }
        }
    }
}

fn snippet_problem(
    book: &Book,
    fence: &Fence,
    includes: &[(String, Include)],
) -> Option<(usize, &'static str)> {
    if fence.info.contains("compile_fail") {
        let is_included = fence.text.contains("{{#");
        return is_included.then_some((fence.line, "no program of the book fails to compile"));
    }
    let mut lines = fence.text.lines().zip(fence.line + 1..);
    let Some((first, number)) = lines.next() else {
        return Some((fence.line, "the snippet is empty"));
    };
    let include_at = |number| includes.iter().find(|(_, include)| include.line == number);
    let include = include_at(number).filter(|(_, include)| include.text == first);
    let Some((path, include)) = include else {
        return Some((number, "this code is written by hand"));
    };
    if include.kind != "rustdoc_include" || include.anchor.is_none() {
        return Some((number, "show an anchor of the whole program"));
    }
    if book.program(path).is_none() && book.root.join(path).exists() {
        return Some((number, "this file isn't a program"));
    }
    // A module has no `main`, and may need other modules around it.
    let items = ["extern crate ", "use ", "mod "];
    let is_around = |code: &str| {
        let mut items = items.iter();
        ["fn main() {}", "}"].contains(&code) || items.any(|item| code.starts_with(item))
    };
    let (_, number) = lines.find(|(line, number)| {
        let is_hidden = include_at(*number).is_some_and(|(_, i)| i.anchor == Some(HIDDEN));
        !is_hidden && !line.strip_prefix("# ").is_some_and(is_around)
    })?;
    Some((number, "this line doesn't belong in a snippet"))
}

/// Fences that mdBook, rustdoc or skeptic would silently misunderstand.
pub(super) fn fence_kinds(book: &Book, problems: &mut Vec<Problem>) {
    for chapter in book.chapters() {
        for Fence { line, info, .. } in chapter.fences() {
            let code = info.strip_prefix("rust,compile_fail,E");
            let is_code = |code: &str| code.len() == 4 && code.bytes().all(|b| b.is_ascii_digit());
            if FENCES.split(", ").all(|kind| kind != info) && !code.is_some_and(is_code) {
                let what = format!(
                    "`{info}` isn't a known kind of fence; write {FENCES} or rust,compile_fail,EXXXX"
                );
                problems.push(chapter.problem(line, what));
            }
        }
    }
}

/// Transcripts that no chapter shows.
pub(super) fn transcripts(book: &Book, problems: &mut Vec<Problem>) {
    let includes = book.chapters().flat_map(Chapter::includes);
    let shown: HashSet<String> = includes.map(|(path, _)| path).collect();
    let mut files = below(&book.root, "code/transcripts").expect("code can be read");
    files.retain(|file| !shown.contains(file));
    for path in files {
        let what = "no chapter includes it; show it or remove it";
        problems.push(Problem::new(path, 0, what));
    }
}
