//! What servers do about hostile clients, where no conversation can show it: the operating system is asked,
//! or nobody knows which client of a crowd is turned away, or how far things have come when the server is
//! told to stop. [`strangers`] is about thousands of clients, hundreds of megabytes and killed processes.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use examiner::{
    process::{Server, Signal},
    stages::Program,
};
use libtest_mimic::Trial;

use crate::common::{Book, PATIENCE, Result, connect, each, expect, log_in, start, start_with};

mod strangers;

pub(crate) fn trials(book: Book) -> Result<Vec<Trial>> {
    let with_notice = book.servers_with("the-notice-comes-last")?;
    let mut trials = strangers::trials(&with_notice);
    trials.extend(each!(&with_notice;
        a_stop_in_the_middle_of_traffic_delivers_whole_messages_and_the_notice_last,
    ));
    trials.extend(each!(&book.servers_with("line-length-is-limited")?;
        a_silent_peer_is_asked_for_a_sign_of_life_after_a_minute,
        at_most_a_hundred_at_a_time_are_told_that_the_server_is_full,
        that_descriptors_ran_out_is_reported_once,
    ));
    Ok(trials)
}

/// The timer that the kernel runs for a connection, and how long it still runs, in hundredths of a second.
fn timer(local: SocketAddr, remote: SocketAddr) -> Option<(String, u64)> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let ends = [local, remote].map(|addr| format!("0100007F:{:04X}", addr.port()));
    let mut rows = table
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.len() > 5 && row[1..3] == ends)?;
    let (kind, when) = row[5].split_once(':')?;
    Some((kind.to_string(), u64::from_str_radix(when, 16).ok()?))
}

fn a_silent_peer_is_asked_for_a_sign_of_life_after_a_minute(server: &Program) {
    const KEEPALIVE: &str = "02";
    let server = start(server);
    let alice = log_in(server.addr(), "alice").unwrap().into_inner();
    let deadline = Instant::now() + PATIENCE;
    let when = loop {
        let timer = timer(server.addr(), alice.local_addr().unwrap());
        let (kind, when) = timer.unwrap();
        if kind == KEEPALIVE {
            break when;
        }
        // Until the welcome is acknowledged, another timer runs.
        assert!(Instant::now() < deadline, "the timer is {kind}");
        thread::yield_now();
    };
    assert!((1..=6000).contains(&when), "{when}");
}

fn at_most_a_hundred_at_a_time_are_told_that_the_server_is_full(server: &Program) {
    const CROWD: usize = 150;
    // The server waits a second for a client that does not go. If this machine stands still for as long
    // while the crowd connects, there is room for all of them.
    const TRIES: usize = 10;
    let server = start_with("--max-connections 1", None, server);
    let mut alice = log_in(server.addr(), "alice").unwrap();
    let found = (0..TRIES).any(|_| {
        let (told, not_told) = turned_away(&server, CROWD);
        assert_eq!(told + not_told, CROWD);
        assert!(told >= 100, "{told}");
        not_told > 0
    });
    assert!(found, "every client of the crowd is told");
    alice.get_mut().write_all(b"alice: still here\n").unwrap();
    expect(&mut alice, "from alice: still here\n").unwrap();
}

/// How many of a crowd are told that the server is full, and how many are closed without a word.
fn turned_away(server: &Server, crowd: usize) -> (usize, usize) {
    let crowd = (0..crowd).map(|_| connect(server.addr()).unwrap());
    let mut crowd: Vec<TcpStream> = crowd.collect();
    let answers = crowd.iter_mut().map(|client| {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    });
    let answers: Vec<String> = answers.collect();
    let count = |is: fn(&str) -> bool| answers.iter().filter(|answer| is(answer)).count();
    let told = count(|answer| answer.starts_with("error server-full ") && answer.ends_with('\n'));
    (told, count(str::is_empty))
}

fn that_descriptors_ran_out_is_reported_once(server: &Program) {
    const REPORT: &str = "error: cannot accept for now: Too many open files (os error 24)";
    let mut server = start_with("", Some(40), server);
    let crowd = (0..60).map(|_| connect(server.addr()).unwrap());
    let _crowd: Vec<TcpStream> = crowd.collect();
    server.reports(REPORT, Instant::now() + PATIENCE).unwrap();
    // In this time it tries ten times.
    server.wait(Duration::from_secs(1)).unwrap_err();
    let again = server.reports(REPORT, Instant::now());
    assert!(again.is_err(), "it is reported again");
}

/// Four clients write to themselves and to another client as fast as they can when the server is told to
/// stop. What it accepts reaches both, and nothing comes after the notice.
fn a_stop_in_the_middle_of_traffic_delivers_whole_messages_and_the_notice_last(server: &Program) {
    const PAIRS: usize = 4;
    const BEFORE_THE_STOP: usize = 100;
    let mut server = start(server);
    let log_in = |name: String| log_in(server.addr(), &name).unwrap().into_inner();
    let pairs = (0..PAIRS).map(|n| [log_in(format!("from{n}")), log_in(format!("to{n}"))]);
    let pairs: Vec<[TcpStream; 2]> = pairs.collect();
    let (under_way, all_under_way) = mpsc::channel();
    let stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        for (n, pair) in pairs.iter().enumerate() {
            let (mut sender, stopped) = (&pair[0], &stopped);
            scope.spawn(move || {
                let mut lines = (0..).map(|number| writeln!(sender, "from{n}, to{n}: {number}"));
                while !stopped.load(Ordering::Relaxed) && lines.next().is_some_and(|l| l.is_ok()) {}
            });
        }
        let read = |client| {
            let mut lines = BufReader::new(client).lines().map(|line| line.unwrap());
            let mut received: Vec<String> = lines.by_ref().take(BEFORE_THE_STOP).collect();
            under_way.send(()).unwrap();
            received.extend(lines);
            received
        };
        let readers = pairs.iter().map(|pair| {
            pair.each_ref()
                .map(|client| scope.spawn(move || read(client)))
        });
        let readers: Vec<[_; 2]> = readers.collect();
        for _ in 0..2 * PAIRS {
            all_under_way.recv_timeout(PATIENCE).unwrap();
        }
        server.signal(Signal::Interrupt).unwrap();
        stopped.store(true, Ordering::Relaxed);
        for (n, both) in readers.into_iter().enumerate() {
            let [to_itself, to_the_other] = both.map(|reader| {
                let mut lines = reader.join().unwrap();
                let notice = lines.pop().unwrap();
                assert!(notice.starts_with("error server-stopping "), "{notice}");
                for (line, number) in lines.iter().zip(0..) {
                    assert_eq!(*line, format!("from from{n}: {number}"));
                }
                lines.len()
            });
            assert_eq!(to_itself, to_the_other);
        }
    });
    drop(pairs);
    assert_eq!(server.wait(PATIENCE).unwrap().code(), Some(0));
}
