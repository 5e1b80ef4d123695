//! The marks in programs: anchors, and the numbers that a list explains.

use std::collections::{BTreeSet, HashSet};

use companion::book::include::{Mark, mark};

use super::includes::HIDDEN;
use crate::support::{self, Book, Chapter, Problem, number_of};

/// Anchors that are malformed, empty, misnamed or never shown.
pub(super) fn anchors(book: &Book, problems: &mut Vec<Problem>) {
    let includes = book.chapters().flat_map(Chapter::includes);
    let shown = includes.filter_map(|(path, include)| Some((path, include.anchor?)));
    let shown: HashSet<(String, &str)> = shown.collect();
    for program in book.programs() {
        let path = &program.path;
        let mut names = HashSet::new();
        for anchor in program.anchors() {
            let name = anchor.name;
            let mut lines = anchor.lines.iter();
            let is_empty = lines.all(|(_, line)| line.trim().is_empty());
            let what = if !names.insert(name) {
                "starts a second time, and mdBook shows only the first; rename this one".to_string()
            } else if !anchor.is_ended {
                format!("never ends; add `// ANCHOR_END: {name}`")
            } else if !is_snake_case(name) {
                "isn't named in snake_case".to_string()
            } else if is_empty && name != HIDDEN {
                "is empty; move its marks around what it shows".to_string()
            } else if !is_empty && name == HIDDEN {
                "must show nothing; move its marks together".to_string()
            } else if !shown.contains(&(path.clone(), name)) {
                format!("is shown by no chapter; include `{path}:{name}` or remove its marks")
            } else {
                continue;
            };
            problems.push(program.problem(anchor.line, format!("the anchor `{name}` {what}")));
        }
        for (text, line) in program.text.lines().zip(1..) {
            if let Some(Mark::End(name)) = mark(text)
                && !names.contains(name)
            {
                let what = format!("`ANCHOR_END: {name}` ends nothing; start that or remove this");
                problems.push(program.problem(line, what));
            }
        }
    }
}

fn is_snake_case(name: &str) -> bool {
    let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(is_letter);
    name.split('_').all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Snippets with the marks `// 1`, `// 2` that no numbered list of as many items follows.
///
/// A chapter that shows another chapter's program again needn't explain its marks again.
pub(super) fn numbered_marks(book: &Book, problems: &mut Vec<Problem>) {
    for chapter in book.chapters() {
        let includes = chapter.includes();
        for fence in chapter.rust_fences() {
            let by_hand = fence.text.lines().filter_map(support::number);
            let mut numbers: BTreeSet<usize> = by_hand.collect();
            let lines = fence.line..=fence.line + fence.text.lines().count();
            for (path, include) in &includes {
                let program = book.program(path).filter(|_| lines.contains(&include.line));
                // A module belongs to the only chapter that shows it.
                let is_own = [None, number_of(&chapter.name)];
                let program = program.filter(|program| is_own.contains(&number_of(&program.name)));
                let shown = program.map(|program| program.shown(include.anchor));
                let shown = shown.into_iter().flatten();
                numbers.extend(shown.filter_map(|(_, line)| support::number(line)));
            }
            let count = numbers.len();
            let what = if !numbers.iter().copied().eq(1..=count) {
                format!("the snippet has the marks {numbers:?}; count them from 1")
            } else if count > 0 && chapter.numbered_list_after(fence.range.end) != Some(count) {
                format!(
                    "the snippet has {count} numbered marks; the list after it must be a numbered one \
                     that explains each of them, and no more"
                )
            } else {
                continue;
            };
            problems.push(chapter.problem(fence.line, what));
        }
    }
}
