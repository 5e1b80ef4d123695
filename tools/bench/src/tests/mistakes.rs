//! A server with one mistake, and what the bench says of it.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use examiner::process::Subject;

use super::{PATIENCE, Small, failures, measured};
use crate::{cmd::measure::Competitor, report::files};

/// A message, and the line in which its recipient has to receive it.
struct Message<'a> {
    from: &'a str,
    to: &'a str,
    line: &'a str,
}

/// Writes a text to a client, or closes its connection.
type Write<'a> = &'a dyn Fn(&str, Option<&str>);

/// What a server does with its hundredth message.
trait Mistake: Fn(Message, Write) + Copy + Send + 'static {}

impl<F: Fn(Message, Write) + Copy + Send + 'static> Mistake for F {}

/// It makes this of the line.
fn edits(edit: fn(&str) -> String) -> impl Mistake {
    move |m: Message, write: Write| write(m.to, Some(&edit(m.line)))
}

/// Starts a server. It is as plain as can be, a thread for each connection, and ends with this process.
fn server(mistake: impl Mistake) -> Competitor {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let peers = Arc::default();
        for stream in listener.incoming().flatten() {
            let peers = Arc::clone(&peers);
            thread::spawn(move || serve(mistake, stream, &peers));
        }
    });
    Competitor {
        name: addr.to_string(),
        subject: Subject::Addr(addr),
        options: Vec::new(),
    }
}

fn serve(
    mistake: impl Mistake,
    stream: TcpStream,
    peers: &Mutex<HashMap<String, TcpStream>>,
) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let from = &lines.next()?.ok()?;
    peers.lock().unwrap().insert(from.clone(), stream);
    let write = |to: &str, text: Option<&str>| {
        let mut peer = &peers.lock().unwrap()[to];
        // The client may have left, because it has seen the mistake.
        let _ = match text {
            Some(text) => peer.write_all(text.as_bytes()),
            None => peer.shutdown(Shutdown::Both),
        };
    };
    for line in lines {
        let line = line.ok()?;
        let (to, text) = line.split_once(": ")?;
        let line = &format!("from {from}: {text}\n");
        match text.starts_with("0000000100") {
            true => mistake(Message { from, to, line }, &write),
            false => write(to, Some(line)),
        }
    }
    Some(())
}

const PAIR: Small = ("pairs-1", |run| run.pairs(1, 1_000));
const FAN_IN: Small = ("fan-in", |run| run.fan_in(3, 1_000));

/// What the bench says of a server with this mistake, if it says anything. Which of several senders it finds
/// first is a matter of chance.
fn judged(mistake: impl Mistake, small: Small, patience: Duration) -> Option<String> {
    let out = tempfile::tempdir().unwrap();
    let failures = failures(&measured(&[server(mistake)], small, patience, out.path()));
    let [failure] = failures.as_slice() else {
        return None;
    };
    Some(
        failure
            .replace("from a2", "from a1")
            .replace("from a3", "from a1"),
    )
}

#[test]
fn a_server_without_a_mistake_passes() {
    assert_eq!(judged(edits(str::to_string), PAIR, PATIENCE), None);
    assert_eq!(judged(edits(str::to_string), FAN_IN, PATIENCE), None);
    // Its own lines aren't messages.
    let speaks_for_itself = edits(|line| format!("error busy\n{line}"));
    assert_eq!(judged(speaks_for_itself, PAIR, PATIENCE), None);
}

#[test]
fn every_message_must_arrive_whole_once_and_in_order() {
    let lines = [100, 101].map(|n| format!("from a1: 0000000{n}abcdefghijklmnopqrstuvwxyzabcd\n"));
    let mistakes: [fn(&str) -> String; 8] = [
        // It loses the message, repeats it, or cuts off the end.
        |_| String::new(),
        |line| line.repeat(2),
        |line| line.replace("d\n", "\n"),
        // It swaps two, cuts off the start, changes letters, joins lines, or names another sender.
        |line| line.replace("100a", "101a") + line,
        |line| line[1..].to_string(),
        |line| line.replace('c', "C"),
        |line| line.trim_end().to_string(),
        |line| line.replace("a1", "b1"),
    ];
    for (place, mistake) in mistakes.into_iter().enumerate() {
        let written = mistake(&lines[0]) + &lines[1];
        let wrong = written
            .lines()
            .zip(lines.iter().map(|line| line.trim_end()));
        let (seen, wanted) = wrong
            .into_iter()
            .find(|(seen, wanted)| seen != wanted)
            .unwrap();
        let told = Some(format!("b1 has received `{seen}` instead of `{wanted}`"));
        assert_eq!(judged(edits(mistake), PAIR, PATIENCE), told);
        // Of several senders, each has its own order.
        if place < 3 {
            assert_eq!(judged(edits(mistake), FAN_IN, PATIENCE), told);
        }
    }
    let tells_the_sender_too = |m: Message, write: Write| {
        write(m.from, Some(m.line));
        write(m.to, Some(m.line));
    };
    let told = format!(
        "a1 has received `{}`, which no client wrote to it",
        lines[0].trim_end()
    );
    assert_eq!(judged(tells_the_sender_too, PAIR, PATIENCE), Some(told));
    let closes = |m: Message, write: Write| write(m.to, None);
    let told = "the server closed the connection of b1".to_string();
    assert_eq!(judged(closes, PAIR, PATIENCE), Some(told));
}

#[test]
fn what_is_lost_is_not_waited_for_without_end() {
    let loses_all_from_there = |_: Message, _: Write| loop {
        thread::park();
    };
    for small in [PAIR, FAN_IN] {
        let told = judged(loses_all_from_there, small, Duration::from_secs(1)).unwrap();
        let wanted = "nothing has arrived for 1 s; b1 waits for `from a1: 0000000100abcdef";
        assert!(told.starts_with(wanted), "{told}");
    }
}

#[test]
fn messages_that_a_slow_reader_does_not_get_are_lost_or_refused() {
    let out = tempfile::tempdir().unwrap();
    let refuses = |m: Message, write: Write| write(m.from, Some("error full\n"));
    let loses = edits(|_| String::new());
    let servers = [
        server(edits(str::to_string)),
        server(loses),
        server(refuses),
    ];
    let small: Small = ("slow-reader", |run| run.slow_reader(1_000));
    let report = measured(&servers, small, PATIENCE, out.path());
    for (server, wanted) in [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]].into_iter().enumerate() {
        let readings = report.measured[0].samples[server][0].as_ref().unwrap();
        let seen = ["refused messages", "lost messages"].map(|name| {
            let reading = readings.iter().find(|(metric, _)| metric.name == name);
            reading.unwrap().1
        });
        assert_eq!(seen, wanted);
    }
    // A single scenario has a plot for each number that says which server is the better one.
    files::write(&report, out.path()).unwrap();
    let svg = fs::read_to_string(out.path().join("bench.svg")).unwrap();
    for name in ["longest wait ms", "lost messages"] {
        assert!(svg.contains(&format!("slow-reader: {name}")), "{svg}");
    }
}
