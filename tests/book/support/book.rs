//! The book: its list of programs, its languages, its chapters and its code, read once.

use std::{
    io,
    path::{Path, PathBuf},
};

use examiner::stages::{self, List};

use super::{
    chapter::Chapter,
    files::{below, read, stem},
    program::Program,
};

/// Everything that the tests look at, read once. Paths are relative to `root` and use `/`.
pub(crate) struct Book {
    pub root: PathBuf,
    /// The list of programs, `code/stages.toml`.
    pub list: List,
    pub languages: Vec<Language>,
    /// The stages, in the order of the list.
    pub stages: Vec<Program>,
    /// The solutions and alternatives that are written in Rust, in the order of the list.
    pub examples: Vec<Program>,
    /// The library of chapter 20 and its tests. They aren't programs, but chapters show them in the same way.
    pub modules: Vec<Program>,
}

/// One folder of `src`: the book in one language.
pub(crate) struct Language {
    /// `en`, `zh-CN`.
    pub name: String,
    pub summary: Chapter,
    pub chapters: Vec<Chapter>,
    /// The README in this language, named `README`.
    pub readme: Option<Chapter>,
    /// The chapters that don't exist in this language yet. A comment of its summary names them:
    /// `<!-- not yet rendered: 13-names, introduction -->`.
    pub not_rendered: Vec<String>,
}

impl Book {
    /// Reads the book of this repository.
    pub(crate) fn load() -> Book {
        let book = Book::load_from(stages::root());
        book.unwrap_or_else(|error| panic!("cannot read the book: {error}"))
    }

    /// Reads the book in this folder.
    pub(crate) fn load_from(root: &Path) -> io::Result<Book> {
        let list = List::read(root).map_err(|error| io::Error::other(error.to_string()))?;
        let listed = |program: &stages::Program| program.path();
        let files = below(root, "src")?;
        let languages = files.iter().filter_map(|file| {
            let name = file.strip_prefix("src/")?.strip_suffix("/SUMMARY.md")?;
            Some(Language::read(root, name))
        });
        let mut modules = below(root, "code/src")?;
        modules.retain(|path| !path.starts_with("code/src/bin/"));
        modules.extend(below(root, "code/tests")?);
        Ok(Book {
            languages: languages.collect::<io::Result<_>>()?,
            stages: programs(root, list.stages().map(listed))?,
            examples: programs(root, list.examples().map(listed))?,
            modules: programs(root, modules.into_iter())?,
            root: root.to_path_buf(),
            list,
        })
    }

    /// The chapters of every language.
    pub(crate) fn chapters(&self) -> impl Iterator<Item = &Chapter> {
        let languages = self.languages.iter();
        languages.flat_map(|language| &language.chapters)
    }

    /// Every program and every module.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Program> {
        let programs = self.stages.iter().chain(&self.examples);
        programs.chain(&self.modules)
    }

    /// The program or module at this path.
    pub(crate) fn program(&self, path: &str) -> Option<&Program> {
        self.programs().find(|program| program.path == path)
    }

    /// The stage that this program starts from.
    pub(crate) fn start_of(&self, program: &Program) -> Option<&Program> {
        let start = self.list.get(&program.name).ok()?.follows.as_ref()?;
        self.stages.iter().find(|stage| stage.name == *start)
    }

    /// Every stage with its chapter, in one language.
    pub(crate) fn stages_in<'a>(
        &'a self,
        language: &'a Language,
    ) -> impl Iterator<Item = (&'a Chapter, &'a Program)> {
        let stages = self.stages.iter();
        stages.filter_map(|stage| Some((language.chapter_of(&stage.name)?, stage)))
    }
}

impl Language {
    fn read(root: &Path, name: &str) -> io::Result<Language> {
        let summary = Chapter::read(root, &format!("src/{name}/SUMMARY.md"))?;
        let mut files = below(root, &format!("src/{name}"))?;
        files.retain(|file| file.ends_with(".md") && *file != summary.path);
        let chapters = files.iter().map(|file| Chapter::read(root, file));
        let readme = match name {
            "en" => "README.md".to_string(),
            name => format!("README.{name}.md"),
        };
        Ok(Language {
            name: name.to_string(),
            not_rendered: not_rendered(&summary.text),
            summary,
            chapters: chapters.collect::<io::Result<_>>()?,
            readme: Chapter::read(root, &readme).ok(),
        })
    }

    /// Everything there is to read in this language.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &Chapter> {
        let first = [&self.summary].into_iter().chain(&self.readme);
        first.chain(&self.chapters)
    }

    /// The chapter of a program: the one of its name, or else the one of its number.
    pub(crate) fn chapter_of(&self, program: &str) -> Option<&Chapter> {
        let number = Some(number_of(program)?);
        let mut chapters = self.chapters.iter();
        let named = chapters.clone().find(|chapter| chapter.name == program);
        named.or_else(|| chapters.find(|chapter| number_of(&chapter.name) == number))
    }

    /// Whether the chapter of this program is yet to be rendered.
    pub(crate) fn awaits(&self, program: &str) -> bool {
        let number = number_of(program);
        let mut missing = self.not_rendered.iter();
        number.is_some() && missing.any(|chapter| number_of(chapter) == number)
    }
}

impl Chapter {
    fn read(root: &Path, path: &str) -> io::Result<Chapter> {
        Ok(Chapter {
            path: path.to_string(),
            name: stem(path).to_string(),
            text: read(&root.join(path))?,
        })
    }
}

/// The `07` of `07-broker`.
pub(crate) fn number_of(name: &str) -> Option<&str> {
    let (number, _) = name.split_once('-')?;
    (number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
}

/// The chapters that a summary says aren't rendered yet.
fn not_rendered(summary: &str) -> Vec<String> {
    let (_, names) = summary
        .split_once("<!-- not yet rendered:")
        .unwrap_or_default();
    let (names, _) = names.split_once("-->").unwrap_or_default();
    let names = names.split([',', ' ']).filter(|name| !name.is_empty());
    names.map(str::to_string).collect()
}

/// Reads what is written in Rust. A file that is listed and isn't there is reported by a check of its own.
fn programs(root: &Path, paths: impl Iterator<Item = String>) -> io::Result<Vec<Program>> {
    let paths = paths.filter(|path| path.ends_with(".rs") && root.join(path).is_file());
    let programs = paths.map(|path| {
        Ok(Program {
            name: stem(&path).to_string(),
            text: read(&root.join(&path))?,
            path,
        })
    });
    programs.collect()
}
