//! `mdbook test` for every chapter, and the snippets that are meant not to compile.
//!
//! The first is what a reader's own mdBook does, with the same library. The second makes up for
//! what it does not do: stable rustdoc is content with any error, whatever code the fence names.

use std::{
    collections::HashSet,
    env, fs,
    io::{self, Write},
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use examiner::stages;
use mdbook_driver::{MDBook, book::BookItem, config::Config};
use crate::support::{self, Book, Chapter, Problem};

#[test]
fn mdbook_test_passes_on_every_chapter() {
    let book = Book::load();
    let stages = stages::build().unwrap_or_else(|error| support::fail(&error.to_string()));
    let deps = stages
        .deps()
        .to_str()
        .expect("the checkout's path is Unicode");
    let (chapters, report) = once_each(&book);
    let started = Instant::now();
    let problems = in_parallel(&chapters, |(language, chapter, fences)| {
        let failure = test_chapter(&book.root, language, chapter, fences, deps).err()?;
        let lines: Vec<String> = fences
            .iter()
            .map(|line| format!("{}:{line}", chapter.path))
            .collect();
        Some(chapter.problem(
            0,
            format!(
                "{failure}. rustdoc counts the lines of the chapter with its includes expanded; \
                 the snippets it was given are, in the same order, at {}",
                lines.join(", ")
            ),
        ))
    });
    // Past the capture of test output: whoever runs the tests ought to know.
    let _ = writeln!(io::stderr(), "{report}; {:.1?}", started.elapsed());
    support::assert_none(&problems);
}

/// A chapter, its language, and the lines of the snippets that it is tested with.
type Task<'a> = (&'a str, &'a Chapter, Vec<usize>);

/// Distributes the programs of the book over the chapters that show them, each to one.
///
/// The snippets of a chapter show different lines of one program: with the lines that are hidden
/// from the reader, they are the same. To compile each of them again would take most of the time.
fn once_each(book: &Book) -> (Vec<Task<'_>>, String) {
    let mut tasks = Vec::new();
    let mut programs = HashSet::new();
    let mut snippets = 0;
    for language in &book.languages {
        for chapter in &language.chapters {
            let includes = chapter.includes();
            let mut fences = Vec::new();
            for fence in chapter.fences() {
                if !fence.info.starts_with("rust") {
                    continue;
                }
                snippets += 1;
                let rest = fence.text.split_once('\n').map_or("", |(_, rest)| rest);
                let include = includes
                    .iter()
                    .find(|include| include.line == fence.line + 1);
                let program = match include {
                    Some(include) => format!("{} {rest}", include.path),
                    None => fence.text,
                };
                if programs.insert((fence.info, program)) {
                    fences.push(fence.line);
                }
            }
            if !fences.is_empty() {
                tasks.push((language.name.as_str(), chapter, fences));
            }
        }
    }
    let report = format!(
        "mdbook test: {snippets} snippets show {} programs, each compiled once",
        programs.len()
    );
    (tasks, report)
}

#[test]
fn snippets_that_must_fail_fail_as_they_say() {
    let book = Book::load();
    let snippets: Vec<(&Chapter, support::Fence)> = book
        .chapters()
        .flat_map(|chapter| {
            chapter
                .fences()
                .into_iter()
                .map(move |fence| (chapter, fence))
        })
        .filter(|(_, fence)| fence.info.starts_with("rust,compile_fail"))
        .collect();
    if snippets.is_empty() {
        return;
    }
    let stages = stages::build().unwrap_or_else(|error| support::fail(&error.to_string()));
    support::assert_none(&in_parallel(&snippets, |(chapter, fence)| {
        let wanted = fence.info.rsplit(',').next().unwrap_or_default();
        let what = wrong_error(&fence.text, wanted, stages.deps())?;
        Some(chapter.problem(fence.line, what))
    }));
}

/// Runs rustdoc on one chapter, as mdBook does, with those of its snippets that open at the given
/// lines. rustdoc's own words go to stderr.
fn test_chapter(
    root: &Path,
    language: &str,
    chapter: &Chapter,
    fences: &[usize],
    deps: &str,
) -> Result<(), String> {
    let file = format!("{}.md", chapter.name);
    let test = || {
        let mut config = Config::from_disk(root.join("book.toml"))?;
        config.book.src = Path::new("src").join(language);
        let mut book = MDBook::load_with_config(root, config)?;
        book.book.for_each_mut(|item| {
            if let BookItem::Chapter(chapter) = item
                && chapter.path.as_deref() == Some(Path::new(&file))
            {
                chapter.content = with_snippets(&chapter.content, fences);
            }
        });
        book.test_chapter(vec![deps], Some(&file))
    };
    test().map_err(|error| format!("`mdbook test` says: {error:#}"))
}

/// The chapter with every other Rust snippet made plain text.
fn with_snippets(chapter: &str, fences: &[usize]) -> String {
    chapter
        .lines()
        .zip(1..)
        .map(|(line, number)| match line.strip_prefix("```rust") {
            Some(_) if !fences.contains(&number) => "```text\n".to_string(),
            _ => format!("{line}\n"),
        })
        .collect()
}

/// What is wrong with a program that ought to give one error; nothing when it does.
fn wrong_error(program: &str, wanted: &str, deps: &Path) -> Option<String> {
    let (codes, output) = errors(program, deps);
    match codes.as_slice() {
        [] if output.is_empty() => Some(format!(
            "this compiles, and ought to fail with {wanted}; make it a `rust,no_run` snippet, or \
             make it fail"
        )),
        codes if !codes.is_empty() && codes.iter().all(|code| code == wanted) => None,
        codes => Some(format!(
            "this ought to fail with {wanted} and nothing else, and fails with {}:\n{output}",
            match codes.is_empty() {
                true => "an error without a code".to_string(),
                false => codes.join(", "),
            }
        )),
    }
}

/// Compiles a snippet as rustdoc would. Returns the codes of its errors, each once, and the messages
/// of the compiler if it failed.
fn errors(snippet: &str, deps: &Path) -> (Vec<String>, String) {
    let mut program: String = snippet
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .filter(|line| *line != "#")
        .flat_map(|line| [line, "\n"])
        .collect();
    if !program.contains("fn main()") {
        program = format!("fn main() {{\n{program}}}\n");
    }
    let folder = tempfile::tempdir().expect("the system has a folder for temporary files");
    let file = folder.path().join("snippet.rs");
    fs::write(&file, program).expect("the folder can be written to");
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .current_dir(folder.path())
        .arg(&file)
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "bin",
            "--emit",
            "metadata",
        ])
        .args(["--error-format", "json", "-L"])
        .arg(deps)
        .output()
        .unwrap_or_else(|error| support::fail(&format!("cannot run rustc: {error}")));
    if output.status.success() {
        return (Vec::new(), String::new());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let mut codes = Vec::new();
    let mut rendered = String::new();
    for line in stderr.lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else {
            continue;
        };
        if message["level"] == "error" {
            rendered += message["rendered"].as_str().unwrap_or_default();
            codes.extend(message["code"]["code"].as_str().map(String::from));
        }
    }
    codes.sort();
    codes.dedup();
    (codes, rendered)
}

/// Calls a function for each item, on every core.
fn in_parallel<T: Sync>(items: &[T], check: impl Fn(&T) -> Option<Problem> + Sync) -> Vec<Problem> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut problems = Vec::new();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            problems.extend(check(item));
        }
        problems
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a check does not panic"))
            .collect()
    })
}

/// The checks, held against snippets with a fault.
mod seen_to_fail {
    use super::*;

    const MOVED: &str = "let a = String::new();\nlet b = a;\nprintln!(\"{a}{b}\");\n";

    fn wrong(program: &str, wanted: &str) -> Option<String> {
        wrong_error(program, wanted, Path::new("."))
    }

    #[test]
    fn the_named_error_passes() {
        assert_eq!(wrong(MOVED, "E0382"), None);
    }

    #[test]
    fn another_error() {
        let what = wrong(MOVED, "E0499").unwrap();
        assert!(
            what.contains("and fails with E0382:\nerror[E0382]"),
            "{what}"
        );
    }

    #[test]
    fn more_than_the_named_error() {
        let what = wrong(&format!("{MOVED}let n: u8 = \"\";\n"), "E0382").unwrap();
        assert!(what.contains("and fails with E0308"), "{what}");
    }

    #[test]
    fn error_without_a_code() {
        let what = wrong("let = 1;\n", "E0382").unwrap();
        assert!(what.contains("an error without a code"), "{what}");
    }

    #[test]
    fn no_error() {
        let what = wrong("# fn main() {\n# }\n", "E0382").unwrap();
        assert!(what.starts_with("this compiles"), "{what}");
    }

    #[test]
    fn snippet_that_does_not_compile() {
        let fixture = crate::fixture::Fixture::new()
            .write("book.toml", "[rust]\nedition = \"2024\"\n")
            .edit(
                "code/src/bin/02-loud.rs",
                "who.to_uppercase()",
                "who.to_uppercasee()",
            );
        let book = fixture.load();
        let [quiet, loud] = ["01-quiet", "02-loud"].map(|name| {
            book.chapters()
                .find(|chapter| chapter.name == name)
                .unwrap()
        });
        let deps = stages::build().unwrap().deps().to_str().unwrap();
        assert_eq!(test_chapter(&book.root, "en", quiet, &[3, 7], deps), Ok(()));
        let error = test_chapter(&book.root, "en", loud, &[5], deps).unwrap_err();
        assert_eq!(error, "`mdbook test` says: One or more tests failed");
    }

    #[test]
    fn program_shown_twice_is_compiled_once() {
        let fixture = crate::fixture::Fixture::new();
        let book = fixture.load();
        let (tasks, report) = once_each(&book);
        let lines: Vec<_> = tasks.iter().map(|(_, _, lines)| lines.as_slice()).collect();
        assert_eq!(lines, [&[3][..], &[5]]);
        assert_eq!(
            report,
            "mdbook test: 3 snippets show 2 programs, each compiled once"
        );
    }

    #[test]
    fn snippet_that_is_left_out() {
        let chapter = "```rust,no_run\na\n```\n```rust,no_run\nb\n```\n";
        let kept = "```text\na\n```\n```rust,no_run\nb\n```\n";
        assert_eq!(with_snippets(chapter, &[4]), kept);
    }
}
