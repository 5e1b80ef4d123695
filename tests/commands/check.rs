//! `cargo run -- check`: examines a server against what a chapter promises.

use std::{
    fs,
    io::{self, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
};

use examiner::stages;
use serde_json::Value;

use crate::program::{Folder, Running, at_once, companion, has, piped, run, stage};

/// Examines the project in this folder, built with the libraries that earlier runs of the tests have built.
/// Its program has a name that no other project here has, because they share the target folder.
pub(crate) fn of_project(dir: &Path, line: &str) -> Running {
    let mut command = companion(line);
    command.arg("--dir").arg(dir);
    command.env("CARGO_TARGET_DIR", stages::root().join("target/new"));
    Running::start(&mut command)
}

/// Examines the server that this script starts; `$0` is the stage, `$1` the address. Whatever the script
/// starts has the same stderr as the companion, also as descriptor 3: its end is the end of all of them.
/// As on some systems, few descriptors are given to a program that doesn't ask for more.
#[cfg(unix)]
pub(crate) fn of_script(line: &str, stage_name: &str, script: &str) -> Running {
    let mut command = piped("sh");
    command.args(["-c", r#"ulimit -S -n 64; exec "$0" "$@" 3>&2"#]);
    command
        .arg(crate::program::tool("companion"))
        .args(line.split(' '));
    command.args(["--", "sh", "-c", script]);
    Running::start(command.arg(stage(stage_name)).arg("{addr}"))
}

/// The source of a stage.
pub(crate) fn source(stage: &str) -> String {
    let file = stages::root().join(format!("code/src/bin/{stage}.rs"));
    fs::read_to_string(file).expect("it is a stage")
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let addr = listener.local_addr().expect("it is bound").to_string();
    (listener, addr)
}

/// A server that runs already meets one conversation after another, among them those that wait.
#[test]
fn examines_stages_that_run_already() {
    let servers = stages::list().expect("there is a list").servers();
    at_once(servers.map(|server| &*server.name), |name| {
        let server = Running::start(piped(stage(name)).arg("127.0.0.1:0"));
        let said = server.stdout.until("listening on ");
        let addr = said.trim_end().trim_start_matches("listening on ");
        let line = format!("check {name} --addr {addr}");
        if name == "04-accept" {
            // It reports, and nothing comes over a socket.
            has(&run(&line).with(2).stderr, "nothing could be examined: ");
            return;
        }
        run(&line).with(0);
        if name == "05-read" {
            let json = run(&format!("{line} --format json")).with(0).stdout;
            let json: Value = serde_json::from_str(&json).expect("it is JSON");
            assert_eq!(json["held"], true, "as the status says");
            assert_ne!(json["counts"]["not-examined"], 0);
        }
    });
}

/// A server in another language that keeps to version 1 of the specification and writes no log (fault 29).
#[test]
#[cfg(unix)]
fn demands_of_a_stranger_only_what_has_a_rule() {
    if piped("python3").arg("--version").output().is_err() {
        return crate::program::note("not tested with a server in Python: there is none");
    }
    let mut command = companion("check 11-cancel --all -- sh -c");
    command.arg(r#"exec python3 "$0" "$1" 2>/dev/null"#);
    command.arg(stages::root().join("code/examples/11-chat.py"));
    let mut running = Running::start(command.arg("{addr}"));
    let stdout = running.end().with(0).stdout;
    let lines = stdout.lines().filter(|line| line.starts_with("-  "));
    let have_reasons: Vec<_> = lines.map(|line| line.ends_with(')')).collect();
    assert!(
        have_reasons.contains(&true) && !have_reasons.contains(&false),
        "{stdout}"
    );
}

#[test]
fn tells_a_server_that_goes_away() {
    let (listener, addr) = listener();
    // Two times it is only looked for.
    thread::spawn(move || listener.incoming().take(3).for_each(drop));
    let ended = run(&format!("check 06-write --all --addr {addr}")).with(1);
    has(&ended.stdout, "\n06-write: 1 held, ");
    // It is not waited for again and again.
    assert_eq!(ended.stdout.matches('✗').count(), 1, "{}", ended.stdout);
}

/// What a listener may do instead of chatting. Each ends the examination in one verdict, in time.
#[test]
fn gets_over_strange_servers() {
    type Strange = fn(TcpStream) -> io::Result<()>;
    let strange: [(&str, Strange); 5] = [
        ("says nothing", |mut stream| {
            io::copy(&mut stream, &mut io::sink()).map(drop)
        }),
        ("closes at once", |_| Ok(())),
        ("sends without end", |stream| {
            io::copy(&mut io::repeat(b'x'), &mut &stream).map(drop)
        }),
        ("sends lines without end", |mut stream| {
            loop {
                stream.write_all(b"from nobody: x\n")?;
            }
        }),
        ("speaks HTTP", |mut stream| {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        }),
    ];
    at_once(strange, |(what, strange)| {
        let (listener, addr) = listener();
        // Whatever ends a connection is its end.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || strange(stream));
            }
        });
        // It ends in the time that this waits for it.
        let ended = run(&format!("check 07-broker --addr {addr}"));
        let stdout = ended.with(1).stdout;
        assert_eq!(stdout.matches('✗').count(), 1, "{what}: {stdout}");
        assert!(stdout.len() < 10_000, "{what}: {stdout}");
    });
}

/// Its servers do not even listen.
#[test]
#[cfg(unix)]
fn takes_its_servers_with_it_when_it_is_told_to_end() {
    use std::os::unix::process::ExitStatusExt as _;
    for (name, number) in [("INT", 2), ("TERM", 15)] {
        let script = "echo begun >&3; sleep 1000; true";
        let mut check = of_script("check 07-broker", "07-broker", script);
        check.stderr.until("begun");
        check.signal(name);
        let ended = check.end();
        // More of them may have begun.
        assert_eq!(ended.stderr.replace("begun\n", ""), "", "{name}");
        // As a shell sees that its whole script is to end.
        assert_eq!(ended.status.signal(), Some(number), "{name}");
    }
}

#[test]
fn watches_the_files_of_a_project() {
    let folder = Folder::empty();
    folder.run("new watched-chat").with(0);
    let main = "watched-chat/src/main.rs";
    let source = source("04-accept");
    folder.write(main, "fn main() {}\n");
    let dir = folder.path().join("watched-chat");
    let check = of_project(&dir, "check 04-accept --watch");
    let waits = || check.stdout.until("Waiting for a change in ");
    check
        .stderr
        .until("error: the server ended before it listened");
    waits();
    folder.write(main, &source);
    check.stdout.until("04-accept: 1 held");
    waits();
    // What doesn't compile is reported, and watched on.
    folder.write(main, "fn main() {\n");
    check.stderr.until("error: ");
    waits();
    folder.write(main, &source.replace("accepted", "welcomed"));
    check.stdout.until("04-accept: 0 held, 1 fell short");
}

/// The READMEs show a chat and a failure as they were recorded; GitHub knows no includes.
#[test]
fn readmes_show_what_is_seen() {
    let root = stages::root();
    let chat = "code/transcripts/07-broker/two-people-chat.txt";
    let chat = fs::read_to_string(root.join(chat)).expect("it is a transcript");
    let command = "check 06-write two-people-chat";
    let failure = format!("$ cargo run -- {command}\n{}", run(command).with(1).stdout);
    for readme in ["README.md", "README.zh-CN.md"] {
        let text = fs::read_to_string(root.join(readme)).expect("it is there");
        for shown in [&chat, &failure] {
            has(&text, &format!("```text\n{}\n```\n", shown.trim_end()));
        }
    }
}
