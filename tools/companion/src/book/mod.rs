//! Builds the book with mdBook's own library, so that nobody has to install mdBook,
//! and says in one line each what is wrong with it.

pub mod edition;
pub mod include;
mod search;

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use anyhow::{Context as _, Result, bail};
use mdbook_driver::MDBook;
use mdbook_driver::book::{BookItem, Chapter};
use mdbook_driver::config::Config;
use regex::Regex;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber, span};

/// A book that has been written to a folder.
#[derive(Debug)]
pub struct Built {
    /// The first page.
    pub index: PathBuf,
    /// What makes a page wrong, one line each: mdBook writes the page all the same, with a hole in it.
    pub faults: Vec<String>,
    /// What mdBook finds odd, one line each.
    pub warnings: Vec<String>,
}

/// Loads the book below `root` and writes its pages to `dir`, which mdBook empties first: those of the
/// Chinese edition, if there is one, to a folder in `dir`.
///
/// With `live_reload`, each page opens a WebSocket at that path and reloads when it hears "reload".
///
/// # Errors
///
/// When there is nothing to show: no `SUMMARY.md` that can be read, a chapter that does not exist,
/// a folder that cannot be written. Everything else is among the [faults](Built::faults).
pub fn build(root: &Path, dir: &Path, live_reload: Option<&str>) -> Result<Built> {
    let dir = std::path::absolute(dir)?;
    let mut config = Config::from_disk(root.join("book.toml"))?;
    config.update_from_env()?;
    // mdBook makes an empty chapter of every misspelt name in the summary, unless told otherwise.
    config.build.create_missing = false;
    config.build.build_dir.clone_from(&dir);
    if let Some(path) = live_reload {
        config.set("output.html.live-reload-endpoint", path)?;
        // The pages are at the root of this server, wherever else they get published.
        config.set("output.html.site-url", "/")?;
    }
    let mut built = build_one(root, config.clone())?;

    let two = config.book.src == Path::new(edition::ENGLISH.source)
        && root
            .join(edition::CHINESE.source)
            .join("SUMMARY.md")
            .is_file();
    if two {
        let site: Option<String> = config.get("output.html.site-url")?;
        let site = site.map(|site| format!("{}/", site.trim_end_matches('/')));
        config.book.src = edition::CHINESE.source.into();
        config.book.language = Some(edition::CHINESE.language.to_string());
        config.book.title = Some(edition::TITLE.to_string());
        config.book.description = Some(edition::DESCRIPTION.to_string());
        config.build.build_dir.push(edition::CHINESE.path);
        config.set(
            "output.html.site-url",
            format!(
                "{}{}",
                site.as_deref().unwrap_or("/"),
                edition::CHINESE.path
            ),
        )?;
        let chinese = build_one(root, config)?;
        built.faults.extend(chinese.faults);
        built.warnings.extend(chinese.warnings);
        // Without a host it is no address that a search engine could be told.
        let address = site.filter(|site| site.contains("://"));
        built
            .faults
            .extend(edition::join(&dir, address.as_deref())?);
    }
    Ok(built)
}

/// Builds one language of the book.
fn build_one(root: &Path, config: Config) -> Result<Built> {
    let log = Log::default();
    let (index, mut faults) = tracing::subscriber::with_default(log.clone(), || {
        let book = MDBook::load_with_config(root, config)?;
        let faults = broken_includes(&book);
        book.build()?;
        let index = book.build_dir_for("html").join("index.html");
        anyhow::Ok((index, faults))
    })?;

    let mut warnings = Vec::new();
    for (level, message) in log.take() {
        // A missing file was reported above, with the line of the chapter, which mdBook does not tell.
        let known =
            |fault: &String| include_in(&message).is_some_and(|include| fault.contains(include));
        if level == Level::WARN {
            warnings.push(message);
        } else if !faults.iter().any(known) {
            faults.push(message);
        }
    }
    Ok(Built {
        index,
        faults,
        warnings,
    })
}

/// The file of a built book that mdBook has written under a name with a hash: `name-1a2b3c4d.js`.
fn file_of(dir: &Path, name: &str, extension: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let is_it = path.extension().is_some_and(|found| found == extension)
            && path
                .file_stem()
                .and_then(|stem| stem.to_str()?.strip_prefix(name))
                .is_some_and(|hash| hash.is_empty() || hash.starts_with('-'));
        if is_it {
            return Ok(path);
        }
    }
    None.with_context(|| format!("{} has no {name}.{extension}", dir.display()))
}

/// Refuses a folder that [`build`] must not empty: one that holds anything but a built book.
///
/// # Errors
///
/// When `dir` is no folder, or has files in it that mdBook has not written.
pub fn check_target(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    if !dir.is_dir() {
        bail!("{} is not a folder", dir.display());
    }
    if fs::read_dir(dir)?.next().is_none() {
        return Ok(());
    }
    // mdBook writes each of these into every book, and the three together hardly occur elsewhere.
    // A repository would lose its history with the rest: the emptying spares no hidden file.
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

/// An error with all its causes, in one line.
pub fn one_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

static INCLUDE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\\?\{\{\s*#(?:rustdoc_)?include\s+([^\s:}]+):?([^\s:}]*)[^}]*\}\}")
        .expect("the pattern is a constant")
});

static ANCHOR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"ANCHOR:\s*([\w-]+)").expect("the pattern is a constant"));

/// The first include that a message of mdBook quotes.
fn include_in(message: &str) -> Option<&str> {
    INCLUDE.find(message).map(|found| found.as_str())
}

/// Every include of a chapter that shows nothing. mdBook is silent about a wrong anchor, and names
/// no chapter when a file is missing.
fn broken_includes(book: &MDBook) -> Vec<String> {
    let source = book.source_dir();
    let mut faults = Vec::new();
    for item in book.iter() {
        if let BookItem::Chapter(Chapter {
            content,
            source_path: Some(path),
            ..
        }) = item
        {
            let chapter = source.join(path);
            for include in INCLUDE.captures_iter(content) {
                let Some(why) = fault_of(&chapter, &include[0], &include[1], &include[2]) else {
                    continue;
                };
                let start = include.get(0).map_or(0, |whole| whole.start());
                let line = content[..start].matches('\n').count() + 1;
                let shown = chapter.strip_prefix(&book.root).unwrap_or(&chapter);
                faults.push(format!(
                    "{}:{line}: {}: {why}",
                    shown.display(),
                    &include[0]
                ));
            }
        }
    }
    faults
}

/// Why an include of `chapter` shows nothing, if so.
fn fault_of(chapter: &Path, include: &str, file: &str, anchor: &str) -> Option<String> {
    // The backslash is how a chapter shows an include instead of using it.
    if include.starts_with('\\') {
        return None;
    }
    let text = match fs::read_to_string(chapter.parent()?.join(file)) {
        Ok(text) => text,
        Err(error) => return Some(format!("cannot read the file: {error}")),
    };
    // A number is a line, not an anchor.
    if anchor.is_empty() || anchor.parse::<usize>().is_ok() {
        return None;
    }
    let anchors: HashSet<&str> = ANCHOR
        .captures_iter(&text)
        .filter_map(|found| found.get(1))
        .map(|name| name.as_str())
        .collect();
    (!anchors.contains(anchor)).then(|| format!("the file has no anchor `{anchor}`"))
}

/// Collects what mdBook says while one book is built: its warnings and errors, without the chatter.
///
/// mdBook speaks through `tracing`. A subscriber of the one thread that builds needs no global state,
/// so several books can be built at once.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String)>>>);

impl Log {
    fn take(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Level, String)>> {
        // A panic elsewhere cannot leave a list of lines half done.
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Subscriber for Log {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if *metadata.level() <= Level::WARN {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let line = text.0.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut lines = self.lock();
        match (line.strip_prefix("Caused By: "), lines.last_mut()) {
            // mdBook gives the cause of an error as a warning of its own.
            (Some(cause), Some((_, error))) => {
                if !error.contains(cause) {
                    error.push_str(": ");
                    error.push_str(cause);
                }
            }
            _ => lines.push((*event.metadata().level(), line)),
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The message of an event.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string cannot fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}
