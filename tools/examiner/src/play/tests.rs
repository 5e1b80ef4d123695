//! Conversations with small servers of our own.

use std::{
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::mpsc,
    thread,
    time::Duration,
};

use socket2::{Domain, Socket, Type};

use super::{Rules, play};
use crate::{
    conversation::{self, Conditions},
    process::Subject,
    stages::Version,
};

/// A listener whose connections hold little that the server hasn't read.
fn listener() -> (TcpListener, Subject) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).unwrap();
    socket.listen(8).unwrap();
    let listener = TcpListener::from(socket);
    let addr = listener.local_addr().unwrap();
    (listener, Subject::Addr(addr))
}

/// Plays these steps, as a conversation that is promised since that stage. Returns the transcript.
fn played(subject: &Subject, since: &str, version: Version, steps: &str) -> String {
    let text = format!("conversation \"c\" since=\"{since}\" {{\nabout \"…\"\n{steps}\n}}");
    let conversations = conversation::parse("test.kdl", &text).unwrap();
    let mut server = subject.start(&Conditions::default()).unwrap();
    let rules = Rules {
        version,
        ..Rules::default()
    };
    let outcome = play(&conversations[0], &mut server, rules);
    assert_eq!(
        outcome.shortfall.is_some(),
        outcome.transcript.contains(" ! ")
    );
    outcome.transcript
}

/// The last line of the transcript, with a server of version 2 that has one peer at a time: it welcomes,
/// echoes, and answers a line without a colon, such as the first one here.
fn end(since: &str, version: Version, steps: &str) -> String {
    let (listener, subject) = listener();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let Some(name) = lines.next() else { continue };
            let _ = writeln!(&stream, "welcome {name}");
            for line in lines {
                let _ = match line.split_once(": ") {
                    Some((_, text)) => writeln!(&stream, "from {name}: {text}"),
                    None => writeln!(&stream, "error no-colon {line}"),
                };
            }
        }
    });
    let steps = format!("alice joins\nalice sends \"none\"\n{steps}");
    let transcript = played(&subject, since, version, &steps);
    let start = "\
server | listening on 127.0.0.1:8080
alice  * connects
alice  > alice
alice  > alice: am I in?
";
    assert!(transcript.starts_with(start), "{transcript}");
    transcript.lines().last().unwrap_or_default().to_string()
}

#[test]
fn lines_of_version_2_are_heard_in_its_conversations_only() {
    let hello = "alice sends \"alice: hello\"\nalice receives \"from alice: hello\"";
    let heard = "alice  < from alice: hello";
    assert_eq!(end("06-write", Version::Two, hello), heard);
    let seen = "alice  ! the line is `welcome alice`";
    assert_eq!(end("06-write", Version::One, hello), seen);
    let seen = "alice  ! the line is `error no-colon none`";
    assert_eq!(end("13-names", Version::Two, hello), seen);
    let passes_over = |start: &str| {
        let steps = format!("alice passes-over \"{start}\"\nalice sends \"none\"\n{hello}");
        end("13-names", Version::Two, &steps)
    };
    assert_eq!(passes_over("error "), heard);
    assert_eq!(passes_over("from "), seen);
}

#[test]
fn what_the_server_says_is_compared_by_its_first_words() {
    for (words, heard) in [
        ("error no-colon", "< error no-colon …  (2 times)"),
        ("error no", "! the line is `error no-colon none`"),
        ("error no-colon no", "! the line is `error no-colon none`"),
    ] {
        let steps = format!("alice sends \"none\"\nalice is-told \"{words}\" times=2");
        assert_eq!(
            end("13-names", Version::Two, &steps),
            format!("alice  {heard}")
        );
    }
}

#[test]
fn a_client_that_has_to_wait_holds_up_only_itself() {
    // The system accepts its connections, and no one reads.
    let (_listener, subject) = listener();
    for (then, end) in [
        ("alice leaves", "* closes the connection"),
        ("alice finishes within=1", "! the server does not read"),
        (
            "alice sends \"bob: and you?\" within=1",
            "! the server does not read",
        ),
    ] {
        let steps = format!(
            "alice connects
            alice sends \"bob: \" padded-to=8000000
            bob connects
            {then}"
        );
        let transcript = played(&subject, "06-write", Version::One, &steps);
        assert!(
            transcript.ends_with(&format!("alice  {end}\n")),
            "{transcript}"
        );
    }
}

#[test]
fn a_connection_that_stays_open_does_not_mean_that_there_can_be_another() {
    let (listener, subject) = listener();
    let (end, ended) = mpsc::channel();
    let server = thread::spawn(move || {
        // The first is the one that looks for the server.
        let _looked_for = listener.accept().unwrap();
        let _open = listener.accept().unwrap();
        drop(listener);
        ended.recv().unwrap();
    });
    let transcript = played(
        &subject,
        "09-shutdown",
        Version::One,
        "server refuses-connections",
    );
    end.send(()).unwrap();
    server.join().unwrap();
    assert!(
        transcript.ends_with("* refuses connections\n"),
        "{transcript}"
    );
}

#[test]
fn a_server_that_reads_little_by_little_gets_no_more_time() {
    let (listener, subject) = listener();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut buffer = [0; 16 * 1024];
            while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
                // This server's only task is to be slow.
                thread::sleep(Duration::from_millis(20));
            }
        }
    });
    let steps = "alice connects\nalice sends \"bob: \" padded-to=8000000 within=1";
    let transcript = played(&subject, "06-write", Version::One, steps);
    assert!(
        transcript.ends_with("! the server does not read\n"),
        "{transcript}"
    );
}
