//! What every server of the book has in common: `NN-name [ADDR]`, one line on stdout when it is ready,
//! and errors for people.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use examiner::stages;

/// Every server: the stages, and the solutions and alternatives that are servers.
fn servers() -> Vec<(String, PathBuf)> {
    let stages = stages::build().unwrap();
    let programs = stages
        .names()
        .into_iter()
        .map(|name| (name, stages.program(name)));
    let examples = stages
        .examples()
        .into_iter()
        .map(|name| (name, stages.example(name)));
    programs
        .chain(examples)
        .filter(|(name, _)| stages::is_server(name) && !name.starts_with("07"))
        .map(|(name, program)| (name.to_string(), program.unwrap().to_path_buf()))
        .collect()
}

/// From chapter 09 on a library reads the arguments, and there are options among them.
fn takes_options(name: &str) -> bool {
    name >= "09"
}

fn run(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The one line of a program that refuses: nothing on stdout, status 1, no panic.
fn refusal(output: Output) -> String {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr.trim_end().to_string()
}

#[test]
fn an_address_that_is_none_is_refused() {
    for (name, program) in servers() {
        let line = refusal(run(&program, &["nonsense"]));
        assert!(
            line.starts_with("error: cannot listen on nonsense: "),
            "{name}: {line}"
        );
    }
}

#[test]
fn a_taken_port_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for (name, program) in servers() {
        let line = refusal(run(&program, &[&addr]));
        assert!(
            line.starts_with(&format!("error: cannot listen on {addr}: ")),
            "{name}: {line}"
        );
    }
}

#[test]
fn more_arguments_than_one_are_refused() {
    for (name, program) in servers() {
        let line = refusal(run(&program, &["127.0.0.1:0", "more"]));
        let wanted = match takes_options(&name) {
            false => "error: expected one address, such as 127.0.0.1:9000",
            true => "error: unexpected argument 'more' found",
        };
        assert_eq!(line, wanted, "{name}");
    }
}

/// Somebody may have this port already; then the server says that it cannot have it.
#[test]
fn without_an_argument_it_is_port_8080_of_loopback() {
    for (name, program) in servers() {
        let mut server = Command::new(program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        server.kill().unwrap();
        let refusal = server.wait_with_output().unwrap().stderr;
        let refusal = String::from_utf8_lossy(&refusal);
        assert!(
            line == "listening on 127.0.0.1:8080\n"
                || refusal.starts_with("error: cannot listen on 127.0.0.1:8080: "),
            "{name}: {line}{refusal}"
        );
    }
}

#[test]
fn a_bad_value_is_refused_with_the_name_of_its_option() {
    for (name, program) in servers() {
        for option in options(&name, &program) {
            for value in ["x", "-1", ""] {
                let line = refusal(run(&program, &["127.0.0.1:0", &option, value]));
                let wanted = format!("error: invalid value '{value}' for '{option} <");
                assert!(line.starts_with(&wanted), "{name}: {line}");
            }
        }
    }
}

/// The options that the help of a server lists, except for the help itself.
fn options(name: &str, program: &Path) -> Vec<String> {
    if !takes_options(name) {
        return Vec::new();
    }
    let help = help(program);
    let words = help.split_whitespace().map(str::to_string);
    let options: Vec<String> = words
        .filter(|word| word.starts_with("--") && word != "--help")
        .collect();
    assert!(!options.is_empty(), "{name}: {help}");
    options
}

fn help(program: &Path) -> String {
    let output = run(program, &["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    // On Windows the program's own name has an ending.
    String::from_utf8(output.stdout)
        .unwrap()
        .replace("\r\n", "\n")
        .replace(".exe", "")
}

/// What chapter 09 shows of the options.
#[test]
fn help_is_what_the_chapter_shows() {
    let stages = stages::build().unwrap();
    let help = help(stages.program("09-limits").unwrap());
    let transcript = format!("$ cargo run -q --bin 09-limits -- --help\n{help}");
    let file = stages::root().join("code/transcripts/09-limits/help.txt");
    expect_test::expect_file![file].assert_eq(&transcript);
}

#[test]
fn stdout_is_one_line_with_the_port_that_it_got() {
    for (name, program) in servers() {
        let mut server = Command::new(program)
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(server.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let addr = line.trim_end().strip_prefix("listening on ").expect(&line);
        let mut client = TcpStream::connect(addr).expect(&name);
        // A stage that does not read may have closed the connection already.
        let _ = client.write_all(b"alice\nalice: hello\nbob: hello\n");
        drop(client);
        server.kill().unwrap();
        server.wait().unwrap();
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "{name}");
    }
}
