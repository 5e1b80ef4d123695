//! What the servers from chapter 09 on do about hostile clients, where no conversation can show it: the
//! operating system is asked, or one client in a crowd does not know its turn, or
//! nobody knows how far things have come when the server is told to stop, or it takes thousands of clients,
//! hundreds of megabytes, or processes that are killed.
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use examiner::{
    conversation::Conditions,
    process::{Server, Signal, Subject, raise_descriptor_limit},
    stages,
};
use socket2::SockRef;

/// How long an event is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a server may take to stop: until its deadline, and what a busy machine takes.
const STOP: Duration = Duration::from_secs(15);

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

fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let client = TcpStream::connect(addr)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    Ok(client)
}

/// Logs in, so that all is done that is done at the start of a connection.
fn log_in(addr: SocketAddr, name: &str) -> io::Result<BufReader<TcpStream>> {
    let mut client = connect(addr)?;
    client.write_all(format!("{name}\n").as_bytes())?;
    let mut client = BufReader::new(client);
    expect(&mut client, &format!("welcome {name}\n"))?;
    Ok(client)
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
        let alice = log_in(server.addr(), "alice").unwrap().into_inner();
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
        let mut alice = log_in(server.addr(), "alice").unwrap().into_inner();
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
    let crowd: Vec<TcpStream> = (0..crowd)
        .map(|_| connect(server.addr()).unwrap())
        .collect();
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
        let _crowd: Vec<TcpStream> = (0..60).map(|_| connect(server.addr()).unwrap()).collect();
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
                    log_in(server.addr(), &format!("from{n}"))
                        .unwrap()
                        .into_inner(),
                    log_in(server.addr(), &format!("to{n}"))
                        .unwrap()
                        .into_inner(),
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
            let wanted = |number| format!("from from{n}: {number}");
            for lines in [&to_itself, &to_the_other] {
                let wrong = lines
                    .iter()
                    .zip(0..)
                    .find(|(line, number)| **line != wanted(*number));
                assert_eq!(wrong, None, "{name}");
            }
            assert_eq!(to_itself.len(), to_the_other.len(), "{name}");
        }
        drop(clients);
        let status = server.wait(PATIENCE).expect(name);
        assert_eq!(status.code(), Some(0), "{name}");
    }
}

/// What strangers do to a server, in so many steps. Between two steps, a pair converses.
struct Scenario {
    name: &'static str,
    /// Takes the first step, the second, and so on. Whoever is connected leaves when this is dropped.
    strangers: fn(SocketAddr) -> io::Result<Strangers>,
    steps: usize,
    options: &'static str,
    descriptors: Option<u32>,
    /// How much more memory the server may need, in megabytes.
    memory: u64,
    /// The options of a server that is told to stop after half of the steps.
    options_to_stop: &'static str,
    /// How it ends.
    status: i32,
}

type Strangers = Box<dyn FnMut(usize) -> io::Result<()>>;

impl Scenario {
    const fn new(
        name: &'static str,
        strangers: fn(SocketAddr) -> io::Result<Strangers>,
        steps: usize,
    ) -> Scenario {
        Scenario {
            name,
            strangers,
            steps,
            options: "",
            descriptors: None,
            memory: 6,
            options_to_stop: "",
            status: 0,
        }
    }
}

const SCENARIOS: [Scenario; 10] = [
    Scenario::new("resets in a loop", reset_in_a_loop, 300),
    Scenario {
        descriptors: Some(32),
        options_to_stop: "--login-timeout 60",
        ..Scenario::new("no descriptor is left", take_all_descriptors, 80)
    },
    Scenario::new("300 MB without a line feed", send_no_line_feed, 300),
    Scenario {
        options: "--max-line 65536",
        options_to_stop: "--max-line 65536",
        ..Scenario::new("64 KB of one name", repeat_one_name, 20)
    },
    Scenario::new("no text", send_no_text, 120),
    Scenario::new("512 names that nobody has", write_to_nobody, 3),
    Scenario {
        // Whoever waits for it waits for longer than the pair does.
        options: "--max-line 500000 --grace 60",
        options_to_stop: "--max-line 500000 --grace 60 --drain-timeout 2",
        status: 2,
        ..Scenario::new("a client that never reads", never_read, 64)
    },
    Scenario {
        options: "--login-timeout 3",
        memory: 12,
        options_to_stop: "--login-timeout 60",
        ..Scenario::new("1,000 logins that never come", never_log_in, 2000)
    },
    Scenario::new("1,000 reconnects under one name", reconnect, 1000),
    Scenario::new("clients that are killed", be_killed, 12),
];

fn reset_in_a_loop(addr: SocketAddr) -> io::Result<Strangers> {
    Ok(Box::new(move |step| {
        let mut client = TcpStream::connect(addr)?;
        let lines = format!("mallory-{step}\nnobody: hello\nann");
        let sent = [0, 4, lines.len()][step % 3];
        client.write_all(&lines.as_bytes()[..sent])?;
        reset(&client)
    }))
}

fn reset(client: &TcpStream) -> io::Result<()> {
    SockRef::from(client).set_linger(Some(Duration::ZERO))
}

fn take_all_descriptors(addr: SocketAddr) -> io::Result<Strangers> {
    let mut clients = Vec::new();
    Ok(Box::new(move |_| {
        clients.push(TcpStream::connect(addr)?);
        Ok(())
    }))
}

/// A megabyte a step. The server closes the connection of whoever sends such a line, so they are many;
/// every other one logs in before.
fn send_no_line_feed(addr: SocketAddr) -> io::Result<Strangers> {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    let text = vec![b'x'; 1_000_000];
    let mut connected = 0;
    let mut client = log_in(addr, "mallory-0")?.into_inner();
    Ok(Box::new(move |_| {
        let mut rest = &text[..];
        while !rest.is_empty() {
            match client.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset) => {
                    connected += 1;
                    client = match connected % 2 {
                        0 => log_in(addr, &format!("mallory-{connected}"))?.into_inner(),
                        _ => connect(addr)?,
                    };
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }))
}

fn repeat_one_name(addr: SocketAddr) -> io::Result<Strangers> {
    let mut mallory = log_in(addr, "mallory")?;
    Ok(Box::new(move |step| {
        let line = "mallory,".repeat(8191) + &format!(": {step}\n");
        mallory.get_mut().write_all(line.as_bytes())?;
        // A second copy would come in the place of the next line.
        expect(&mut mallory, &format!("from mallory: {step}\n"))
    }))
}

fn send_no_text(addr: SocketAddr) -> io::Result<Strangers> {
    const LINES: [(&[u8], &str); 6] = [
        (b"\xff\n", "error bad-utf8 "),
        (b"ann: \xc3\n", "error bad-utf8 "),
        (b"ann: \x1b[2J\n", "error bad-line "),
        (b"ben: \0\n", "error bad-line "),
        (b"ben: one\rtwo\n", "error bad-line "),
        (b"ben: \xc2\x9b2J\n", "error bad-line "),
    ];
    let mut mallory = log_in(addr, "mallory")?;
    Ok(Box::new(move |step| {
        let (line, answer) = LINES[step % LINES.len()];
        mallory.get_mut().write_all(line)?;
        expect(&mut mallory, answer)
    }))
}

/// Each line has other destinations than the one before, and each destination gets an error. Much comes
/// before that, so that the system keeps much for the connection.
fn write_to_nobody(addr: SocketAddr) -> io::Result<Strangers> {
    const NAMES: usize = 512;
    const LINES: usize = 600;
    let names = |prefix| (0..NAMES).map(move |n| format!("{prefix}{n:012}"));
    let line = |prefix| names(prefix).collect::<Vec<_>>().join(",") + ":\n";
    let lines = (line('x') + &line('y')).repeat(LINES / 2);
    let errors = "error unknown-peer x000000000000\n".len() * NAMES * LINES;
    let text = format!("mallory: {}\n", "x".repeat(8000)).repeat(LINES);
    let copies = text.len() + "from ".len() * LINES;
    let mallory = log_in(addr, "mallory")?.into_inner();
    Ok(Box::new(move |step| {
        let (lines, answers) = match step {
            0 => (&text, copies),
            _ => (&lines, errors),
        };
        let (mut writer, reader) = (&mallory, &mallory);
        thread::scope(|scope| {
            let writes = scope.spawn(|| writer.write_all(lines.as_bytes()));
            let read = io::copy(&mut reader.take(answers as u64), &mut io::sink());
            writes.join().expect("it does not panic")?;
            ensure(read? == answers as u64, || "not all has come".into())
        })
    }))
}

/// Another client writes to it, a megabyte a step, until it has to wait.
fn never_read(addr: SocketAddr) -> io::Result<Strangers> {
    const SMALL: usize = 64 * 1024;
    /// In this time, a server that takes up more has taken up some.
    const WAIT: Duration = Duration::from_millis(100);
    let mallory = log_in(addr, "mallory")?;
    SockRef::from(mallory.get_ref()).set_recv_buffer_size(SMALL)?;
    let mut writer = log_in(addr, "writer")?;
    // Whoever reads the copy knows that the line has been taken up. It is more than the sockets hold.
    let line = format!("mallory, writer: {}\n", "x".repeat(400_000));
    writer.get_mut().write_all(line.as_bytes())?;
    expect(&mut writer, "from writer: x")?;
    let lines = format!("mallory: {}\n", "x".repeat(990)).repeat(1000);
    writer.get_ref().set_write_timeout(Some(WAIT))?;
    let mut waits = false;
    Ok(Box::new(move |_| {
        let _reads_nothing = &mallory;
        if !waits {
            waits = match writer.get_mut().write_all(lines.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
                written => written.map(|()| false)?,
            };
        }
        Ok(())
    }))
}

fn never_log_in(addr: SocketAddr) -> io::Result<Strangers> {
    let mut clients = Vec::new();
    Ok(Box::new(move |step| {
        if step < 1000 {
            let mut client = connect(addr)?;
            client.write_all(&b"mallory"[..step % 8])?;
            clients.push(BufReader::new(client));
            return Ok(());
        }
        let client = &mut clients[step - 1000];
        expect(client, "error login-timeout ")?;
        expect(client, "")
    }))
}

fn reconnect(addr: SocketAddr) -> io::Result<Strangers> {
    let mut mallory: Option<BufReader<TcpStream>> = None;
    Ok(Box::new(move |step| {
        if let Some(mallory) = mallory.take()
            && step % 2 == 0
        {
            reset(mallory.get_ref())?;
        }
        mallory = Some(log_in(addr, "mallory")?);
        Ok(())
    }))
}

/// Each has the same name, so the server must have forgotten the one before.
fn be_killed(addr: SocketAddr) -> io::Result<Strangers> {
    struct Client(Child);
    impl Drop for Client {
        fn drop(&mut self) {
            // It may have ended by itself.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let program = stages::build().unwrap().program("08-client").unwrap();
    let mut client = None;
    Ok(Box::new(move |_| {
        drop(client.take());
        let mallory = Command::new(program)
            .args([&addr.to_string(), "mallory"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let Client(mallory) = client.insert(Client(mallory));
        let stdout = mallory.stdout.as_mut().unwrap();
        expect(&mut BufReader::new(stdout), "welcome mallory\n")?;
        mallory
            .stdin
            .as_mut()
            .unwrap()
            .write_all(b"nobody: hello\n")
    }))
}

/// Reads a line that begins so, or, if this is nothing, the end.
fn expect(client: &mut impl BufRead, beginning: &str) -> io::Result<()> {
    let mut line = String::new();
    let vain = |error| io::Error::other(format!("`{beginning}` is awaited in vain: {error}"));
    client.read_line(&mut line).map_err(vain)?;
    ensure(
        line.starts_with(beginning) && line.is_empty() == beginning.is_empty(),
        || {
            format!(
                "instead of `{}` comes `{}`",
                beginning.trim_end(),
                line.trim_end()
            )
        },
    )
}

fn ensure(holds: bool, or_else: impl FnOnce() -> String) -> io::Result<()> {
    match holds {
        true => Ok(()),
        false => Err(io::Error::other(or_else())),
    }
}

/// Two who converse, and get nothing that is not from the other one.
struct Pair {
    ann: BufReader<TcpStream>,
    ben: BufReader<TcpStream>,
    said: usize,
}

impl Pair {
    fn log_in(addr: SocketAddr) -> io::Result<Pair> {
        Ok(Pair {
            ann: log_in(addr, "ann")?,
            ben: log_in(addr, "ben")?,
            said: 0,
        })
    }

    fn converse(&mut self) -> io::Result<()> {
        let Pair { ann, ben, said } = self;
        ann.get_mut()
            .write_all(format!("ben: {said}\n").as_bytes())?;
        expect(ben, &format!("from ann: {said}\n"))?;
        ben.get_mut()
            .write_all(format!("ann: {said}\n").as_bytes())?;
        expect(ann, &format!("from ben: {said}\n"))?;
        *said += 1;
        Ok(())
    }

    /// What was taken up of Ann's last lines has come in order, and the last that both get is the notice.
    fn hear_of_the_stop(mut self) -> io::Result<()> {
        const NOTICE: &str = "error server-stopping ";
        for number in 0.. {
            if self.ben.fill_buf()?.starts_with(b"e") {
                break;
            }
            expect(&mut self.ben, &format!("from ann: {number}\n"))?;
        }
        for mut client in [self.ann, self.ben] {
            expect(&mut client, NOTICE)?;
            expect(&mut client, "")?;
        }
        Ok(())
    }
}

/// Calls `play` for each scenario with each server that can face it, all at once.
fn play_all(
    options: impl Fn(&Scenario) -> &'static str,
    play: impl Fn(&Scenario, &mut Server) -> io::Result<()> + Sync,
) {
    // The servers have as many as we.
    raise_descriptor_limit(None);
    let (stages, play) = (stages::build().unwrap(), &play);
    thread::scope(|scope| {
        for name in stages.servers() {
            for scenario in SCENARIOS.iter().filter(|_| name >= "12-throughput") {
                let conditions = Conditions {
                    descriptors: scenario.descriptors,
                    options: options(scenario)
                        .split_whitespace()
                        .map(Into::into)
                        .collect(),
                };
                scope.spawn(move || {
                    let program = stages.program(name).unwrap();
                    let mut server = Subject::from(program).start(&conditions).unwrap();
                    play(scenario, &mut server)
                        .unwrap_or_else(|error| panic!("{name}, {}: {error}", scenario.name));
                });
            }
        }
    });
}

#[test]
fn whatever_strangers_do_a_pair_loses_nothing_and_the_server_keeps_nothing() {
    let options = |scenario: &Scenario| scenario.options;
    play_all(options, |scenario, server| {
        let mut pair = Pair::log_in(server.addr())?;
        let descriptors = server.descriptors();
        let mut strangers = (scenario.strangers)(server.addr())?;
        for step in 0..scenario.steps {
            strangers(step)?;
            pair.converse()?;
        }
        drop(strangers);
        let deadline = Instant::now() + PATIENCE;
        while server.descriptors() > descriptors {
            let kept = || "the connections of those who have left are kept".to_string();
            ensure(Instant::now() < deadline, kept)?;
            pair.converse()?;
        }
        log_in(server.addr(), "mallory")?;
        let grown = server.grown().unwrap_or(u64::MAX);
        let has_grown = || format!("it has grown by {grown} MB");
        ensure(grown <= scenario.memory, has_grown)
    });
}

#[test]
fn whatever_strangers_do_a_server_stops_in_time() {
    let options = |scenario: &Scenario| scenario.options_to_stop;
    play_all(options, |scenario, server| {
        let mut pair = Pair::log_in(server.addr())?;
        let mut strangers = (scenario.strangers)(server.addr())?;
        let middle = scenario.steps / 2;
        for step in 0..middle {
            strangers(step)?;
            pair.converse()?;
        }
        pair.ann.get_mut().write_all(b"ben: 0\nben: 1\nben: 2\n")?;
        server.signal(Signal::Interrupt).map_err(io::Error::other)?;
        // A step fails when the server has stopped; whoever is connected then stays.
        let _ = (middle..scenario.steps).try_for_each(&mut strangers);
        pair.hear_of_the_stop()?;
        let status = server.wait(STOP).map_err(io::Error::other)?;
        ensure(status.code() == Some(scenario.status), || {
            status.to_string()
        })
    });
}
