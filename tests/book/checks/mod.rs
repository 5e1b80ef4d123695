//! Checks of the chapters that need no compiler.
//!
//! A check is a function from a book to what is wrong with it. One test applies them all to this book;
//! `seen_to_fail` applies each to a small book with one fault.

mod anchors;
mod chapters;
mod diffs;
mod exercises;
mod includes;
mod stages;

use std::{env, fs};

use crate::support::{self, Book, Problem};

/// Adds what is wrong with a book.
pub(crate) type Check = fn(&Book, &mut Vec<Problem>);

/// Every check, and its name.
pub(crate) const CHECKS: [(&str, Check); 16] = [
    ("anchors", anchors::anchors),
    ("diff sections", diffs::diff_sections),
    ("exercises", exercises::exercises),
    ("fence kinds", includes::fence_kinds),
    ("fresh diffs", diffs::fresh_diffs),
    ("headings", chapters::headings),
    ("includes", includes::includes),
    ("numbered marks", anchors::numbered_marks),
    ("pairs", chapters::pairs),
    ("programs", chapters::programs),
    ("rust snippets", includes::rust_snippets),
    ("summary", chapters::summary),
    ("titles", chapters::titles),
    ("transcripts", includes::transcripts),
    ("unmentioned", stages::unmentioned),
    ("unshown", stages::unshown),
];

#[test]
fn chapters_and_programs_are_sound() {
    let book = Book::load();
    if env::var_os("UPDATE_EXPECT").is_some() {
        for (path, text) in diffs::diffs(&book) {
            fs::write(book.root.join(path), text).expect("code/diffs can be written to");
        }
    }
    let mut problems = Vec::new();
    for (name, check) in CHECKS {
        let t = std::time::Instant::now();
        check(&book, &mut problems);
        eprintln!("{name} {:?}", t.elapsed());
    }
    support::assert_none(&problems);
}
