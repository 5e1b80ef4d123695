//! Watches the files of a folder, and waits until some of them change and come to rest.
//!
//! notify reports single events. Its debouncers don't help here: the mini one hides whether a file was
//! only read and that events were lost, and the full one reports a file while others still change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::output::tell;

/// How long the files must be at rest, because an editor writes a file in several steps.
const AT_REST: Duration = Duration::from_millis(50);

/// How long to wait for that. A file may change without end.
const RESTLESS: Duration = Duration::from_secs(1);

/// The changes below a folder, reported from the moment it's watched.
pub struct Changes<F> {
    /// Without symbolic links, because macOS reports paths in this form.
    root: PathBuf,
    matters: F,
    watcher: RecommendedWatcher,
    events: Receiver<notify::Result<Event>>,
}

impl<F: Fn(&Path) -> bool> Changes<F> {
    /// Watches the files below `root` that matter, given their path from there. A folder directly in
    /// `root` that doesn't matter isn't watched at all, and one that appears later is.
    ///
    /// # Errors
    ///
    /// When there's no such folder, or the system can't watch it.
    pub fn watch(root: &Path, matters: F) -> Result<Self> {
        let root = root
            .canonicalize()
            .with_context(|| format!("there is no folder {}", root.display()))?;
        let (sender, events) = channel();
        let mut watcher = notify::recommended_watcher(sender)?;
        // An editor may replace a file by a new one of its name, which only the folder notices.
        watcher.watch(&root, RecursiveMode::NonRecursive)?;
        let mut changes = Self {
            root,
            matters,
            watcher,
            events,
        };
        changes.watch_folders();
        Ok(changes)
    }

    /// Waits for a change since the last call, and returns what changed once it's at rest.
    pub fn wait(&mut self) -> BTreeSet<PathBuf> {
        let mut changed = BTreeSet::new();
        while changed.is_empty() {
            let event = self.events.recv();
            self.note(
                event.expect("the watcher lives as long as this, and has the sender"),
                &mut changed,
            );
        }
        let enough = Instant::now() + RESTLESS;
        while Instant::now() < enough
            && let Ok(event) = self.events.recv_timeout(AT_REST)
        {
            self.note(event, &mut changed);
        }
        changed
    }

    fn note(&mut self, event: notify::Result<Event>, changed: &mut BTreeSet<PathBuf>) {
        match event {
            // A build opens every source. Answering that with a build would never end.
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
            Ok(event) if !event.need_rescan() => {
                for path in event.paths {
                    let Ok(path) = path.strip_prefix(&self.root) else {
                        continue;
                    };
                    if is_by_editor(path) || !(self.matters)(path) {
                        continue;
                    }
                    if path.components().count() == 1 {
                        // It may be a new folder, or have been replaced by another of its name.
                        self.watch_folders();
                    }
                    changed.insert(path.to_path_buf());
                }
            }
            // Without an event to look at, anything may have changed.
            _ => {
                self.watch_folders();
                changed.insert("unknown files".into());
            }
        }
    }

    /// Watches the folders in the root that matter. Doing that again does no harm.
    fn watch_folders(&mut self) {
        // A root that can't be read is gone, and nothing changes in it.
        for entry in self.root.read_dir().into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), PathBuf::from(entry.file_name()));
            if (self.matters)(&name)
                && path.is_dir()
                && let Err(error) = self.watcher.watch(&path, RecursiveMode::Recursive)
            {
                let name = name.display();
                tell(format!(
                    "warning: an edit below {name} will not show: {error}"
                ));
            }
        }
    }
}

/// Whether this is a backup or a swap file, which an editor writes while somebody types.
fn is_by_editor(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(['.', '#']) || name.ends_with('~')
}
