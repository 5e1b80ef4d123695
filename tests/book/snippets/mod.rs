//! Every Rust snippet of every chapter, compiled.
//!
//! - `skeptic`: with skeptic
//! - `mdbook`: as a reader's own `mdbook test` does, with rustdoc
//! - `compile_fail`: those that must fail, with the error that they name
//! - `expand`: the chapters as mdBook expands them
//! - `compiler`: compiles each program once, and not at all if it has compiled before

mod compile_fail;
mod compiler;
mod expand;
mod mdbook;
mod skeptic;

use crate::support::{Book, assert_none};

#[test]
fn every_snippet_compiles_or_fails_as_it_says() {
    let book = Book::load();
    let (chapters, snippets) = expand::expand(&book);
    let compiler = compiler::Compiler::new(&book.root);
    let mut problems = skeptic::problems(&chapters, &snippets, &compiler);
    problems.extend(mdbook::problems(&book.root, &snippets, &compiler));
    problems.extend(compile_fail::problems(&snippets, &compiler));
    assert_none(&problems);
}
