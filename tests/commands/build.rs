//! `cargo run -- build`: writes the book to a folder.

use std::{fs, path::Path};

use crate::program::{Folder, has};

#[test]
fn builds_into_a_folder_and_again_over_its_own_work() {
    let book = Folder::of_book("small");
    for _ in 0..2 {
        let built = book.run("build target/pages --root .").with(0).stdout;
        let index = "target/pages/index.html";
        assert!(Path::new(built.trim_end()).ends_with(index), "{built}");
        let page = book.read(index);
        has(&page, "A small book");
        assert!(!page.contains("live-reload"), "{page}");
    }
}

#[test]
fn builds_beside_book_toml_when_no_folder_is_named_but_keeps_a_repository() {
    let book = Folder::of_book("small");
    book.run("build --root .").with(0);
    book.read("book/first.html");
    // A book that is kept in a repository of its own: emptying it would take the history along.
    fs::create_dir(book.path().join("book/.git")).expect("it can be made");
    has(&book.run("build --root .").with(1).stderr, "is left alone");
    book.read("book/first.html");
}
