//! What the servers from chapter 09 on do about hostile clients, where no conversation can show it: the
//! operating system is asked, or one client in a crowd does not know its turn, or
//! nobody knows how far things have come when the server is told to stop.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use companion::{
    conversation::Conditions,
    server::{Server, Signal, Subject},
    soak, stages,
};

/// How long an event is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Each server that has limits, started under these conditions.
fn servers(conditions: &Conditions) -> Vec<(&'static str, Server)> {
    let stages = stages::build().unwrap();
    let with_limits = |name: &&str| *name >= "09-limits";
    let servers = stages.servers().into_iter().filter(with_limits);
    servers
        .map(|name| {
            let program = stages.program(name).unwrap();
            (name, Subject::from(program).start(conditions).unwrap())
        })
        .collect()
}

fn connect(server: &Server) -> TcpStream {
    let client = TcpStream::connect(server.addr()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Logs in, so that all is done that is done at the start of a connection.
fn join(server: &Server, name: &str) -> TcpStream {
    let mut client = connect(server);
    client.write_all(format!("{name}\n").as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(&client).read_line(&mut line).unwrap();
    assert_eq!(line, format!("welcome {name}\n"));
    client
}

/// An address as the kernel's table has it.
fn in_hexadecimal(addr: SocketAddr) -> String {
    format!("0100007F:{:04X}", addr.port())
}

/// The timer that the kernel runs for a connection, and how long it still runs, in hundredths of a second.
fn timer(local: SocketAddr, remote: SocketAddr) -> Option<(String, u64)> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let ends = [in_hexadecimal(local), in_hexadecimal(remote)];
    let row = table
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>())
        .find(|row| row.get(1..3) == Some(&[ends[0].as_str(), ends[1].as_str()]))?;
    let (kind, when) = row.get(5)?.split_once(':')?;
    Some((kind.to_string(), u64::from_str_radix(when, 16).ok()?))
}

#[test]
fn a_silent_peer_is_asked_for_a_sign_of_life_after_a_minute() {
    const KEEPALIVE: &str = "02";
    for (name, server) in servers(&Conditions::default()) {
        let alice = join(&server, "alice");
        let deadline = Instant::now() + PATIENCE;
        // Until the welcome is acknowledged, another timer runs.
        let (kind, when) = loop {
            let timer = timer(server.addr(), alice.local_addr().unwrap());
            let (kind, when) = timer.expect(name);
            if kind == KEEPALIVE || Instant::now() > deadline {
                break (kind, when);
            }
            thread::yield_now();
        };
        assert_eq!(kind, KEEPALIVE, "{name}");
        assert!((1..=6000).contains(&when), "{name}: {when}");
    }
}

#[test]
fn at_most_a_hundred_at_a_time_are_told_that_the_server_is_full() {
    const CROWD: usize = 150;
    // A client that does not go is waited for, a second long. If this machine stands still for as long
    // while the crowd connects, there is room for all of them.
    const TRIES: usize = 10;
    let conditions = Conditions {
        options: vec!["--max-connections".into(), "1".into()],
        ..Conditions::default()
    };
    for (name, server) in servers(&conditions) {
        let mut alice = join(&server, "alice");
        let found = (0..TRIES).any(|_| {
            let (told, not_told) = turned_away(&server, CROWD);
            assert_eq!(told + not_told, CROWD, "{name}");
            assert!(told >= 100, "{name}: {told}");
            not_told > 0
        });
        assert!(found, "{name}: everybody is told");
        alice.write_all(b"alice: still here\n").unwrap();
        let mut line = String::new();
        BufReader::new(alice).read_line(&mut line).unwrap();
        assert_eq!(line, "from alice: still here\n", "{name}");
    }
}

/// How many of a crowd are told that the server is full, and how many are closed without a word.
fn turned_away(server: &Server, crowd: usize) -> (usize, usize) {
    let crowd: Vec<TcpStream> = (0..crowd).map(|_| connect(server)).collect();
    let answers: Vec<String> = crowd
        .iter()
        .map(|mut client| {
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            answer
        })
        .collect();
    let count = |is: fn(&str) -> bool| answers.iter().filter(|answer| is(answer)).count();
    let told = count(|answer| answer.starts_with("error server-full ") && answer.ends_with('\n'));
    (told, count(str::is_empty))
}

#[test]
fn that_descriptors_ran_out_is_reported_once() {
    const REPORT: &str = "error: cannot accept for now: Too many open files (os error 24)";
    let conditions = Conditions {
        descriptors: Some(40),
        ..Conditions::default()
    };
    for (name, mut server) in servers(&conditions) {
        let _crowd: Vec<TcpStream> = (0..60).map(|_| connect(&server)).collect();
        server
            .reports(REPORT, Instant::now() + PATIENCE)
            .expect(name);
        // In this time it tries ten times.
        server.wait(Duration::from_secs(1)).expect_err(name);
        let again = server.reports(REPORT, Instant::now());
        assert!(again.is_err(), "{name}: it is reported again");
    }
}

/// Four clients write to themselves and to somebody else as fast as they can when the server is told to
/// stop. Whatever it takes up reaches both, and nothing comes after the notice.
#[test]
fn a_stop_in_the_middle_of_traffic_delivers_whole_messages_and_the_notice_last() {
    const PAIRS: usize = 4;
    const BEFORE_THE_STOP: usize = 100;
    for (name, mut server) in servers(&Conditions::default()) {
        if name < "11-drain" {
            continue;
        }
        let clients: Vec<[TcpStream; 2]> = (0..PAIRS)
            .map(|n| {
                [
                    join(&server, &format!("from{n}")),
                    join(&server, &format!("to{n}")),
                ]
            })
            .collect();
        let (under_way, all_under_way) = mpsc::channel();
        let stopped = Arc::new(AtomicBool::new(false));
        let readers: Vec<[_; 2]> = (0..)
            .zip(&clients)
            .map(|(n, [sender, receiver])| {
                let (mut writer, stopped) = (sender.try_clone().unwrap(), Arc::clone(&stopped));
                thread::spawn(move || {
                    for number in 0.. {
                        let line = writeln!(writer, "from{n}, to{n}: {number}");
                        if line.is_err() || stopped.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                });
                [sender, receiver].map(|client| {
                    let client = client.try_clone().unwrap();
                    let under_way = under_way.clone();
                    thread::spawn(move || {
                        let mut lines = BufReader::new(client).lines().map(Result::unwrap);
                        let mut received: Vec<_> = lines.by_ref().take(BEFORE_THE_STOP).collect();
                        under_way.send(()).unwrap();
                        received.extend(lines);
                        received
                    })
                })
            })
            .collect();
        for _ in 0..2 * PAIRS {
            all_under_way.recv_timeout(PATIENCE).expect(name);
        }
        server.signal(Signal::Interrupt).unwrap();
        stopped.store(true, Ordering::Relaxed);
        for (n, both) in readers.into_iter().enumerate() {
            let [to_itself, to_the_other] = both.map(|reader| {
                let mut lines = reader.join().unwrap();
                let notice = lines.pop().unwrap();
                assert!(
                    notice.starts_with("error server-stopping "),
                    "{name}: {notice}"
                );
                lines
            });
            let wanted: Vec<_> = (0..to_itself.len())
                .map(|number| format!("from from{n}: {number}"))
                .collect();
            assert_eq!(to_itself, wanted, "{name}");
            assert_eq!(to_the_other, wanted, "{name}");
        }
        drop(clients);
        let status = server.wait(PATIENCE).expect(name);
        assert_eq!(status.code(), Some(0), "{name}");
    }
}

/// What `cargo run --release -- soak` does for ten minutes, for a moment.
#[test]
fn nothing_is_kept_of_those_who_have_left() {
    let stages = stages::build().unwrap();
    thread::scope(|scope| {
        for name in stages.servers() {
            if name >= "11-drain" {
                scope.spawn(move || soak::soak(name, Duration::from_secs(2)).unwrap());
            }
        }
    });
}
