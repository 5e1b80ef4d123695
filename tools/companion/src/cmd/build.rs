//! `cargo run -- build`: writes the book to a folder.

use std::fs;
use std::path::{Path, PathBuf, absolute};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::book;
use crate::output::print;

/// Write the book to a folder
#[derive(clap::Args)]
pub struct Build {
    /// The folder [default: `book`, beside book.toml]
    dir: Option<PathBuf>,
}

impl Build {
    /// Writes the book below `root` and prints where its first page is.
    ///
    /// A book with faults is written too, so that its author can look at them, but its status is 1: a
    /// script shouldn't publish it.
    ///
    /// # Errors
    ///
    /// When the book can't be built, or the folder has something else in it.
    pub fn run(self, root: &Path) -> Result<ExitCode> {
        let dir = absolute(self.dir.unwrap_or_else(|| root.join("book")))?;
        refuse_other_files(&dir)?;
        let built = book::build(root, None)?;
        built.tell();
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
        }
        built.write(&dir)?;
        print(dir.join("index.html").display())?;
        Ok(match built.faults.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// Refuses a folder with anything but a built book in it, because it gets emptied.
fn refuse_other_files(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    if !dir.is_dir() {
        bail!("{} is not a folder", dir.display());
    }
    if fs::read_dir(dir)?.next().is_none() {
        return Ok(());
    }
    // mdBook writes these three into every book, and hardly anything else has them all. A repository
    // would lose its history too, because hidden files aren't spared.
    let is_book = [".nojekyll", "index.html", "toc.html"]
        .iter()
        .all(|name| dir.join(name).is_file());
    if !is_book || dir.join(".git").exists() {
        bail!(
            "{} is not empty and is no book built earlier, so it is left alone; name another folder",
            dir.display()
        );
    }
    Ok(())
}
