//! The chapters as mdBook expands them: an include becomes what it stands for, for the reader and for the
//! compiler.

use std::{collections::HashMap, path::Path};

use mdbook_driver::{
    MDBook, book::BookItem, builtin_renderers::MarkdownRenderer, config::Config, errors::Result,
};

use crate::support::{Book, Chapter, Fence};

/// A Rust snippet.
pub(super) struct Snippet<'a> {
    pub chapter: &'a Chapter,
    /// The line of its fence in the chapter.
    pub line: usize,
    /// What follows the three backquotes.
    pub info: String,
    /// What is compiled: all lines, the hidden ones like the others.
    pub program: String,
}

impl Snippet<'_> {
    /// Whether it must not compile.
    pub(super) fn must_fail(&self) -> bool {
        self.info.contains("compile_fail")
    }
}

/// The expanded chapters of all languages, and the Rust snippets in them.
pub(super) fn expand(book: &Book) -> (Vec<String>, Vec<Snippet<'_>>) {
    let (mut all, mut snippets) = (Vec::new(), Vec::new());
    for language in &book.languages {
        let texts = texts(&book.root, &language.name).expect("mdBook can expand the chapters");
        for chapter in &language.chapters {
            // A chapter that isn't in the summary keeps its includes, which don't compile.
            let text = texts.get(&chapter.name).unwrap_or(&chapter.text);
            let mut expanded = chapter.clone();
            expanded.text = text.clone();
            let fences: Vec<Fence> = expanded.rust_fences().collect();
            let lines: Vec<usize> = chapter.rust_fences().map(|fence| fence.line).collect();
            // They would differ if a program held three backquotes.
            assert_eq!(fences.len(), lines.len(), "{}", chapter.path);
            snippets.extend(lines.into_iter().zip(fences).map(|(line, fence)| Snippet {
                chapter,
                line,
                program: without_marks(&fence.text),
                info: fence.info,
            }));
            all.push(expanded.text);
        }
    }
    (all, snippets)
}

/// A snippet without the marks that hide some of its lines.
fn without_marks(snippet: &str) -> String {
    let lines = snippet.lines().flat_map(|line| match line.trim_start() {
        "#" => ["", "\n"],
        hidden => [hidden.strip_prefix("# ").unwrap_or(line), "\n"],
    });
    lines.collect()
}

/// The book of one language, as mdBook loads it.
pub(super) fn load(root: &Path, language: &str) -> Result<MDBook> {
    let mut config = Config::from_disk(root.join("book.toml"))?;
    config.book.src = Path::new("src").join(language);
    MDBook::load_with_config(root, config)
}

/// The expanded chapters of a language, by their names.
fn texts(root: &Path, language: &str) -> Result<HashMap<String, String>> {
    let (expanded, _) = load(root, language)?.preprocess_book(&MarkdownRenderer::new())?;
    let mut texts = HashMap::new();
    for item in expanded.iter() {
        if let BookItem::Chapter(chapter) = item
            && let Some(path) = &chapter.source_path
        {
            let name = path.with_extension("").to_string_lossy().into_owned();
            texts.insert(name, chapter.content.clone());
        }
    }
    Ok(texts)
}
