//! The book as the tests see it: chapters, snippets, programs and their anchors.

// Each test file uses a part of this.
#![allow(dead_code)]

use std::{
    cmp::Reverse,
    fmt, fs, io,
    ops::Range,
    panic,
    path::{Path, PathBuf},
    time::Duration,
};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// Tests in an order in which the machine always has about as much to do, and waits for nobody at the end:
/// those that wait for some time evenly among the others, until a while before the end.
pub fn spread<T>(tests: Vec<(Duration, T)>) -> Vec<T> {
    const END: f64 = 0.9;
    const GOLDEN_RATIO: f64 = 1.618_034;
    let (mut waiting, others): (Vec<_>, Vec<_>) =
        tests.into_iter().partition(|(waits, _)| !waits.is_zero());
    waiting.sort_by_key(|(waits, _)| Reverse(*waits));
    let count = others.len() as f64;
    let others = others.into_iter().enumerate();
    let others = others.map(|(number, (_, test))| (number as f64 / count, test));
    // Neighbours wait equally long, and mostly do the same. Multiples of the golden ratio keep them apart.
    let waiting = waiting.into_iter().enumerate().map(|(number, (_, test))| {
        let place = (number as f64 * GOLDEN_RATIO).fract();
        (place * END, test)
    });
    let mut all: Vec<_> = waiting.chain(others).collect();
    all.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    all.into_iter().map(|(_, test)| test).collect()
}

/// Everything that the checks look at, read once. Paths are relative to `root` and use `/`.
pub struct Book {
    pub root: PathBuf,
    pub languages: Vec<Language>,
    /// `code/src/bin`, in the order of the book.
    pub stages: Vec<Program>,
    /// `code/examples`.
    pub examples: Vec<Program>,
    /// The library of chapter 13 and its tests: `code/src`, `code/tests`. They are no programs, but
    /// chapters show them in the same way.
    pub modules: Vec<Program>,
}

/// One folder of `src`: the book in one language.
pub struct Language {
    /// `en`, `zh-CN`.
    pub name: String,
    pub summary: Chapter,
    pub chapters: Vec<Chapter>,
    /// The README in this language, named `README`.
    pub readme: Option<Chapter>,
    /// Chapters that have no text in this language yet: the comment `not yet rendered: a, b` of its summary.
    pub not_rendered: Vec<String>,
}

impl Language {
    /// All there is to read in this language.
    pub fn texts(&self) -> impl Iterator<Item = &Chapter> {
        let first = [&self.summary].into_iter().chain(&self.readme);
        first.chain(&self.chapters)
    }

    /// Whether the chapter of this program may be missing.
    pub fn may_lack(&self, program: &str) -> bool {
        let number = program.split('-').next();
        let same = |chapter: &str| chapter.split('-').next() == number;
        self.not_rendered.iter().any(|chapter| same(chapter))
    }
}

/// One Markdown file.
#[derive(Clone)]
pub struct Chapter {
    pub path: String,
    /// The file's name without `.md`, which a stage shares with its chapter.
    pub name: String,
    pub text: String,
}

/// One program of `code`, or one module.
#[derive(Clone)]
pub struct Program {
    pub path: String,
    pub name: String,
    pub text: String,
}

/// What is wrong, where, and what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub path: String,
    /// Counted from 1; 0 speaks of the whole file.
    pub line: usize,
    pub what: String,
}

impl Problem {
    pub fn new(path: impl Into<String>, line: usize, what: impl Into<String>) -> Problem {
        Problem {
            path: path.into(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// A fenced code block, as it stands in the source of a chapter.
pub struct Fence {
    /// The line of the opening fence.
    pub line: usize,
    pub info: String,
    pub text: String,
    pub range: Range<usize>,
    /// Whether it is indented code rather than a fence.
    pub indented: bool,
}

/// `{{#include path:anchor}}` or `{{#rustdoc_include path:anchor}}`.
#[derive(Debug, PartialEq)]
pub struct Include {
    pub line: usize,
    /// `include` or `rustdoc_include`.
    pub kind: String,
    /// From the root, with `/`.
    pub path: String,
    pub anchor: Option<String>,
}

/// One heading of a chapter.
#[derive(Debug)]
pub struct Heading {
    pub line: usize,
    pub level: usize,
    pub text: String,
    pub range: Range<usize>,
}

/// The lines between two anchor marks.
#[derive(Debug, PartialEq)]
pub struct Anchor {
    pub name: String,
    /// The line of the start mark.
    pub line: usize,
    /// Indices of the lines inside, without any anchor marks.
    pub lines: Vec<usize>,
}

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

impl Book {
    /// Reads the book of this repository.
    pub fn load() -> Book {
        Book::load_from(&root()).unwrap_or_else(|error| panic!("cannot read the book: {error}"))
    }

    pub fn load_from(root: &Path) -> io::Result<Book> {
        let mut languages = Vec::new();
        for folder in sorted(&root.join("src"))? {
            if !folder.join("SUMMARY.md").is_file() {
                continue;
            }
            let name = file_name(&folder);
            let under = format!("src/{name}");
            let mut chapters = Vec::new();
            let mut summary = None;
            for file in files(&folder, "md")? {
                let chapter = Chapter::read(&under, &file)?;
                match chapter.name.as_str() {
                    "SUMMARY" => summary = Some(chapter),
                    _ => chapters.push(chapter),
                }
            }
            let readme = match name.as_str() {
                "en" => "README.md".to_string(),
                name => format!("README.{name}.md"),
            };
            let file = root.join(&readme);
            let readme = file.is_file().then(|| read(&file)).transpose()?;
            let readme = readme.map(|text| Chapter {
                path: file_name(&file),
                name: "README".to_string(),
                text,
            });
            let summary = summary.ok_or(io::ErrorKind::NotFound)?;
            let comment = summary.text.split_once("<!-- not yet rendered:");
            let names = comment.and_then(|(_, rest)| rest.split_once("-->"));
            let names = names.map_or("", |(names, _)| names).split(',');
            let not_rendered = names.map(|name| name.trim().to_string());
            languages.push(Language {
                not_rendered: not_rendered.filter(|name| !name.is_empty()).collect(),
                name,
                readme,
                summary,
                chapters,
            });
        }
        Ok(Book {
            root: root.to_path_buf(),
            languages,
            stages: programs(root, "code/src/bin")?,
            examples: programs(root, "code/examples")?,
            modules: modules(root)?,
        })
    }

    /// The chapters of every language.
    pub fn chapters(&self) -> impl Iterator<Item = &Chapter> {
        self.languages
            .iter()
            .flat_map(|language| &language.chapters)
    }

    /// Every program of `code`, and every module.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        let programs = self.stages.iter().chain(&self.examples);
        programs.chain(&self.modules)
    }

    /// The program or module at this path.
    pub fn program(&self, path: &str) -> Option<&Program> {
        self.programs().find(|program| program.path == path)
    }
}

impl Chapter {
    fn read(under: &str, file: &Path) -> io::Result<Chapter> {
        let name = file_name(file);
        Ok(Chapter {
            path: format!("{under}/{name}"),
            name: name.trim_end_matches(".md").to_string(),
            text: read(file)?,
        })
    }

    /// A problem at one of this chapter's lines.
    pub fn problem(&self, line: usize, what: impl Into<String>) -> Problem {
        Problem {
            path: self.path.clone(),
            line,
            what: what.into(),
        }
    }

    /// The line, counted from 1, of a byte of the text.
    pub fn line_of(&self, offset: usize) -> usize {
        line_of(&self.text, offset)
    }

    /// The Markdown events of the chapter with the bytes that each comes from.
    pub fn events(&self) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
        let options = Options::ENABLE_TABLES
            | Options::ENABLE_FOOTNOTES
            | Options::ENABLE_STRIKETHROUGH
            | Options::ENABLE_TASKLISTS
            | Options::ENABLE_HEADING_ATTRIBUTES
            | Options::ENABLE_DEFINITION_LIST;
        Parser::new_ext(&self.text, options).into_offset_iter()
    }

    pub fn fences(&self) -> Vec<Fence> {
        let mut fences: Vec<Fence> = Vec::new();
        let mut inside = false;
        for (event, range) in self.events() {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    inside = true;
                    let (info, indented) = match kind {
                        CodeBlockKind::Fenced(info) => (info.to_string(), false),
                        CodeBlockKind::Indented => (String::new(), true),
                    };
                    fences.push(Fence {
                        line: self.line_of(range.start),
                        info,
                        text: String::new(),
                        range,
                        indented,
                    });
                }
                Event::End(TagEnd::CodeBlock) => inside = false,
                Event::Text(text) if inside => {
                    if let Some(fence) = fences.last_mut() {
                        fence.text += &text;
                    }
                }
                _ => {}
            }
        }
        fences
    }

    pub fn headings(&self) -> Vec<Heading> {
        let mut headings: Vec<Heading> = Vec::new();
        let mut inside = false;
        for (event, range) in self.events() {
            match event {
                Event::Start(Tag::Heading { level, .. }) => {
                    inside = true;
                    headings.push(Heading {
                        line: self.line_of(range.start),
                        level: level as usize,
                        text: String::new(),
                        range,
                    });
                }
                Event::End(TagEnd::Heading(_)) => inside = false,
                Event::Text(text) | Event::Code(text) if inside => {
                    if let Some(heading) = headings.last_mut() {
                        heading.text += &text;
                    }
                }
                _ => {}
            }
        }
        headings
    }

    /// The includes of the chapter. A backslash before one shows it instead.
    pub fn includes(&self) -> Vec<Include> {
        self.text
            .lines()
            .zip(1..)
            .flat_map(|(line, number)| self.includes_of(line, number))
            .collect()
    }

    fn includes_of(&self, line: &str, number: usize) -> Vec<Include> {
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut includes = Vec::new();
        for (start, _) in line.match_indices("{{#") {
            if line[..start].ends_with('\\') {
                continue;
            }
            let Some((inside, _)) = line[start + 3..].split_once("}}") else {
                continue;
            };
            let Some((kind, target)) = inside.trim().split_once(char::is_whitespace) else {
                continue;
            };
            if !["include", "rustdoc_include"].contains(&kind) {
                continue;
            }
            let (path, anchor) = match target.trim().split_once(':') {
                Some((path, anchor)) => (path, Some(anchor.to_string())),
                None => (target.trim(), None),
            };
            includes.push(Include {
                line: number,
                kind: kind.to_string(),
                path: resolve(folder, path),
                anchor,
            });
        }
        includes
    }

    /// The text outside code blocks, including code spans.
    pub fn prose(&self) -> String {
        let mut prose = String::new();
        let mut inside = false;
        for (event, _) in self.events() {
            match event {
                Event::Start(Tag::CodeBlock(_)) => inside = true,
                Event::End(TagEnd::CodeBlock) => inside = false,
                Event::Text(text) | Event::Code(text) if !inside => prose += &text,
                Event::SoftBreak | Event::HardBreak | Event::End(_) => prose.push('\n'),
                _ => {}
            }
        }
        prose
    }
}

impl Program {
    pub fn problem(&self, line: usize, what: impl Into<String>) -> Problem {
        Problem {
            path: self.path.clone(),
            line,
            what: what.into(),
        }
    }

    /// The anchors of the program; what is wrong with its marks is reported beside them.
    pub fn anchors(&self) -> (Vec<Anchor>, Vec<Problem>) {
        let mut anchors: Vec<Anchor> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        let mut problems = Vec::new();
        for (index, line) in self.text.lines().enumerate() {
            match mark(line) {
                Some(Mark::Start(name)) => {
                    if anchors.iter().any(|anchor| anchor.name == name) {
                        let what = format!(
                            "the anchor `{name}` starts a second time; mdBook shows only the \
                             first; give this one a name of its own"
                        );
                        problems.push(self.problem(index + 1, what));
                    }
                    open.push(anchors.len());
                    anchors.push(Anchor {
                        name: name.to_string(),
                        line: index + 1,
                        lines: Vec::new(),
                    });
                }
                Some(Mark::End(name)) => {
                    let ended = open.iter().position(|&open| anchors[open].name == name);
                    match ended {
                        Some(position) => drop(open.remove(position)),
                        None => problems.push(self.problem(
                            index + 1,
                            format!(
                                "`ANCHOR_END: {name}` ends an anchor that has not started; add \
                                 `// ANCHOR: {name}` above or remove it"
                            ),
                        )),
                    }
                }
                None => {
                    for &open in &open {
                        anchors[open].lines.push(index);
                    }
                }
            }
        }
        for open in open {
            let anchor = &anchors[open];
            let what = format!(
                "the anchor `{0}` never ends; add `// ANCHOR_END: {0}`",
                anchor.name
            );
            problems.push(self.problem(anchor.line, what));
        }
        (anchors, problems)
    }

    /// The program without anchor marks and numbered marks, each line with its index.
    pub fn plain(&self) -> Vec<(usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .filter(|(_, line)| mark(line).is_none())
            .filter_map(|(index, line)| Some((index, without_number(line)?)))
            .collect()
    }
}

/// An anchor mark, as mdBook reads it.
pub enum Mark<'a> {
    Start(&'a str),
    End(&'a str),
}

pub fn mark(line: &str) -> Option<Mark<'_>> {
    let name = |after: &'_ str| -> usize {
        after
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
            .unwrap_or(after.len())
    };
    if let Some((_, after)) = line.split_once("ANCHOR_END:") {
        let after = after.trim_start();
        return Some(Mark::End(&after[..name(after)]));
    }
    let (_, after) = line.split_once("ANCHOR:")?;
    let after = after.trim_start();
    Some(Mark::Start(&after[..name(after)]))
}

/// The number of a numbered mark: ` // 1` at the end of a line.
pub fn number(line: &str) -> Option<usize> {
    let (_, after) = line.rsplit_once("// ")?;
    let digits = !after.is_empty() && after.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| after.parse().ok()).flatten()
}

/// The line without its numbered mark; nothing when it is nothing but a numbered mark.
fn without_number(line: &str) -> Option<&str> {
    if number(line).is_none() {
        return Some(line);
    }
    let (before, _) = line.rsplit_once("// ")?;
    let before = before.trim_end();
    (!before.is_empty()).then_some(before)
}

pub fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// The words that could be identifiers, in order.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
}

/// Fails with every problem, each on a line that an editor can jump to.
pub fn assert_none(problems: &[Problem]) {
    let mut report = String::new();
    for problem in problems {
        report += &format!("{problem}\n");
    }
    if !report.is_empty() {
        fail(&report);
    }
}

/// Fails the running test with nothing but this message: where this file stands helps no author.
pub fn fail(report: &str) -> ! {
    eprint!("{report}");
    panic::resume_unwind(Box::new(report.to_string()));
}

/// The files of a folder with this extension, sorted; none when there is no such folder.
pub fn files(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    Ok(sorted(folder)?
        .into_iter()
        .filter(|file| file.extension().is_some_and(|found| found == extension))
        .collect())
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn programs(root: &Path, folder: &str) -> io::Result<Vec<Program>> {
    files(&root.join(folder), "rs")?
        .iter()
        .map(|file| {
            let name = file_name(file);
            Ok(Program {
                path: format!("{folder}/{name}"),
                name: name.trim_end_matches(".rs").to_string(),
                text: read(file)?,
            })
        })
        .collect()
}

fn modules(root: &Path) -> io::Result<Vec<Program>> {
    let mut modules = programs(root, "code/src")?;
    modules.extend(programs(root, "code/tests")?);
    for folder in sorted(&root.join("code/tests"))? {
        if folder.is_dir() {
            let under = format!("code/tests/{}", file_name(&folder));
            modules.extend(programs(root, &under)?);
        }
    }
    Ok(modules)
}

/// Reads a file as it is in the repository, whatever line ends Git has checked out.
pub fn read(file: &Path) -> io::Result<String> {
    let text = fs::read_to_string(file)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?;
    Ok(text.replace("\r\n", "\n"))
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A path relative to a folder, from the root.
pub fn resolve(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
