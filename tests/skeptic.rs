//! skeptic: every Rust snippet of every chapter compiles, as a test of its own.
//!
//! `build.rs` writes the tests. Each is named after its chapter, its heading and its line.

use std::{
    collections::HashSet,
    sync::{LazyLock, Mutex, PoisonError},
};

use companion::stages;

include!(concat!(env!("OUT_DIR"), "/skeptic-tests.rs"));

/// Compiles one snippet with the libraries of the stages.
///
/// Left alone, skeptic would look for libraries in the folder that this test was built in, and
/// might find two builds of one there.
#[allow(dead_code, reason = "a book without snippets has no such tests")]
fn compile_test(_root: &str, _out: &str, target: &str, program: &str) {
    // The snippets of a chapter show different lines of one program, and once the lines that are
    // hidden from the reader are there, they are the same.
    static SOUND: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
    let sound = || SOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if sound().contains(program) {
        println!("the same program has compiled already");
        return;
    }
    println!(
        "The name of this test tells the chapter and the line. skeptic compiles as edition 2021."
    );
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
    sound().insert(program.to_string());
}
