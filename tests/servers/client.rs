//! The clients of the book against the servers that they are made for, in a pipe and in a terminal, and
//! the solutions of their exercises.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use examiner::{
    process::{FreeAddr, Server, Signal, Subject},
    stages::{self, Stages, Version},
};

/// The clients, each with the first server that it works with, and with the first of these that closes
/// the connection of a client that has finished sending.
const CLIENTS: [(&str, &str, &str); 2] = [
    ("07-client", "04-broker", "06-disconnect"),
    ("08-client", "08-names", "08-names"),
];
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

/// Each client with each server that it works with.
fn pairs() -> Vec<(&'static Path, &'static str)> {
    let servers = stages().servers();
    let pairs = CLIENTS.iter().flat_map(|(client, first, _)| {
        let servers = servers.iter().filter(move |server| *server >= first);
        servers.map(move |server| (program(client), *server))
    });
    pairs.collect()
}

/// Each client with one server that it works with, and that closes.
fn clients() -> Vec<(&'static Path, &'static str)> {
    let clients = CLIENTS.iter();
    clients
        .map(|(client, _, server)| (program(client), *server))
        .collect()
}

fn program(name: &str) -> &'static Path {
    stages().program(name).unwrap()
}

/// What a server of this stage says to who logs in.
fn welcome(stage: &str, name: &str) -> String {
    match stages::version(stage) {
        Version::One => String::new(),
        Version::Two => format!("welcome {name}\n"),
    }
}

/// Reads the lines that begin each session, and the one that tells bob that he is in.
fn read_until_in(stdout: &mut impl BufRead, stage: &str) {
    let wanted = welcome(stage, "bob") + "from bob: am I in?\n";
    let mut seen = String::new();
    for _ in wanted.lines() {
        stdout.read_line(&mut seen).unwrap();
    }
    assert_eq!(seen.replace("\r\n", "\n"), wanted, "{stage}");
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
    for (program, stage) in pairs() {
        let server = server(stage);
        let addr = server.addr().to_string();
        let mut client = start(program, &[&addr]);
        say(&mut client, "bob\nbob: 1\nbob: 2\n");
        let wanted = welcome(stage, "bob") + "from bob: 1\nfrom bob: 2\n";
        let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
        for line in wanted.lines() {
            assert_eq!(lines.next().unwrap().unwrap(), line, "{stage}");
        }
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

/// What the chapters show of each client in a pipe.
#[test]
#[cfg(unix)]
fn the_transcript_is_what_the_client_prints() {
    let inputs = [
        ["bob\nbob: 1\nbob: 2\n", ""],
        ["bob\nbob: 1\ncarol: 2\n", "bob!\n"],
    ];
    for ((client, _, stage), inputs) in CLIENTS.into_iter().zip(inputs) {
        let server = server(stage);
        let addr = server.addr().to_string();
        let mut transcript = String::new();
        for input in inputs {
            let output = run(program(client), &[&addr], input);
            let shown = input.replace('\n', "\\n");
            transcript += &format!("$ printf '{shown}' | cargo run -q --bin {client}\n");
            transcript += &String::from_utf8(output.stdout).unwrap();
            transcript += &String::from_utf8(output.stderr).unwrap();
            transcript += &format!("$ echo $?\n{}\n", output.status.code().unwrap());
        }
        let file = stages::root().join(format!("code/transcripts/{client}/in-a-pipe.txt"));
        expect_test::expect_file![file].assert_eq(&transcript);
    }
}

#[test]
fn no_reply_is_lost_at_the_end_of_input() {
    for (program, stage) in pairs() {
        if stage < FIRST_THAT_CLOSES {
            continue;
        }
        let server = server(stage);
        let addr = server.addr().to_string();
        let sent: String = (1..=500).map(|n| format!("bob: {n}\n")).collect();
        let replies: String = (1..=500).map(|n| format!("from bob: {n}\n")).collect();
        let wanted = welcome(stage, "bob") + &replies;
        for _ in 0..20 {
            assert_output(&run(program, &[&addr, "bob"], &sent), 0, &wanted, "");
        }
    }
}

#[test]
fn a_last_line_without_its_end_is_sent() {
    for (program, stage) in clients() {
        let server = server(stage);
        let addr = server.addr().to_string();
        let output = run(program, &[&addr, "bob"], "bob: 1\r\nbob: 2");
        let wanted = welcome(stage, "bob") + "from bob: 1\nfrom bob: 2\n";
        assert_output(&output, 0, &wanted, "");
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_one_line_and_status_1() {
    for (program, _) in clients() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = free.local_addr().unwrap().to_string();
        drop(free);
        let output = run(program, &[&addr, "bob"], "");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(
            stderr.starts_with(&format!("error: cannot reach a server on {addr}: ")),
            "{stderr}"
        );
    }
}

#[test]
fn a_server_that_closes_before_our_end_of_input_is_one_line_and_status_1() {
    for (program, stage) in pairs() {
        let server = server(stage);
        let addr = server.addr().to_string();
        let mut client = start(program, &[&addr, "bob"]);
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(b"bob: am I in?\n").unwrap();
        read_until_in(&mut BufReader::new(client.stdout.as_mut().unwrap()), stage);
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
    for (program, stage) in clients() {
        let server = server(stage);
        let addr = server.addr().to_string();
        let mut client = start(program, &[&addr, "bob"]);
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(b"bob: am I in?\n").unwrap();
        read_until_in(&mut BufReader::new(client.stdout.as_mut().unwrap()), stage);
        server.signal(Signal::Interrupt).unwrap();
        let output = client.wait_with_output().unwrap();
        assert_output(&output, 1, "", "error: the server closed the connection\n");
    }
}

/// The client of chapter 07 knows it by itself, the next one leaves it to the server.
#[test]
fn a_name_must_be_given() {
    let lines = [
        "error: no name; give one as the second argument or as the first line\n",
        "error: a name is 1 to 32 letters, digits, _ or -\n",
    ];
    for ((program, stage), line) in clients().into_iter().zip(lines) {
        let server = server(stage);
        let addr = server.addr().to_string();
        for input in ["", " \nbob: hello\n"] {
            for _ in 0..20 {
                assert_output(&run(program, &[&addr], input), 1, "", line);
            }
        }
    }
}

/// The server goes while input is still to be sent: what was queued is printed all the same.
#[test]
#[cfg(unix)]
fn what_was_queued_is_printed_when_the_server_goes() {
    for (program, stage) in clients() {
        for _ in 0..20 {
            let server = server(stage);
            let mut alice = TcpStream::connect(server.addr()).unwrap();
            let heard = BufReader::new(alice.try_clone().unwrap()).lines();
            let mut heard = heard.map(Result::unwrap);
            alice.write_all(b"alice\nalice: am I in?\n").unwrap();
            for line in (welcome(stage, "alice") + "from alice: am I in?\n").lines() {
                assert_eq!(heard.next().unwrap(), line);
            }
            let mut client = start(program, &[&server.addr().to_string(), "bob"]);
            let mut stdin = client.stdin.take().unwrap();
            stdin.write_all(b"alice: I am in\n").unwrap();
            assert_eq!(heard.next().unwrap(), "from bob: I am in");
            alice
                .write_all("bob: read this\n".repeat(50).as_bytes())
                .unwrap();
            alice.write_all(b"alice: all taken\n").unwrap();
            assert_eq!(heard.next().unwrap(), "from alice: all taken");
            server.signal(Signal::Interrupt).unwrap();
            // It fails once the client is gone, which is as good as sent.
            let _ = stdin.write_all("nobody: more\n".repeat(5000).as_bytes());
            let output = client.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(1));
            let printed = String::from_utf8(output.stdout).unwrap();
            let wanted = welcome(stage, "bob") + &"from alice: read this\n".repeat(50);
            assert_eq!(printed, wanted);
        }
    }
}

#[test]
fn more_arguments_than_two_are_refused() {
    for (program, _) in clients() {
        let output = run(program, &["127.0.0.1:0", "bob", "alice"], "");
        let line = "error: expected at most an address and a name\n";
        assert_output(&output, 1, "", line);
    }
}

/// What version 2 tells a client, in words.
mod words {
    use super::*;

    fn client() -> &'static Path {
        program("08-client")
    }

    /// A server with alice on it, and her connection.
    pub fn server_with_alice() -> (Server, TcpStream) {
        let server = server("08-names");
        let mut alice = TcpStream::connect(server.addr()).unwrap();
        alice.write_all(b"alice\n").unwrap();
        let mut answer = String::new();
        BufReader::new(&alice).read_line(&mut answer).unwrap();
        assert_eq!(answer, "welcome alice\n");
        (server, alice)
    }

    #[test]
    fn a_client_that_is_refused_says_why_and_ends() {
        let (server, _alice) = server_with_alice();
        let addr = server.addr().to_string();
        for (name, reason) in [
            ("alice", "somebody else is called alice"),
            ("a b", "a name is 1 to 32 letters, digits, _ or -"),
        ] {
            let line = format!("error: {reason}\n");
            let many = "nobody: hello\n".repeat(1000);
            for input in ["", "alice: I am you\n", &many] {
                let output = run(client(), &[&addr, name], input);
                assert_output(&output, 1, "", &line);
            }
            // Nor does it wait for the end of its input.
            let mut open = start(client(), &[&addr, name]);
            let stdin = open.stdin.take();
            assert_output(&open.wait_with_output().unwrap(), 1, "", &line);
            drop(stdin);
        }
    }

    #[test]
    fn mistakes_are_told_and_are_no_failure() {
        let (server, _alice) = server_with_alice();
        let addr = server.addr().to_string();
        let input = "carol, bob: hello\nno colon\nbob: bye\n";
        let output = run(client(), &[&addr, "bob"], input);
        let stdout = "welcome bob\nfrom bob: hello\nfrom bob: bye\n";
        let stderr = "error: nobody is called carol\nerror: a line is DESTINATION: TEXT\n";
        assert_output(&output, 0, stdout, stderr);
    }

    /// What chapter 08 says of the client before.
    #[test]
    fn the_client_of_version_1_takes_errors_for_messages() {
        let (server, _alice) = server_with_alice();
        let addr = server.addr().to_string();
        let output = run(program("07-client"), &[&addr, "alice"], "");
        let line = "error name-taken somebody else is called alice\n";
        assert_output(&output, 0, line, "");
    }

    /// A server that says nothing has let nobody in.
    #[test]
    fn a_server_that_closes_without_a_welcome_is_a_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let mut client = start(client(), &[&addr, "bob"]);
        say(&mut client, "");
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_to_string(&mut String::new()).unwrap();
        drop(stream);
        let output = client.wait_with_output().unwrap();
        assert_output(&output, 1, "", "error: the server closed the connection\n");
    }

    /// A code without a detail, or one that nobody knows yet.
    #[test]
    fn any_error_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let mut client = start(client(), &[&addr, "bob"]);
        say(&mut client, "");
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_to_string(&mut String::new()).unwrap();
        stream
            .write_all(b"welcome bob\nerror new-code some words\nerror other-code\n")
            .unwrap();
        drop(stream);
        let output = client.wait_with_output().unwrap();
        assert_output(
            &output,
            0,
            "welcome bob\n",
            "error: some words\nerror: other-code\n",
        );
    }
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
        for (program, stage) in pairs() {
            let server = server(stage);
            let addr = server.addr().to_string();
            let mut alice = log_in(program, &addr, "alice");
            let mut bob = log_in(program, &addr, "bob");
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

/// The solutions of the exercises of chapters 07 and 08.
mod exercises {
    use super::*;

    fn client() -> &'static Path {
        program("07-client")
    }

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
        let free = FreeAddr::find().unwrap();
        let addr = free.addr().to_string();
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

    #[test]
    fn the_next_name_is_tried() {
        let (server, _alice) = words::server_with_alice();
        let addr = server.addr().to_string();
        let solution = stages().example("08-next-client").unwrap();
        let mut second = start(solution, &[&addr, "alice"]);
        let mut stdout = BufReader::new(second.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), "welcome alice-2");
        let output = run(solution, &[&addr, "alice"], "alice-3: hello\n");
        assert_output(
            &output,
            0,
            "welcome alice-3\nfrom alice-3: hello\n",
            "somebody else is called alice\nsomebody else is called alice-2\n",
        );
        let output = run(solution, &[&addr, "a b"], "");
        let line = "error: a name is 1 to 32 letters, digits, _ or -\n";
        assert_output(&output, 1, "", line);
        second.kill().unwrap();
        second.wait().unwrap();
        let output = run(program("08-client"), &[&addr, "alice"], "");
        assert_eq!(output.status.code(), Some(1), "the stage does not try");
    }
}
