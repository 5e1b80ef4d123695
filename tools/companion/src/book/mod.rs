//! Builds the book with mdBook's own library, so that nobody has to install mdBook, and says in one
//! line each what's wrong with it.
//!
//! - [`edition`]: the two languages, and what joins their pages
//! - `search`: the search index of the Chinese edition
//! - [`mod@include`]: the includes of chapters, and those that show nothing
//! - `repository`: where the repository's icon and the edit links lead
//! - `messages`: what mdBook says meanwhile

pub mod edition;
pub mod include;
mod messages;
mod repository;
mod search;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result, bail};
use mdbook_driver::MDBook;
use mdbook_driver::book::{Book, BookItem, Chapter};
use mdbook_driver::config::Config;
use mdbook_preprocessor::{Preprocessor, PreprocessorContext};
use tracing::Level;
use walkdir::WalkDir;

use crate::output::tell;
use edition::{CHINESE, ENGLISH, Edition};

/// The files of a site, by their names from its root, with `/`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A book that has been built.
#[derive(Debug, Default)]
pub struct Built {
    /// Its pages, and what they need. The first page is `index.html`.
    pub files: Files,
    /// What makes a page wrong, one line each. mdBook writes such a page too, with a hole in it.
    pub faults: Vec<String>,
    /// What mdBook finds odd, one line each.
    pub warnings: Vec<String>,
}

impl Built {
    /// Tells its author what's wrong with it.
    pub fn tell(&self) {
        for warning in &self.warnings {
            tell(format!("warning: {warning}"));
        }
        for fault in &self.faults {
            tell(format!("error: {fault}"));
        }
    }

    /// Writes its files to a folder that doesn't exist or is empty.
    ///
    /// # Errors
    ///
    /// When the folder can't be written to.
    pub fn write(&self, dir: &Path) -> Result<()> {
        for (name, bytes) in &self.files {
            let file = dir.join(name);
            fs::create_dir_all(file.parent().unwrap_or(dir))
                .and_then(|()| fs::write(&file, bytes))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }
}

/// Builds the book below `root`: its English edition, and the Chinese one in a folder of the site, if it
/// has one. The pages will be at `site_url`, or else where book.toml or the environment says.
///
/// # Errors
///
/// When there's nothing to show: no `SUMMARY.md` that can be read, a chapter that doesn't exist.
/// Everything else is among the [faults](Built::faults).
pub fn build(root: &Path, site_url: Option<&str>) -> Result<Built> {
    const SITE_URL: &str = "output.html.site-url";
    let mut config = Config::from_disk(root.join("book.toml"))?;
    config.update_from_env()?;
    repository::find(&mut config, root)?;
    // Otherwise mdBook makes an empty chapter of every misspelt name in the summary.
    config.build.create_missing = false;
    if let Some(url) = site_url {
        config.set(SITE_URL, url)?;
    }
    let chinese = root.join(CHINESE.source).join("SUMMARY.md");
    if config.book.src != Path::new(ENGLISH.source) || !chinese.is_file() {
        return build_all(root, [(&ENGLISH, config)]);
    }

    let site: Option<String> = config.get(SITE_URL)?;
    let site = site.map(|site| format!("{}/", site.trim_end_matches('/')));
    let mut chinese = config.clone();
    edition::make_chinese(&mut chinese);
    chinese.set(SITE_URL, site.clone().unwrap_or("/".into()) + CHINESE.path)?;
    let mut built = build_all(root, [(&ENGLISH, config), (&CHINESE, chinese)])?;
    // Without a host, it's no address that a search engine could be told.
    let address = site.filter(|site| site.contains("://"));
    let missing = edition::join(&mut built.files, address.as_deref())?;
    built.faults.extend(missing);
    Ok(built)
}

/// Builds editions at the same time, because each keeps one core busy for seconds.
fn build_all<const N: usize>(root: &Path, editions: [(&Edition, Config); N]) -> Result<Built> {
    let mut all = Built::default();
    thread::scope(|scope| {
        let building = editions.map(|(edition, config)| {
            let thread = scope.spawn(|| build_one(root, edition, config));
            (edition, thread)
        });
        for (edition, thread) in building {
            // mdBook has places where it gives up instead of returning an error.
            let Ok(built) = thread.join() else {
                bail!("mdBook panicked while it built the book");
            };
            let built = built?;
            let files = built.files.into_iter();
            all.files
                .extend(files.map(|(name, file)| (format!("{}{name}", edition.path), file)));
            all.faults.extend(built.faults);
            all.warnings.extend(built.warnings);
        }
        Ok(all)
    })
}

/// Leaves out the hidden lines of Rust snippets. They're the rest of the program, which makes a page ten
/// times as heavy, and the search finds words that no page shows.
struct HiddenLines;

impl Preprocessor for HiddenLines {
    fn name(&self) -> &str {
        "hidden-lines"
    }

    fn run(&self, _: &PreprocessorContext, mut book: Book) -> Result<Book> {
        book.for_each_chapter_mut(|chapter| {
            let (mut in_fence, mut in_rust) = (false, false);
            let shown = chapter.content.split_inclusive('\n').filter(|line| {
                let line = line.trim();
                if line.starts_with("```") {
                    in_fence = !in_fence;
                    in_rust = in_fence && line.starts_with("```rust");
                }
                !(in_rust && (line == "#" || line.starts_with("# ")))
            });
            chapter.content = shown.collect();
        });
        Ok(book)
    }
}

/// Builds one edition as a site of its own.
fn build_one(root: &Path, edition: &Edition, mut config: Config) -> Result<Built> {
    let dir = tempfile::tempdir().context("cannot make a folder for the pages")?;
    config.build.build_dir = dir.path().into();
    let (faults, messages) = messages::of(|| {
        let mut book = MDBook::load_with_config(root, config)?;
        book.with_preprocessor(HiddenLines);
        let faults = broken_includes(&book);
        book.build()?;
        anyhow::Ok(faults)
    });
    let mut faults = faults?;
    let mut warnings = Vec::new();
    for (level, message) in messages {
        // A missing file is among the faults already, with the line that mdBook doesn't tell.
        let known = include::includes(&message)
            .any(|include| faults.iter().any(|fault| fault.contains(include.text)));
        if level == Level::WARN {
            warnings.push(message);
        } else if !known {
            faults.push(message);
        }
    }
    let mut files = Files::new();
    for entry in WalkDir::new(&dir) {
        let entry = entry?;
        if entry.file_type().is_file() {
            let name = entry.path().strip_prefix(&dir)?.to_string_lossy();
            files.insert(name.replace('\\', "/"), fs::read(entry.path())?);
        }
    }
    if edition.language == CHINESE.language {
        faults.extend(edition::translate(&mut files)?);
    }
    Ok(Built {
        files,
        faults,
        warnings,
    })
}

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
            let shown = chapter
                .strip_prefix(&book.root)
                .unwrap_or(&chapter)
                .display();
            let broken = include::broken(&chapter, content).into_iter();
            faults.extend(broken.map(|(line, why)| format!("{shown}:{line}: {why}")));
        }
    }
    faults
}
