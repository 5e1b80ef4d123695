//! The client of chapter 07 against every server from chapter 04 on, in a pipe and in a terminal, and
//! the solutions of its exercises.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use companion::{
    server::{Server, Signal, Subject, free_addr},
    stages::{self, Stages},
};

/// The first stage whose clients can reach each other.
const FIRST: &str = "04-broker";
/// The first stage that closes the connection of a client that has finished sending.
const FIRST_THAT_CLOSES: &str = "06-disconnect";

fn stages() -> &'static Stages {
    stages::build().unwrap()
}

fn server(stage: &str) -> Server {
    Subject::Program(stages().program(stage).unwrap().to_path_buf())
        .start(&Default::default())
        .unwrap()
}

fn servers() -> Vec<&'static str> {
    let mut names = stages().names();
    names.retain(|name| *name >= FIRST && !name.ends_with("client"));
    names
}

fn client() -> &'static Path {
    stages().program("07-client").unwrap()
}

fn start(program: &Path, arguments: &[&str]) -> Child {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn say(client: &mut Child, input: &str) {
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
}

fn run(program: &Path, arguments: &[&str], input: &str) -> Output {
    let mut client = start(program, arguments);
    say(&mut client, input);
    client.wait_with_output().unwrap()
}

fn assert_output(output: &Output, status: i32, stdout: &str, stderr: &str) {
    let seen = (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n"),
        String::from_utf8_lossy(&output.stderr).replace("\r\n", "\n"),
    );
    assert_eq!(seen, (Some(status), stdout.into(), stderr.into()));
}

#[test]
fn in_a_pipe_every_reply_is_printed_and_nothing_else() {
    for stage in servers() {
        let server = server(stage);
        let addr = server.addr().to_string();
        let mut client = start(client(), &[&addr]);
        say(&mut client, "bob\nbob: 1\nbob: 2\n");
        let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "from bob: 1", "{stage}");
        assert_eq!(lines.next().unwrap().unwrap(), "from bob: 2", "{stage}");
        if stage < FIRST_THAT_CLOSES {
            // Such a server leaves the client waiting for the end.
            client.kill().unwrap();
            client.wait().unwrap();
            continue;
        }
        assert!(lines.next().is_none(), "{stage}");
        assert_output(&client.wait_with_output().unwrap(), 0, "", "");
    }
}

/// What chapter 07 shows of the client in a pipe.
#[test]
#[cfg(unix)]
fn the_transcript_is_what_the_client_prints() {
    let server = server(FIRST_THAT_CLOSES);
    let addr = server.addr().to_string();
    let mut transcript = String::new();
    for (shell, input) in [
        (r"printf 'bob\nbob: 1\nbob: 2\n' |", "bob\nbob: 1\nbob: 2\n"),
        (r"printf '' |", ""),
    ] {
        let output = run(client(), &[&addr], input);
        transcript += &format!("$ {shell} cargo run -q --bin 07-client\n");
        transcript += &String::from_utf8(output.stdout).unwrap();
        transcript += &String::from_utf8(output.stderr).unwrap();
        transcript += &format!("$ echo $?\n{}\n", output.status.code().unwrap());
    }
    let file = stages::root().join("code/transcripts/07-client/in-a-pipe.txt");
    expect_test::expect_file![file].assert_eq(&transcript);
}

#[test]
fn no_reply_is_lost_at_the_end_of_input() {
    for stage in servers() {
        if stage < FIRST_THAT_CLOSES {
            continue;
        }
        let server = server(stage);
        let addr = server.addr().to_string();
        let sent: String = (1..=500).map(|n| format!("bob: {n}\n")).collect();
        let wanted: String = (1..=500).map(|n| format!("from bob: {n}\n")).collect();
        for _ in 0..20 {
            assert_output(&run(client(), &[&addr, "bob"], &sent), 0, &wanted, "");
        }
    }
}

#[test]
fn a_last_line_without_its_end_is_sent() {
    let server = server(FIRST_THAT_CLOSES);
    let addr = server.addr().to_string();
    let output = run(client(), &[&addr, "bob"], "bob: 1\r\nbob: 2");
    assert_output(&output, 0, "from bob: 1\nfrom bob: 2\n", "");
}

#[test]
fn a_server_that_cannot_be_reached_is_one_line_and_status_1() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = free.local_addr().unwrap().to_string();
    drop(free);
    let output = run(client(), &[&addr, "bob"], "");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.starts_with(&format!("error: cannot reach a server on {addr}: ")),
        "{stderr}"
    );
}

#[test]
fn a_server_that_closes_before_our_end_of_input_is_one_line_and_status_1() {
    for stage in servers() {
        let server = server(stage);
        let addr = server.addr().to_string();
        let mut client = start(client(), &[&addr, "bob"]);
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(b"bob: am I in?\n").unwrap();
        let mut stdout = BufReader::new(client.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), "from bob: am I in?", "{stage}");
        drop(server);
        let mut stderr = String::new();
        client
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        let lines = [
            "error: the server closed the connection\n",
            "error: lost the connection: ",
        ];
        assert!(
            lines.iter().any(|line| stderr.starts_with(line)),
            "{stage}: {stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stage}: {stderr}");
        assert_eq!(client.wait().unwrap().code(), Some(1), "{stage}");
    }
}

#[test]
#[cfg(unix)]
fn a_server_that_is_stopped_is_one_line_and_status_1() {
    let server = server(FIRST_THAT_CLOSES);
    let addr = server.addr().to_string();
    let mut client = start(client(), &[&addr, "bob"]);
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(b"bob: am I in?\n").unwrap();
    let mut line = String::new();
    BufReader::new(client.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    server.signal(Signal::Interrupt).unwrap();
    let output = client.wait_with_output().unwrap();
    assert_output(&output, 1, "", "error: the server closed the connection\n");
}

#[test]
fn a_name_must_be_given() {
    let server = server(FIRST);
    let output = run(client(), &[&server.addr().to_string()], "");
    let line = "error: no name; give one as the second argument or as the first line\n";
    assert_output(&output, 1, "", line);
}

#[test]
fn an_empty_name_is_none() {
    let server = server(FIRST);
    let line = "error: no name; give one as the second argument or as the first line\n";
    for _ in 0..20 {
        let output = run(client(), &[&server.addr().to_string()], " \nbob: hello\n");
        assert_output(&output, 1, "", line);
    }
}

/// The server goes while input is still to be sent: what was queued is printed all the same.
#[test]
#[cfg(unix)]
fn what_was_queued_is_printed_when_the_server_goes() {
    for _ in 0..20 {
        let server = server(FIRST_THAT_CLOSES);
        let mut alice = TcpStream::connect(server.addr()).unwrap();
        let mut heard = BufReader::new(alice.try_clone().unwrap()).lines();
        alice.write_all(b"alice\nalice: am I in?\n").unwrap();
        assert_eq!(heard.next().unwrap().unwrap(), "from alice: am I in?");
        let mut client = start(client(), &[&server.addr().to_string(), "bob"]);
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(b"alice: I am in\n").unwrap();
        assert_eq!(heard.next().unwrap().unwrap(), "from bob: I am in");
        alice
            .write_all("bob: read this\n".repeat(50).as_bytes())
            .unwrap();
        alice.write_all(b"alice: all taken\n").unwrap();
        assert_eq!(heard.next().unwrap().unwrap(), "from alice: all taken");
        server.signal(Signal::Interrupt).unwrap();
        // It fails once the client is gone, which is as good as sent.
        let _ = stdin.write_all("nobody: more\n".repeat(5000).as_bytes());
        let output = client.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed, "from alice: read this\n".repeat(50));
    }
}

#[test]
fn more_arguments_than_two_are_refused() {
    let output = run(client(), &["127.0.0.1:0", "bob", "alice"], "");
    let line = "error: expected at most an address and a name\n";
    assert_output(&output, 1, "", line);
}

#[cfg(unix)]
mod terminal {
    use rexpect::{
        process::WaitStatus,
        session::{PtySession, spawn_command},
    };

    use super::*;

    const MILLISECONDS: u64 = 20_000;

    fn log_in(program: &Path, addr: &str, name: &str) -> PtySession {
        let mut command = Command::new(program);
        command.arg(addr);
        let mut session = spawn_command(command, Some(MILLISECONDS)).unwrap();
        session.exp_string("your name: ").unwrap();
        session.send_line(name).unwrap();
        session.send_line(&format!("{name}: am I in?")).unwrap();
        session
            .exp_string(&format!("from {name}: am I in?"))
            .unwrap();
        session
    }

    #[test]
    fn two_people_chat_with_every_server() {
        for stage in servers() {
            let server = server(stage);
            let addr = server.addr().to_string();
            let mut alice = log_in(client(), &addr, "alice");
            let mut bob = log_in(client(), &addr, "bob");
            alice.send_line("bob: hello").unwrap();
            bob.exp_string("from alice: hello").unwrap();
            bob.send_line("alice: hello yourself").unwrap();
            alice.exp_string("from bob: hello yourself").unwrap();
            if stage >= FIRST_THAT_CLOSES {
                for mut session in [alice, bob] {
                    session.send_control('d').unwrap();
                    session.exp_eof().unwrap();
                    let ended = session.process().wait().unwrap();
                    assert!(
                        matches!(ended, WaitStatus::Exited(_, 0)),
                        "{stage}: {ended:?}"
                    );
                }
            }
        }
    }
}

/// The solutions of the exercises of chapter 07.
mod exercises {
    use super::*;

    /// Sends a message, the line `/quit` and another message.
    fn quits(program: &Path) -> Output {
        let server = server(FIRST_THAT_CLOSES);
        let addr = server.addr().to_string();
        run(program, &[&addr, "bob"], "bob: 1\n/quit\nbob: 2\n")
    }

    #[test]
    fn quit_ends_the_input() {
        let solution = stages().example("07-quit").unwrap();
        assert_output(&quits(solution), 0, "from bob: 1\n", "");
        assert_output(&quits(client()), 0, "from bob: 1\nfrom bob: 2\n", "");
    }

    #[test]
    fn retry_waits_for_a_server() {
        let addr = free_addr().unwrap().to_string();
        let mut waiting = start(stages().example("07-retry").unwrap(), &[&addr, "bob"]);
        say(&mut waiting, "bob: there you are\n");
        let mut line = String::new();
        let mut stderr = BufReader::new(waiting.stderr.take().unwrap());
        stderr.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), format!("waiting for a server on {addr}"));
        let server = Server::start_on(stages().program(FIRST_THAT_CLOSES).unwrap(), &addr).unwrap();
        let output = waiting.wait_with_output().unwrap();
        assert_output(&output, 0, "from bob: there you are\n", "");
        drop(server);
        let output = run(client(), &[&addr, "bob"], "");
        assert_eq!(output.status.code(), Some(1), "the stage does not wait");
    }
}
