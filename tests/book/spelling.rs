//! The spelling of the English texts and of the programs.

use std::sync::LazyLock;

use regex::Regex;
use unicase::UniCase;

use crate::{
    fixture::assert_found,
    support::{self, Book, Problem},
    translations::editions,
};

/// Words that the dictionary takes for misspellings, and that are right here.
const WORDS: [&str; 0] = [];

#[test]
fn words_are_spelt_right() {
    let book = Book::load();
    let mut problems = Vec::new();
    for file in support::files(&book.root, "md").expect("the repository can be read") {
        let text = support::read(&file).expect("the repository can be read");
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        problems.extend(misspellings(&name, &text));
    }
    let [english, _] = editions(&book);
    for chapter in &english.chapters {
        problems.extend(misspellings(&chapter.path, &chapter.text));
    }
    for program in book.programs() {
        problems.extend(misspellings(&program.path, &program.text));
    }
    support::assert_none(&problems);
}

/// Known misspellings, each with its line. The dictionary is that of the `typos` project.
fn misspellings(path: &str, text: &str) -> Vec<Problem> {
    // The parts of a name in CamelCase are words too.
    static WORD: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("[A-Z]?[a-z]+|[A-Z]+").expect("a valid pattern"));
    let mut problems = Vec::new();
    for found in WORD
        .find_iter(text)
        .filter(|word| !WORDS.contains(&word.as_str()))
    {
        let word = found.as_str();
        if let Some(better) = typos_dict::WORD.find(&UniCase::new(word)) {
            let better = better.join("` or `");
            let line = support::line_of(text, found.start());
            let what = format!(
                "`{word}` should be `{better}`; if it is right, add it to WORDS in {}",
                file!()
            );
            problems.push(Problem::new(path, line, what));
        }
    }
    problems
}

#[test]
fn misspelling_is_found() {
    let found = misspellings("a.md", "One\ntow teh three\n");
    assert_found(&found, &["a.md:2: `teh` should be `the`;"]);
}
