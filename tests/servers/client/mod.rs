//! The clients of the book with the servers that they work with, in a pipe and in a terminal.
//!
//! [`version_2`] is about what a server of version 2 tells a client, [`exercises`] about the solutions.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Child, Command, Output, Stdio},
};

use examiner::{
    process::{Server, Signal},
    stages::{self, Kind, Program, Version},
};
use libtest_mimic::Trial;

use crate::common::{Book, Result, connect, each, executable, start};

mod exercises;
#[cfg(unix)]
mod terminal;
mod version_2;

/// A server promises this conversation if it closes the connection of a client that has finished sending.
const CLOSES: &str = "a-half-close-is-a-goodbye";

/// A client, and a server that it works with.
#[derive(Clone, Copy)]
struct Pair {
    client: &'static Program,
    server: &'static Program,
    /// Whether the server closes the connection of a client that has finished sending.
    closes: bool,
}

type Pairs = Vec<(String, Pair)>;

pub(crate) fn trials(book: Book) -> Result<Vec<Trial>> {
    let closing = book.conversation(CLOSES)?;
    let clients = book
        .list
        .stages()
        .filter(|stage| stage.kind == Kind::Client);
    let pairs = clients.flat_map(|client| {
        let first = client.talks_to.as_deref();
        let servers = book
            .list
            .servers()
            .skip_while(move |s| first != Some(&s.name));
        servers.map(move |server| {
            let closes = closing.is_promised_by(&server.name);
            let name = format!("{} with {}", client.name, server.name);
            (
                name,
                Pair {
                    client,
                    server,
                    closes,
                },
            )
        })
    });
    let pairs: Pairs = pairs.collect();
    let closing: Pairs = pairs
        .iter()
        .filter(|(_, pair)| pair.closes)
        .cloned()
        .collect();
    let mut once = closing.clone();
    once.dedup_by_key(|(_, pair)| &pair.client.name);
    let mut trials = version_2::trials(&pairs, &once);
    trials.extend(exercises::trials(book, &once)?);
    trials.extend(each!(&pairs;
        in_a_pipe_every_reply_is_printed_and_nothing_else,
        a_server_that_closes_before_our_end_of_input_is_one_line_and_status_1,
    ));
    trials.extend(each!(&closing; no_reply_is_lost_at_the_end_of_input));
    trials.extend(each!(&once;
        a_last_line_without_its_end_is_sent,
        a_server_that_cannot_be_reached_is_one_line_and_status_1,
        a_name_must_be_given,
        more_arguments_than_two_are_refused,
    ));
    #[cfg(unix)]
    trials.extend(each!(&once;
        the_transcript_is_what_the_client_prints,
        a_server_that_is_stopped_is_one_line_and_status_1,
        what_was_queued_is_printed_when_the_server_goes,
    ));
    #[cfg(unix)]
    trials.extend(terminal::trials(&pairs));
    Ok(trials)
}

impl Pair {
    fn start(self) -> Talk {
        let server = start(self.server);
        let addr = server.addr().to_string();
        Talk {
            client: &self.client.name,
            addr,
            server,
        }
    }

    /// What the server says to a client that logs in.
    fn welcome(self, name: &str) -> String {
        match self.server.protocol {
            Version::One => String::new(),
            Version::Two => format!("welcome {name}\n"),
        }
    }
}

/// A client, and the server that it is to talk to.
struct Talk {
    client: &'static str,
    addr: String,
    server: Server,
}

impl Talk {
    /// Starts the client with these arguments after the address.
    fn open(&self, arguments: &[&str]) -> Child {
        open(self.client, &[&[self.addr.as_str()], arguments].concat())
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        run(self.open(arguments), input)
    }

    /// Logs in as bob, and reads until bob knows that it is in.
    fn log_in(&self, welcome: String) -> Child {
        let mut client = self.open(&["bob"]);
        let stdin = client.stdin.as_mut().unwrap();
        stdin.write_all(b"bob: am I in?\n").unwrap();
        let mut stdout = BufReader::new(client.stdout.as_mut().unwrap());
        assert_reads(&mut stdout, &(welcome + "from bob: am I in?\n"));
        client
    }
}

fn open(program: &str, arguments: &[&str]) -> Child {
    Command::new(executable(program))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Gives a client its input, and waits for its end.
fn run(mut client: Child, input: &str) -> Output {
    say(&mut client, input);
    client.wait_with_output().unwrap()
}

fn say(client: &mut Child, input: &str) {
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
}

/// Reads these lines.
fn assert_reads(reader: &mut impl BufRead, wanted: &str) {
    let mut seen = String::new();
    for _ in wanted.lines() {
        reader.read_line(&mut seen).unwrap();
    }
    assert_eq!(seen.replace("\r\n", "\n"), wanted);
}

fn assert_output(output: &Output, status: i32, stdout: &str, stderr: &str) {
    let text = |bytes| String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let seen = (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    );
    assert_eq!(seen, (Some(status), stdout.into(), stderr.into()));
}

fn in_a_pipe_every_reply_is_printed_and_nothing_else(pair: Pair) {
    let talk = pair.start();
    let mut client = talk.open(&[]);
    say(&mut client, "bob\nbob: 1\nbob: 2\n");
    let mut stdout = BufReader::new(client.stdout.take().unwrap());
    assert_reads(
        &mut stdout,
        &(pair.welcome("bob") + "from bob: 1\nfrom bob: 2\n"),
    );
    if pair.closes {
        assert_eq!(stdout.lines().count(), 0);
        assert_output(&client.wait_with_output().unwrap(), 0, "", "");
    } else {
        // Such a server leaves the client waiting for the end.
        client.kill().unwrap();
        client.wait().unwrap();
    }
}

/// What the chapters show of each client in a pipe.
#[cfg(unix)]
fn the_transcript_is_what_the_client_prints(pair: Pair) {
    let inputs = match pair.client.protocol {
        Version::One => ["bob\nbob: 1\nbob: 2\n", ""],
        Version::Two => ["bob\nbob: 1\ncarol: 2\n", "bob!\n"],
    };
    let (client, talk) = (&pair.client.name, pair.start());
    let mut transcript = String::new();
    for input in inputs {
        let output = talk.run(&[], input);
        let shown = input.replace('\n', "\\n");
        transcript += &format!("$ printf '{shown}' | cargo run -q --bin {client}\n");
        transcript += &String::from_utf8(output.stdout).unwrap();
        transcript += &String::from_utf8(output.stderr).unwrap();
        transcript += &format!("$ echo $?\n{}\n", output.status.code().unwrap());
    }
    let file = stages::root().join(format!("code/transcripts/{client}/in-a-pipe.txt"));
    expect_test::expect_file![file].assert_eq(&transcript);
}

fn no_reply_is_lost_at_the_end_of_input(pair: Pair) {
    let talk = pair.start();
    let sent: String = (1..=500).map(|n| format!("bob: {n}\n")).collect();
    let replies: String = (1..=500).map(|n| format!("from bob: {n}\n")).collect();
    let wanted = pair.welcome("bob") + &replies;
    for _ in 0..20 {
        assert_output(&talk.run(&["bob"], &sent), 0, &wanted, "");
    }
}

fn a_last_line_without_its_end_is_sent(pair: Pair) {
    let output = pair.start().run(&["bob"], "bob: 1\r\nbob: 2");
    let wanted = pair.welcome("bob") + "from bob: 1\nfrom bob: 2\n";
    assert_output(&output, 0, &wanted, "");
}

fn a_server_that_cannot_be_reached_is_one_line_and_status_1(pair: Pair) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = free.local_addr().unwrap().to_string();
    drop(free);
    let output = run(open(&pair.client.name, &[&addr, "bob"]), "");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.starts_with(&format!("error: cannot reach a server on {addr}: ")),
        "{stderr}"
    );
}

fn a_server_that_closes_before_our_end_of_input_is_one_line_and_status_1(pair: Pair) {
    let talk = pair.start();
    let mut client = talk.log_in(pair.welcome("bob"));
    drop(talk);
    let mut stderr = String::new();
    client
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    let closed = stderr.starts_with("error: the server closed the connection\n");
    assert!(
        closed || stderr.starts_with("error: lost the connection: "),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert_eq!(client.wait().unwrap().code(), Some(1));
}

#[cfg(unix)]
fn a_server_that_is_stopped_is_one_line_and_status_1(pair: Pair) {
    let talk = pair.start();
    let mut client = talk.log_in(pair.welcome("bob"));
    let _stays_open = client.stdin.take();
    talk.server.signal(Signal::Interrupt).unwrap();
    let output = client.wait_with_output().unwrap();
    assert_output(&output, 1, "", "error: the server closed the connection\n");
}

/// The client of version 1 knows it by itself, the other one leaves it to the server.
fn a_name_must_be_given(pair: Pair) {
    let line = match pair.client.protocol {
        Version::One => "error: no name; give one as the second argument or as the first line\n",
        Version::Two => "error: a name is 1 to 32 letters, digits, _ or -\n",
    };
    let talk = pair.start();
    for input in ["", " \nbob: hello\n"].repeat(20) {
        assert_output(&talk.run(&[], input), 1, "", line);
    }
}

/// The server goes while there is input left to send: what it had queued for the client is still printed.
#[cfg(unix)]
fn what_was_queued_is_printed_when_the_server_goes(pair: Pair) {
    for _ in 0..20 {
        let talk = pair.start();
        let alice = connect(talk.server.addr()).unwrap();
        let say = |lines: &str| (&alice).write_all(lines.as_bytes()).unwrap();
        let mut heard = BufReader::new(&alice);
        say("alice\nalice: am I in?\n");
        assert_reads(
            &mut heard,
            &(pair.welcome("alice") + "from alice: am I in?\n"),
        );
        let mut client = talk.open(&["bob"]);
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(b"alice: I am in\n").unwrap();
        assert_reads(&mut heard, "from bob: I am in\n");
        say(&("bob: read this\n".repeat(50) + "alice: all accepted\n"));
        assert_reads(&mut heard, "from alice: all accepted\n");
        talk.server.signal(Signal::Interrupt).unwrap();
        // It fails once the client is gone, which is as good as sent.
        let _ = stdin.write_all("nobody: more\n".repeat(5000).as_bytes());
        let output = client.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            printed,
            pair.welcome("bob") + &"from alice: read this\n".repeat(50)
        );
    }
}

fn more_arguments_than_two_are_refused(pair: Pair) {
    let output = pair.start().run(&["bob", "alice"], "");
    assert_output(
        &output,
        1,
        "",
        "error: expected at most an address and a name\n",
    );
}
