//! The small sound book in `tests/book/sound`, for the tests that put one fault into it.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::support::{Book, Problem, below, read};

/// A copy of the small book, in a folder of its own.
pub(crate) struct Fixture {
    folder: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Fixture {
        let folder = TempDir::new().expect("the system has a folder for temporary files");
        let sound = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/book/sound");
        let files = below(&sound, ".").expect("the repository can be read");
        files.iter().fold(Fixture { folder }, |fixture, file| {
            let text = read(&sound.join(file)).expect("the repository can be read");
            fixture.write(file, &text)
        })
    }

    /// Makes these changes: `[path, old, new]` edits a file, `[path, text]` writes it, `[path]` removes it.
    pub(crate) fn with(self, changes: &[Vec<String>]) -> Fixture {
        changes
            .iter()
            .fold(self, |fixture, change| match change.as_slice() {
                [path, old, new] => fixture.edit(path, old, new),
                [path, text] => fixture.write(path, text),
                [path] => fixture.remove(path),
                _ => panic!("{change:?} is no change"),
            })
    }

    /// Writes a file.
    pub(crate) fn write(self, path: &str, text: &str) -> Fixture {
        let file = self.folder.path().join(path);
        let folder = file.parent().expect("the path names a file");
        fs::create_dir_all(folder).expect("the folder can be written to");
        fs::write(file, text).expect("the folder can be written to");
        self
    }

    /// Replaces the one occurrence of a text in a file.
    pub(crate) fn edit(self, path: &str, old: &str, new: &str) -> Fixture {
        let text = fs::read_to_string(self.folder.path().join(path)).expect("the file is there");
        assert_eq!(text.matches(old).count(), 1, "{path} holds `{old}` once");
        self.write(path, &text.replace(old, new))
    }

    /// Removes a file.
    pub(crate) fn remove(self, path: &str) -> Fixture {
        fs::remove_file(self.folder.path().join(path)).expect("the file is there");
        self
    }

    /// The book; its files are gone when the fixture is.
    pub(crate) fn load(&self) -> Book {
        Book::load_from(self.folder.path()).expect("the fixture can be read")
    }
}

/// Fails unless there are these problems, in this order: of each, the beginning of its text.
pub(crate) fn assert_found(problems: &[Problem], expected: &[&str]) {
    let found: Vec<String> = problems.iter().map(Problem::to_string).collect();
    let mut pairs = found.iter().zip(expected);
    assert!(
        found.len() == expected.len() && pairs.all(|(found, start)| found.starts_with(start)),
        "expected\n  {}\nfound\n  {}",
        expected.join("\n  "),
        found.join("\n  ")
    );
}
