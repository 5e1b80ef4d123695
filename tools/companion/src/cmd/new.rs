//! `cargo run -- new`: starts a project of the reader's own, to type along.

use std::fs;
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use examiner::stages;

use crate::output::print;

/// The manifest of the book's own programs; a new project takes its dependencies.
const MANIFEST: &str = include_str!("../../../../code/Cargo.toml");

/// How the book's programs are formatted: an editor that formats what is typed leaves it as the page has it.
const FORMAT: &str = include_str!("../../../../code/rustfmt.toml");

const MAIN: &str = include_str!("../../template/main.rs");

const README: &str = include_str!("../../template/README.md");

/// Start a project of your own, to type along
#[derive(clap::Args)]
pub struct New {
    /// The folder to make, ../my-chat for example
    dir: PathBuf,
}

impl New {
    /// Makes the project and says how to go on. The folder must not exist yet, or be empty.
    ///
    /// # Errors
    ///
    /// When there is something already, when the folder's name can't be a package's, when it's inside
    /// this repository, or when it can't be written.
    pub fn run(self) -> Result<ExitCode> {
        let (dir, name) = place(&self.dir)?;
        let root = stages::root();
        let shown = quoted(&dir);
        let files = [
            ("Cargo.toml", manifest(&name)),
            ("src/main.rs", MAIN.into()),
            (".gitignore", "/target\n".into()),
            ("rustfmt.toml", FORMAT.into()),
            (
                "README.md",
                README.replace("NAME", &name).replace("DIR", &shown),
            ),
            // The very versions of the book. Cargo drops what the project doesn't use.
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
        print(format!(
            "{} is ready. Read chapter 04 and write it in src/main.rs; then, in {}:\n\
             cargo run -- check 04-accept --dir {shown}",
            dir.display(),
            root.display()
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Where the project is made, and the name of its package.
fn place(dir: &Path) -> Result<(PathBuf, String)> {
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
    // Without `..`, so that the path can be shown. Windows resolves it by itself, and its canonical
    // paths aren't for people.
    let dir = match cfg!(windows) {
        true => dir,
        false => parent.join(&name),
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
    Ok((dir, name))
}

/// What Cargo accepts on every system, without its rarer exceptions, on which it has words of its own.
fn is_package_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// The manifest of a project with the dependencies of the book's programs, one a line.
fn manifest(name: &str) -> String {
    // What only the book's own tests and examples need doesn't belong here.
    let mut dependencies: Vec<&str> = MANIFEST
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .take_while(|line| *line != "[dev-dependencies]")
        .filter(|line| line.starts_with(|c: char| c.is_alphabetic()))
        .collect();
    // Sorted, because the book's manifest keeps those apart that a browser can't have.
    dependencies.sort();
    let dependencies = dependencies.join("\n");
    // Without the last table, Cargo looks for a workspace in the folders above, and refuses to build in
    // one that doesn't list the project.
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dependencies]\n{dependencies}\n\n\
         # This project stands alone, whatever the folders above it hold.\n[workspace]\n"
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
