//! `mdbook test`: what a reader's own mdBook does, with the same library.

use std::path::Path;

use mdbook_driver::{book::BookItem, errors::Result};

use super::{
    compiler::Compiler,
    expand::{Snippet, expand, load},
};
use crate::{
    fixture::{Fixture, assert_found},
    support::Problem,
};

/// Snippets that rustdoc doesn't compile.
pub(super) fn problems(root: &Path, snippets: &[Snippet], compiler: &Compiler) -> Vec<Problem> {
    compiler.compile("mdbook test", snippets.iter(), |snippet| {
        let error = test(root, snippet, compiler.deps).err()?;
        Some(format!(
            "{error:#} (mdbook test); rustdoc's messages are above"
        ))
    })
}

/// Runs rustdoc on one snippet, as mdBook does. rustdoc's own words go to stderr.
fn test(root: &Path, snippet: &Snippet, deps: &Path) -> Result<()> {
    let language = snippet.chapter.path.split('/').nth(1);
    let mut book = load(root, language.unwrap_or_default())?;
    book.book.for_each_mut(|item| {
        if let BookItem::Chapter(chapter) = item {
            chapter.content = with_snippet(&chapter.content, snippet.line);
        }
    });
    let deps = deps.to_str().expect("the checkout's path is Unicode");
    book.test_chapter(vec![deps], Some(&format!("{}.md", snippet.chapter.name)))
}

/// The chapter with every other Rust snippet made plain text.
fn with_snippet(chapter: &str, line: usize) -> String {
    let lines = chapter.lines().zip(1..).flat_map(|(text, number)| {
        let is_other = text.starts_with("```rust") && number != line;
        [if is_other { "```text" } else { text }, "\n"]
    });
    lines.collect()
}

#[test]
fn snippet_that_does_not_compile_is_seen() {
    let fixture = Fixture::new().edit("code/src/bin/02-loud.rs", "to_uppercase", "to_upercase");
    let book = fixture.load();
    let (_, snippets) = expand(&book);
    let problems = problems(&book.root, &snippets, &Compiler::new(&book.root));
    let faulty = "src/en/02-loud.md:5: One or more tests failed (mdbook test); ";
    assert_found(&problems, &[faulty]);
}
