//! `cargo run -- check`: examines a server, once or after every change.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use cargo_metadata::MetadataCommand;
use examiner::Error;
use examiner::check::{self, Examination};
use examiner::stages;

use crate::output::{one_line, print, tell};
use crate::watch::Changes;

/// The exit status when nothing could be examined.
const NOT_EXAMINED: u8 = 2;

/// Examine a server against what the book promises up to a chapter
#[derive(clap::Args)]
pub struct Check {
    #[command(flatten)]
    examination: Examination,

    /// Examine again whenever a file in the folder changes
    #[arg(long, requires = "dir", conflicts_with_all = ["format", "addr", "command"])]
    watch: bool,
}

impl Check {
    /// Examines the server. The status is 0 when everything held, 1 when something fell short, and 2
    /// when it couldn't be examined.
    pub fn run(self) -> ExitCode {
        match &self.examination.dir {
            Some(dir) if self.watch => match self.watch(dir) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => not_examined(&error),
            },
            _ => self.examine(),
        }
    }

    fn examine(&self) -> ExitCode {
        match check::check(&self.examination, &mut anstream::stdout()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            // Nobody reads the results any more.
            Err(Error::Io { why, .. }) if why.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => not_examined(&error.into()),
        }
    }

    /// Examines at once and after every change in the project, until Ctrl-C.
    fn watch(&self, dir: &Path) -> Result<()> {
        let root = dir
            .canonicalize()
            .with_context(|| format!("there is no folder {}", dir.display()))?;
        // A build writes below the one, and editors look into the other.
        let not_sources = [target_of(&root), root.join(".git")];
        let is_source = |path: &Path| {
            let path = root.join(path);
            !not_sources.iter().any(|folder| path.starts_with(folder))
        };
        let mut changes = Changes::watch(&root, is_source)?;
        loop {
            // The status is for a caller that waits for the end, and there is none.
            let _ = self.examine();
            let root = root.display();
            if !print(format!("\nWaiting for a change in {root} (Ctrl-C stops)"))? {
                return Ok(());
            }
            changes.wait();
            print("")?;
        }
    }
}

fn not_examined(error: &anyhow::Error) -> ExitCode {
    tell(format!("error: {}", one_line(error)));
    ExitCode::from(NOT_EXAMINED)
}

/// Where Cargo builds the project in this folder: below it, if nothing says otherwise.
fn target_of(root: &Path) -> PathBuf {
    let metadata = MetadataCommand::new()
        .cargo_path(stages::cargo())
        .current_dir(root)
        .no_deps()
        .exec();
    // Where there's no project yet, the examination says so.
    metadata.map_or_else(
        |_| root.join("target"),
        |metadata| metadata.target_directory.into(),
    )
}
