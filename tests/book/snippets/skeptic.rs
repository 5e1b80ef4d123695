//! skeptic: every Rust snippet compiles, as edition 2021.
//!
//! skeptic doesn't know mdBook's includes, so it is given the chapters as mdBook expands them. Snippets that
//! must not compile are kept from it, because it would call them failures.

use std::{env, fs, panic, process::Command};

use examiner::stages;

use super::{
    compiler::Compiler,
    expand::{Snippet, expand},
};
use crate::{
    fixture::{Fixture, assert_found},
    support::Problem,
};

/// Snippets that don't compile, or else the first one that skeptic doesn't find in these chapters.
pub(super) fn problems(
    chapters: &[String],
    snippets: &[Snippet],
    compiler: &Compiler,
) -> Vec<Problem> {
    let tests = extract(chapters, compiler);
    let found = programs(&tests);
    let snippets = snippets.iter().filter(|snippet| !snippet.must_fail());
    let mut pairs = snippets.clone().zip(0..);
    let lost = pairs.find(|(at, place)| found.get(*place) != Some(&at.program.as_str()));
    if let Some((at, _)) = lost {
        let what = "skeptic doesn't find this snippet, or not as it is";
        return vec![at.chapter.problem(at.line, what)];
    }
    compiler.compile("skeptic", snippets, |snippet| {
        let compiled = panic::catch_unwind(|| compile(&snippet.program, compiler));
        let what = "skeptic can't compile this; the compiler's messages are above. skeptic compiles as \
                    edition 2021, so a stage has to compile as that, too";
        compiled.is_err().then(|| what.to_string())
    })
}

/// Lets skeptic write its tests of these chapters, and returns them.
///
/// skeptic is made for a build script and takes its folders from the environment, which a process can't
/// safely change for itself. So this program runs itself once more.
fn extract(chapters: &[String], compiler: &Compiler) -> String {
    let folder = tempfile::tempdir().expect("the system has a folder for temporary files");
    for (number, text) in chapters.iter().enumerate() {
        let text = text.replace("```rust,compile_fail", "```text,compile_fail");
        let file = folder.path().join(format!("{number:03}.md"));
        fs::write(file, text).expect("the folder can be written to");
    }
    let output = Command::new(env::current_exe().expect("the system knows this program"))
        .args(["snippets::skeptic::write_tests", "--exact", "--ignored"])
        .env("OUT_DIR", folder.path())
        .env("CARGO_MANIFEST_DIR", folder.path())
        .env("TARGET", &compiler.target)
        .output()
        .expect("this program can be run");
    let tests = fs::read_to_string(folder.path().join("skeptic-tests.rs"));
    tests.unwrap_or_else(|error| panic!("skeptic has written no tests: {error}\n{output:?}"))
}

#[test]
#[ignore = "`extract` runs it as a process of its own"]
fn write_tests() {
    if let Some(folder) = env::var_os("OUT_DIR") {
        let folder = folder.to_str().expect("the folder's path is Unicode");
        skeptic::generate_doc_tests(&skeptic::markdown_files_of_directory(folder));
    }
}

/// The programs in skeptic's tests. Each test hands its program as a raw string to `format!`.
fn programs(tests: &str) -> Vec<&str> {
    let mut programs = Vec::new();
    let mut rest = tests;
    while let Some((_, test)) = rest.split_once("\n#[test] fn ")
        && let Some((_, body)) = test.split_once("\"####, r####\"")
        && let Some((program, after)) = body.split_once("\"####);\n")
    {
        programs.push(program);
        rest = after;
    }
    programs
}

/// Compiles a program with the libraries of the stages; panics if it doesn't compile.
///
/// Left alone, skeptic would look for libraries in the folder that this test was built in, and might find two
/// builds of one there.
fn compile(program: &str, compiler: &Compiler) {
    // skeptic finds the libraries from a build script's output folder, whether that exists or not.
    let out = compiler.deps.with_file_name("build").join("snippets/out");
    let code = stages::root().join("code");
    let paths = [code.to_str(), out.to_str()];
    let [code, out] = paths.map(|path| path.expect("the checkout's path is Unicode"));
    skeptic::rt::compile_test(code, out, &compiler.target, program);
}

#[test]
fn snippets_that_do_not_compile_or_are_lost_are_seen() {
    let fixture = Fixture::new().edit("code/src/bin/02-loud.rs", "to_uppercase", "to_upercase");
    let book = fixture.load();
    let compiler = Compiler::new(&book.root);
    let (mut chapters, snippets) = expand(&book);
    let faulty = "src/en/02-loud.md:5: skeptic can't compile this; ";
    assert_found(&problems(&chapters, &snippets, &compiler), &[faulty]);
    chapters[1] = chapters[1].replacen("```rust", "```text", 1);
    // Both snippets of this chapter show one program.
    let lost = "src/en/01-quiet.md:7: skeptic doesn't find this snippet";
    assert_found(&problems(&chapters, &snippets, &compiler), &[lost]);
}
