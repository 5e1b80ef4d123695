//! Patches: what they say of themselves, and the programs that they make.

use std::fs;

use examiner::{
    conversation::Conversation,
    stages::{self, Program},
};

use crate::common::{Book, Result, files, stem};

/// A patch of a stage.
pub(super) struct Patch {
    pub(super) stage: &'static Program,
    pub(super) name: String,
    /// The file, from the root of the repository.
    pub(super) place: String,
    pub(super) text: String,
    /// The conversations of which one catches the mistake.
    pub(super) caught_by: Vec<String>,
    /// Whether they can be played on this system.
    pub(super) is_caught_here: bool,
    /// How the cause begins that names the mistake.
    pub(super) cause: String,
    /// How often the conversations that catch it are played.
    pub(super) tries: usize,
    /// What its server is examined with, in order: all that its stage promises, until it must be caught.
    pub(super) played: Vec<&'static Conversation>,
}

impl Patch {
    /// The patches of a stage.
    pub(super) fn all(book: Book, stage: &'static Program) -> Result<Vec<Patch>> {
        let folder = format!("tests/servers/mistakes/{}", stage.name);
        let path = stages::root().join(&folder);
        let files = if path.is_dir() {
            files(&path)?
        } else {
            Vec::new()
        };
        let patches = files.into_iter().map(|file| {
            let text = fs::read_to_string(&file)?.replace("\r\n", "\n");
            Patch::read(
                book,
                stage,
                stem(&file),
                format!("{folder}/{}.patch", stem(&file)),
                text,
            )
        });
        patches.collect()
    }

    fn read(
        book: Book,
        stage: &'static Program,
        name: String,
        place: String,
        text: String,
    ) -> Result<Patch> {
        let says = |key: &str| {
            let mut head = text.lines().take_while(|line| !line.starts_with("---"));
            head.find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
        };
        let must = |key: &str| {
            let missing = || format!("{place}: expected a line `{key}: …` before `---`");
            says(key).ok_or_else(missing)
        };
        must("mistake")?;
        let caught_by: Vec<String> = must("caught by")?
            .split(" or ")
            .map(str::to_string)
            .collect();
        let mut played = book.promised(stage);
        for name in &caught_by {
            if !played.iter().any(|c| c.name == *name) {
                Err(format!(
                    "{place}: {} promises no conversation {name}",
                    stage.name
                ))?;
            }
        }
        let catches = |c: &&Conversation| caught_by.contains(&c.name);
        let last = played.iter().rposition(catches);
        played.truncate(last.map_or(0, |last| last + 1));
        let mut catching = played.iter().copied().filter(catches);
        let is_caught_here = catching.all(|c| c.platform.is_here());
        played.retain(|c| c.platform.is_here());
        let tries = says("tries").map_or(Ok(1), str::parse);
        Ok(Patch {
            cause: must("cause")?.to_string(),
            tries: tries.map_err(|error| format!("{place}: tries: {error}"))?,
            stage,
            name,
            place,
            caught_by,
            is_caught_here,
            played,
            text,
        })
    }

    /// The program with the mistake.
    pub(super) fn source(&self) -> Result<String> {
        let program = self.stage.path();
        let source = fs::read_to_string(stages::root().join(&program))?.replace("\r\n", "\n");
        let renew = || {
            let place = &self.place;
            format!(
                "{place} does not fit {program} any more. To renew it, make its mistake in a copy of the stage, \
                 take `diff -u {program} COPY`, and put that after the lines of the patch that stand before \
                 `---`"
            )
        };
        let start = self.text.find("--- ").unwrap_or(self.text.len());
        let patch = diffy::Patch::from_str(&self.text[start..]);
        let patch = patch.map_err(|error| format!("{}: {error}", renew()))?;
        let patched = diffy::apply(&source, &patch);
        Ok(patched.map_err(|error| format!("{}: {error}", renew()))?)
    }
}
