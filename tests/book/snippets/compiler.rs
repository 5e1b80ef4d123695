//! Compiles each program once, and not at all if it has compiled before.
//!
//! The snippets of a chapter show different lines of one program: with the lines that are hidden from the
//! reader, they are the same. Whether a program compiles depends on its text, the compiler and the libraries.
//! `target/snippets` holds an empty file for each program that has compiled, named by a hash of all that; a
//! failure is never remembered. `FRESH=1 cargo test --test book` compiles everything again.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    thread,
    time::Instant,
};

use examiner::stages;
use sha2::{Digest, Sha256};

use super::expand::{Snippet, expand};
use crate::{
    fixture::{Fixture, assert_found},
    support::{Problem, files},
};

/// The versions of the tools, and the edition.
const SETTINGS: &str = concat!(
    include_str!("../../../Cargo.lock"),
    include_str!("../../../book.toml")
);

/// The compiler, and what it has compiled.
pub(super) struct Compiler {
    /// Where that is remembered.
    folder: PathBuf,
    /// The libraries that a program may use.
    pub deps: &'static Path,
    /// The machine that programs are compiled for, as a target triple.
    pub target: String,
    /// The hash of what else decides whether a program compiles: the compiler, the libraries, the settings.
    context: Sha256,
    /// Whether nothing counts as known.
    is_fresh: bool,
}

impl Compiler {
    /// A compiler that remembers below this root what it has compiled.
    pub(super) fn new(root: &Path) -> Compiler {
        let stages = stages::build().unwrap_or_else(|error| panic!("{error}"));
        let output = rustc().arg("-vV").output().expect("rustc can be run");
        let version = String::from_utf8_lossy(&output.stdout);
        let mut lines = version.lines();
        let host = lines.find_map(|line| line.strip_prefix("host: "));
        let mut context = format!("{version}\n{SETTINGS}");
        // Cargo's name of a library tells its version, features and dependencies, but not whether the source
        // of a package of ours has changed. That shows in the time of the file.
        for file in files(stages.deps(), "rlib").expect("target can be read") {
            let time = file.metadata().and_then(|file| file.modified());
            context += &format!("{} {time:?}\n", file.display());
        }
        let folder = root.join("target/snippets");
        fs::create_dir_all(&folder).expect("target can be written to");
        Compiler {
            folder,
            deps: stages.deps(),
            target: host.unwrap_or_default().to_string(),
            context: Sha256::new_with_prefix(context),
            is_fresh: env::var_os("FRESH").is_some(),
        }
    }

    /// Compiles with this tool the programs that it hasn't compiled before, and returns the snippets of those
    /// that fail. `compile` is given one snippet of each program, and says what is wrong with it, if anything.
    pub(super) fn compile<'a>(
        &self,
        tool: &str,
        snippets: impl Iterator<Item = &'a Snippet<'a>>,
        compile: impl Fn(&Snippet) -> Option<String> + Sync,
    ) -> Vec<Problem> {
        let started = Instant::now();
        let snippets: Vec<&Snippet> = snippets.collect();
        let mut programs: BTreeMap<(&str, &str), Vec<&Snippet>> = BTreeMap::new();
        for snippet in &snippets {
            let program = (snippet.info.as_str(), snippet.program.as_str());
            programs.entry(program).or_default().push(snippet);
        }
        let all = programs.len();
        let file = |snippets: &Vec<&Snippet>| self.file(tool, snippets[0]);
        let mut programs: Vec<Vec<&Snippet>> = programs.into_values().collect();
        programs.retain(|snippets| self.is_fresh || !file(snippets).exists());
        let check = |snippets: &Vec<&Snippet>| {
            let Some(what) = compile(snippets[0]) else {
                fs::write(file(snippets), "").expect("target can be written to");
                return Vec::new();
            };
            let place = |at: &&Snippet| at.chapter.problem(at.line, &what);
            snippets.iter().map(place).collect()
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let share = programs.len().div_ceil(cores).max(1);
        let mut problems = Vec::new();
        thread::scope(|scope| {
            let work = |share: &'_ [_]| share.iter().flat_map(check).collect::<Vec<_>>();
            let shares = programs.chunks(share);
            let workers = shares.map(|share| scope.spawn(move || work(share)));
            for worker in Vec::from_iter(workers) {
                problems.extend(worker.join().expect("no check panics"));
            }
        });
        let new = programs.len();
        let (count, known, took) = (snippets.len(), all - new, started.elapsed());
        let report = format!("{count} snippets, {all} programs; {new} compiled, {known} known");
        // Past the capture of the tests' output, since whoever runs them ought to know. If it can't be said,
        // the test still counts.
        let _ = writeln!(io::stderr(), "{tool}: {report}; {took:.1?}");
        problems
    }

    /// The file that remembers that this tool has compiled the program of a snippet.
    fn file(&self, tool: &str, snippet: &Snippet) -> PathBuf {
        let program = format!("{tool}\n{}\n{}", snippet.info, snippet.program);
        let bytes = self.context.clone().chain_update(program).finalize();
        let name: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(name)
    }
}

/// The compiler that skeptic uses.
pub(super) fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

#[test]
fn success_is_remembered_until_something_changes() {
    let fixture = Fixture::new();
    let book = fixture.load();
    let mut compiler = Compiler::new(&book.root);
    // Two snippets of the first chapter with one program, and a snippet of the second.
    let (_, snippets) = expand(&book);
    let compiled = |compiler: &Compiler| {
        let lines = Mutex::new(BTreeSet::new());
        let problems = compiler.compile("a tool", snippets.iter(), |snippet| {
            lines.lock().unwrap().insert(snippet.line);
            (snippet.line == 5).then(|| "fails".to_string())
        });
        assert_found(&problems, &["src/en/02-loud.md:5: fails"]);
        Vec::from_iter(lines.into_inner().unwrap())
    };
    assert_eq!(compiled(&compiler), [3, 5], "each program once");
    assert_eq!(compiled(&compiler), [5], "only what has failed");
    compiler.is_fresh = true;
    assert_eq!(compiled(&compiler), [3, 5], "everything has to be fresh");
    compiler.is_fresh = false;
    compiler.context.update("another compiler");
    assert_eq!(compiled(&compiler), [3, 5], "another compiler");
}
