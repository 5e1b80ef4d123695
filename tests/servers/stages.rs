//! What all servers of the book have in common: `NN-name [ADDR]`, one line on stdout when it is ready, and
//! errors for people.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use examiner::stages::{Program, root};
use libtest_mimic::Trial;

use crate::common::{Book, each, executable, named};

type Server = &'static Program;

pub(crate) fn trials(book: Book) -> Vec<Trial> {
    let servers = book.list.programs();
    let servers = named(servers.filter(|p| p.is_server() && p.command.is_empty()));
    let with_options = servers.iter().filter(|(_, server)| server.options).cloned();
    let with_options: Vec<_> = with_options.collect();
    let trials = each!(&servers;
        an_address_that_is_none_is_refused,
        a_taken_port_is_refused,
        more_arguments_than_one_are_refused,
        without_an_argument_it_is_port_8080_of_loopback,
        stdout_is_one_line_with_the_port_that_it_got,
    );
    let trials = trials
        .chain(each!(&with_options; a_bad_value_is_refused_with_the_name_of_its_option))
        // The chapter of the first server with options shows its help.
        .chain(each!(&with_options[..1]; help_is_what_the_chapter_shows));
    trials.collect()
}

fn open(server: Server, arguments: &[&str]) -> Child {
    Command::new(executable(&server.name))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a program prints that ends with this status: on one of stdout and stderr, and nothing on the other.
fn printed(server: Server, arguments: &[&str], status: i32) -> String {
    let output = open(server, arguments).wait_with_output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|t| String::from_utf8(t).unwrap());
    assert_eq!(output.status.code(), Some(status), "{stdout}{stderr}");
    let (text, nothing) = if status == 0 {
        (stdout, stderr)
    } else {
        (stderr, stdout)
    };
    assert_eq!(nothing, "", "{text}");
    text
}

/// The one line of a program that refuses its arguments: no panic.
fn refusal(server: Server, arguments: &[&str]) -> String {
    let stderr = printed(server, arguments, 1);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr.trim_end().to_string()
}

fn an_address_that_is_none_is_refused(server: Server) {
    let line = refusal(server, &["nonsense"]);
    assert!(
        line.starts_with("error: cannot listen on nonsense: "),
        "{line}"
    );
}

fn a_taken_port_is_refused(server: Server) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let line = refusal(server, &[&addr]);
    assert!(
        line.starts_with(&format!("error: cannot listen on {addr}: ")),
        "{line}"
    );
}

fn more_arguments_than_one_are_refused(server: Server) {
    let wanted = match server.options {
        false => "error: expected one address, such as 127.0.0.1:9000",
        true => "error: unexpected argument 'more' found",
    };
    assert_eq!(refusal(server, &["127.0.0.1:0", "more"]), wanted);
}

/// If another process has this port, the server says that it can't have it.
fn without_an_argument_it_is_port_8080_of_loopback(server: Server) {
    let mut server = open(server, &[]);
    let mut line = String::new();
    let stdout = server.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    server.kill().unwrap();
    let refusal = server.wait_with_output().unwrap().stderr;
    let refusal = String::from_utf8_lossy(&refusal);
    let refused = refusal.starts_with("error: cannot listen on 127.0.0.1:8080: ");
    assert!(
        refused || line == "listening on 127.0.0.1:8080\n",
        "{line}{refusal}"
    );
}

fn stdout_is_one_line_with_the_port_that_it_got(server: Server) {
    let mut server = open(server, &["127.0.0.1:0"]);
    let mut stdout = BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let addr = line.trim_end().strip_prefix("listening on ").expect(&line);
    let mut client = TcpStream::connect(addr).unwrap();
    // A stage that doesn't read may have closed the connection already.
    let _ = client.write_all(b"alice\nalice: hello\nbob: hello\n");
    drop(client);
    server.kill().unwrap();
    server.wait().unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

fn a_bad_value_is_refused_with_the_name_of_its_option(server: Server) {
    let help = printed(server, &["--help"], 0);
    let is_option = |word: &&str| word.starts_with("--") && *word != "--help";
    let options: Vec<&str> = help.split_whitespace().filter(is_option).collect();
    assert!(!options.is_empty(), "{help}");
    for option in options {
        for value in ["x", "-1", ""] {
            let line = refusal(server, &["127.0.0.1:0", option, value]);
            let wanted = format!("error: invalid value '{value}' for '{option} <");
            assert!(line.starts_with(&wanted), "{line}");
        }
    }
}

fn help_is_what_the_chapter_shows(server: Server) {
    let (name, help) = (&server.name, printed(server, &["--help"], 0));
    // On Windows the program's own name has an ending.
    let help = help.replace("\r\n", "\n").replace(".exe", "");
    let transcript = format!("$ cargo run -q --bin {name} -- --help\n{help}");
    let file = root().join(format!("code/transcripts/{name}/help.txt"));
    expect_test::expect_file![file].assert_eq(&transcript);
}
