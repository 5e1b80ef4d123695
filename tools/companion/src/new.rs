//! `cargo run -- new`: a project of the reader's own, to type along.

use std::{
    fs,
    path::{Path, absolute},
};

use anstream::println;
use anyhow::{Context as _, Result, bail};

use examiner::stages;

/// The manifest of the book's own programs; a new project takes its dependencies.
const MANIFEST: &str = include_str!("../../../code/Cargo.toml");

/// How the book's programs are formatted: an editor that formats what is typed leaves it as the page has it.
const FORMAT: &str = include_str!("../../../code/rustfmt.toml");

const MAIN: &str = r#"//! My chat server.
//!
//! It starts with chapter 01 of the book: replace everything in this file.

fn main() {
    println!("Nothing listens here yet. Chapter 01 shows what to write.");
}
"#;

/// Makes a project in `dir`, which must not exist yet or be empty.
///
/// # Errors
///
/// When there is something already, when the folder's name cannot be a package's, when it lies inside
/// this repository, or when it cannot be written.
pub fn new(dir: &Path) -> Result<()> {
    let dir = absolute(dir).with_context(|| format!("{} is no path", dir.display()))?;
    let name = dir
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let Some(name) = name.filter(|name| is_package_name(name)) else {
        bail!(
            "the folder is the name of the package: letters, digits, `-` and `_`, and a letter first, \
             as in `my-chat`"
        );
    };
    // A path with `..` in it is compared as it really is, as far as it exists.
    let parent = dir.parent().unwrap_or(&dir);
    let parent = parent
        .canonicalize()
        .with_context(|| format!("there is no folder {}", parent.display()))?;
    // Without `..`, so that the path can be shown; Windows resolves it by itself, and its canonical
    // paths are not for people.
    let dir = if cfg!(windows) {
        dir
    } else {
        parent.join(&name)
    };
    let root = stages::root();
    if parent.starts_with(root.canonicalize().unwrap_or_else(|_| root.into())) {
        bail!(
            "{} is inside the book; choose a folder beside it, as in `../my-chat`",
            dir.display()
        );
    }
    if dir.exists() && (!dir.is_dir() || fs::read_dir(&dir)?.next().is_some()) {
        bail!(
            "{} exists and is left as it is; name a new folder",
            dir.display()
        );
    }
    let book = root.display();
    let files = [
        ("Cargo.toml", manifest(&name)),
        ("src/main.rs", MAIN.to_string()),
        (".gitignore", "/target\n".to_string()),
        ("rustfmt.toml", FORMAT.to_string()),
        ("README.md", readme(&name, &dir)),
        // The very versions of the book; Cargo drops what the project does not use.
        (
            "Cargo.lock",
            fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?,
        ),
    ];
    for (file, text) in files {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap_or(&dir))
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!(
        "{} is ready. Read chapter 01 and write it in src/main.rs; then, in {book}:",
        dir.display()
    );
    println!("cargo run -- check 01-accept --dir {}", quoted(&dir));
    Ok(())
}

/// What Cargo accepts on every system, without its rarer exceptions, on which it has words of its own.
fn is_package_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn manifest(name: &str) -> String {
    // What only the book's own tests and examples need does not belong here.
    let mut dependencies: Vec<&str> = MANIFEST
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .take_while(|line| *line != "[dev-dependencies]")
        .filter(|line| line.starts_with(|c: char| c.is_alphabetic()))
        .collect();
    // The manifest keeps those apart that a browser cannot have.
    dependencies.sort();
    let dependencies = dependencies.join("\n");
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dependencies]\n{dependencies}\n"
    )
}

/// A path as it is typed into a shell.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/\\:._-".contains(c);
    match path.chars().all(plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

fn readme(name: &str, dir: &Path) -> String {
    let dir = quoted(dir);
    format!(
        "# {name}\n\
         \n\
         My chat server, written along with the book \"A Chat Server in Async Rust\".\n\
         Write each chapter's code into `src/main.rs`, and run it with `cargo run`.\n\
         After a chapter, examine it from the folder of the book:\n\
         \n\
         ```console\n\
         $ cargo run -- check 01-accept --dir {dir}\n\
         ```\n"
    )
}
