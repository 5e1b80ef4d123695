//! skeptic: every Rust snippet of every chapter compiles, as a test of its own.
//!
//! `build.rs` writes the tests. Each is named after its chapter, its heading and its line.

use std::{
    collections::HashMap,
    panic,
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError},
    thread,
};

use examiner::stages;

include!(concat!(env!("OUT_DIR"), "/skeptic-tests.rs"));

/// Compiles one snippet, unless its program has been compiled already.
///
/// The snippets of a chapter show different lines of one program: with the lines that are hidden
/// from the reader, they are the same.
#[allow(dead_code, reason = "a book without snippets has no such tests")]
fn compile_test(_root: &str, _out: &str, target: &str, program: &str) {
    /// The test that found a program not to compile, for each program.
    type Verdicts = HashMap<String, Arc<OnceLock<Option<String>>>>;
    static VERDICTS: LazyLock<Mutex<Verdicts>> = LazyLock::new(Mutex::default);
    let verdict = Arc::clone(
        VERDICTS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(program.to_string())
            .or_default(),
    );
    let test = thread::current().name().unwrap_or_default().to_string();
    let failed = verdict.get_or_init(|| {
        println!("skeptic compiles as edition 2021, so a stage has to compile as that, too.");
        let compiled = panic::catch_unwind(|| compile(target, program));
        compiled.is_err().then(|| test.clone())
    });
    if let Some(first) = failed {
        println!("The name of this test tells the chapter and the line of the snippet.");
        if *first != test {
            println!("{first} has the same program, and the errors.");
        }
        panic::resume_unwind(Box::new("the snippet does not compile"));
    }
}

/// Compiles a program with the libraries of the stages.
///
/// Left alone, skeptic would look for libraries in the folder that this test was built in, and
/// might find two builds of one there.
fn compile(target: &str, program: &str) {
    let stages = stages::build().unwrap_or_else(|error| panic!("{error}"));
    // skeptic finds the libraries from a build script's output folder, whether it exists or not.
    let out = stages
        .deps()
        .with_file_name("build")
        .join("snippets")
        .join("out");
    let code = stages::root().join("code");
    skeptic::rt::compile_test(
        code.to_str().expect("the checkout's path is Unicode"),
        out.to_str().expect("the checkout's path is Unicode"),
        target,
        program,
    );
}
