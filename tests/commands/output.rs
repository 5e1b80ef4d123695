//! What becomes of a command when its output can't be written (fault 30): a pipe that its reader has closed
//! ends it quietly, a full disk is one line on what is left of stderr, and neither is ever a panic.

use std::{
    fs::File,
    io::{self, PipeWriter},
    process::Command,
};

use examiner::process::FreeAddr;

use crate::{
    program::{Ended, Folder, Running, at_once, companion, piped, tool},
    visit::Served,
};

/// The commands. They are run in a folder with a small book.
const COMMANDS: [&str; 8] = [
    "companion check",
    "companion check 04-accept",
    "companion check --format json",
    "companion check no-such-server",
    "companion build --root .",
    "companion new my-chat",
    "companion --help",
    "bench --help",
];

/// The exit status of a Rust program that panicked.
const PANICKED: i32 = 101;

/// Runs a command to its end, redirected by this.
fn end_of(command: &str, redirect: impl FnOnce(&mut Command) -> &mut Command) -> Ended {
    let book = Folder::of_book("small");
    let (name, arguments) = command.split_once(' ').expect("it is `PROGRAM ARGUMENTS`");
    let mut process = piped(tool(name));
    process.args(arguments.split(' ')).current_dir(book.path());
    // What builds the stages writes to the same stderr.
    process.env("CARGO_TERM_QUIET", "true");
    let ended = Running::start(redirect(&mut process)).end();
    let said = format!("{command}: {}{}", ended.stdout, ended.stderr);
    assert!(!said.contains("panicked"), "{said}");
    assert_ne!(ended.status.code(), Some(PANICKED), "{said}");
    ended
}

/// A pipe that its reader has closed.
fn closed() -> PipeWriter {
    io::pipe().expect("there are descriptors").1
}

/// A disk that is full.
fn full() -> File {
    File::create("/dev/full").expect("Linux has it")
}

#[test]
fn commands_end_in_order_when_their_output_cannot_be_written() {
    at_once(COMMANDS, |command| {
        let usual = end_of(command, |process| process);
        let unread = end_of(command, |process| process.stdout(closed()));
        assert_eq!(unread.stderr, usual.stderr, "{command}: {}", unread.status);
        if cfg!(target_os = "linux") {
            let Ended { status, stderr, .. } = end_of(command, |process| process.stdout(full()));
            assert!(!status.success(), "{command}");
            assert_eq!(stderr.lines().count(), 1, "{command}: {stderr}");
            let mute = end_of(command, |process| process.stderr(full()));
            assert_eq!(mute.status, usual.status, "{command}");
            assert_eq!(mute.stdout.is_empty(), usual.stdout.is_empty(), "{command}");
            let both = end_of(command, |process| process.stdout(full()).stderr(full()));
            assert!(!both.status.success(), "{command}");
        }
    });
}

/// Whatever can be shown of a book that has faults from the start is served, too.
#[test]
fn serving_goes_on_without_stdout() {
    let book = Folder::of_book("small");
    book.write("src/first.md", "{{#include first.md:whole}}\n");
    let addr = FreeAddr::find().expect("a port is free");
    let port = addr.addr().port();
    let mut command = companion(&format!("--port {port} --no-open --root ."));
    let running = Running::start(command.current_dir(book.path()).stdout(closed()));
    // It listens before it builds. What it says after that is where the book is.
    running.stderr.until("the file has no anchor `whole`");
    Served { running, port }.page("/first.html");
}

#[test]
#[cfg(target_os = "linux")]
fn serving_goes_on_without_stderr() {
    let book = Folder::of_book("small");
    let mut command = companion("--port 0 --no-open --root .");
    let running = Running::start(command.current_dir(book.path()).stderr(full()));
    let served = Served::of(running);
    // After each of them it says that it has rebuilt the book.
    for word in ["apple", "banana"] {
        let page = served.open("/first.html");
        book.write("src/first.md", &format!("One {word}.\n"));
        page.must_reload();
        assert!(served.page("/first.html").contains(word), "{word}");
    }
}
