//! Makes a test of every Rust snippet of the book, with skeptic.
//!
//! skeptic does not know mdBook's includes, so it is given the chapters as mdBook expands them: it
//! compiles the very text that `mdbook test` compiles. Snippets that are meant not to compile are
//! kept from it, because it would call them failures; `tests/snippets.rs` judges those.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    time::SystemTime,
};

use mdbook_driver::{
    MDBook, book::BookItem, builtin_renderers::MarkdownRenderer, config::Config, errors::Result,
};

fn main() {
    for source in ["book.toml", "code", "src"] {
        println!("cargo:rerun-if-changed={source}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo tells a build script its folder"));
    let tests = out.join("skeptic-tests.rs");
    // A book that does not load is a failed test, not a failed build: the other tests of this
    // package say more about what is wrong with it.
    let generated = generate(Path::new("."), &out).unwrap_or_else(|error| {
        format!("#[test]\nfn the_book_loads() {{\n    panic!(\"{{}}\", {error:?});\n}}\n")
    });
    fs::write(tests, generated).expect("a build script can write to its folder");
}

fn generate(root: &Path, out: &Path) -> Result<String> {
    let mut chapters = Vec::new();
    for language in languages(root)? {
        chapters.extend(expand(root, &language, out)?);
    }
    if chapters.is_empty() {
        return Ok(String::new());
    }
    let files: Vec<&Path> = chapters.iter().map(|(file, _)| file.as_path()).collect();
    skeptic::generate_doc_tests(&files);
    let generated = fs::read_to_string(out.join("skeptic-tests.rs"))?;
    let lines = chapters.iter().flat_map(|(_, lines)| lines);
    Ok(adapt(&generated, lines))
}

/// The folders of `src` that hold a book: one for each language.
fn languages(root: &Path) -> Result<Vec<String>> {
    let mut languages = Vec::new();
    for entry in fs::read_dir(root.join("src"))? {
        let entry = entry?;
        if entry.path().join("SUMMARY.md").is_file() {
            languages.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    languages.sort();
    Ok(languages)
}

/// Writes each chapter of one language to `out` with its includes expanded. Returns the files, and
/// for each of them the lines of its source at which skeptic will find a snippet.
fn expand(root: &Path, language: &str, out: &Path) -> Result<Vec<(PathBuf, Vec<usize>)>> {
    let mut config = Config::from_disk(root.join("book.toml"))?;
    config.book.src = Path::new("src").join(language);
    let source = root.join(&config.book.src);
    let book = MDBook::load_with_config(root, config)?;
    let (expanded, _) = book.preprocess_book(&MarkdownRenderer::new())?;
    let mut chapters = Vec::new();
    for item in expanded.iter() {
        let BookItem::Chapter(chapter) = item else {
            continue;
        };
        let Some(path) = &chapter.source_path else {
            continue;
        };
        let name = path.to_string_lossy().replace(['/', '\\'], "_");
        let file = out.join(format!("{language}_{name}"));
        let text = chapter
            .content
            .replace("```rust,compile_fail", "```text,compile_fail");
        fs::write(&file, text)?;
        // skeptic tells Cargo to watch this file, which is newer than the start of this script:
        // Cargo would run the script again each time.
        File::options()
            .write(true)
            .open(&file)?
            .set_modified(SystemTime::UNIX_EPOCH)?;
        chapters.push((file, snippets(&fs::read_to_string(source.join(path))?)));
    }
    Ok(chapters)
}

/// The lines that open a Rust snippet for skeptic. Includes come inside the snippets, so there are
/// as many of them, in the same order, before and after expansion.
fn snippets(chapter: &str) -> Vec<usize> {
    chapter
        .lines()
        .zip(1..)
        .filter(|(line, _)| line.trim_start().starts_with("```rust"))
        .filter(|(line, _)| !line.contains("compile_fail"))
        .map(|(_, number)| number)
        .collect()
}

/// Makes skeptic's tests call a function of `tests/skeptic.rs`, which knows where the libraries are,
/// and name the line of the chapter, not the line of its expansion.
fn adapt<'a>(generated: &str, lines: impl Iterator<Item = &'a usize>) -> String {
    let mut lines = lines;
    let mut adapted = String::new();
    for line in generated.lines() {
        if let Some((name, _)) = line
            .strip_prefix("#[test] fn ")
            .and_then(|function| function.rsplit_once("_line_"))
            && let Some(number) = lines.next()
        {
            adapted += &format!("#[test] fn {name}_line_{number}() {{");
        } else {
            adapted += &line.replacen("    skeptic::rt::compile_test(", "    compile_test(", 1);
        }
        adapted.push('\n');
    }
    adapted
}
