//! What strangers do to a server while a pair converses: the pair loses nothing, the server keeps nothing,
//! and it stops in time.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use examiner::{play, process::Signal, stages::Program};
use libtest_mimic::Trial;
use socket2::SockRef;

use crate::common::{PATIENCE, Programs, connect, each, executable, expect, log_in, start_with};

/// How long a server may take to stop: until its deadline, and what a busy machine takes.
const STOP: Duration = Duration::from_secs(15);

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

static SCENARIOS: [Scenario; 10] = [
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
        play::reset(&client)
    }))
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
            match read? == answers as u64 {
                true => Ok(()),
                false => Err(io::Error::other("not all has come")),
            }
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
            play::reset(mallory.get_ref())?;
        }
        mallory = Some(log_in(addr, "mallory")?);
        Ok(())
    }))
}

/// Each has the same name, so the server must have forgotten the one before.
fn be_killed(addr: SocketAddr) -> io::Result<Strangers> {
    let program = executable("13-client");
    Ok(Box::new(move |_| {
        let mut mallory = Command::new(program)
            .args([&addr.to_string(), "mallory"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = mallory.stdout.as_mut().expect("it is a pipe");
        let is_in = expect(&mut BufReader::new(stdout), "welcome mallory\n");
        let stdin = mallory.stdin.as_mut().expect("it is a pipe");
        let wrote = stdin.write_all(b"nobody: hello\n");
        mallory.kill()?;
        mallory.wait()?;
        is_in.and(wrote)
    }))
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

    /// Converses after each of so many steps of the strangers.
    fn meets(
        &mut self,
        scenario: &Scenario,
        addr: SocketAddr,
        steps: usize,
    ) -> io::Result<Strangers> {
        let mut strangers = (scenario.strangers)(addr)?;
        for step in 0..steps {
            strangers(step)?;
            self.converse()?;
        }
        Ok(strangers)
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

type Case = (&'static Program, &'static Scenario);

/// Strangers take their time, so only the latest servers face them: the program, and the library.
pub(crate) fn trials(servers: &Programs) -> Vec<Trial> {
    let cases = servers.iter().rev().take(2).flat_map(|(name, server)| {
        let cases = SCENARIOS.iter().map(move |scenario| (*server, scenario));
        cases.map(move |case| (format!("{name}, {}", case.1.name), case))
    });
    let cases: Vec<(String, Case)> = cases.collect();
    let trials = each!(&cases;
        a_pair_loses_nothing_and_the_server_keeps_nothing,
        a_server_stops_in_time,
    );
    trials.collect()
}

fn a_pair_loses_nothing_and_the_server_keeps_nothing((server, scenario): Case) {
    let server = start_with(scenario.options, scenario.descriptors, server);
    let mut pair = Pair::log_in(server.addr()).unwrap();
    let descriptors = server.descriptors();
    let strangers = pair.meets(scenario, server.addr(), scenario.steps).unwrap();
    drop(strangers);
    let deadline = Instant::now() + PATIENCE;
    while server.descriptors() > descriptors {
        assert!(
            Instant::now() < deadline,
            "connections of those who have left are kept"
        );
        pair.converse().unwrap();
    }
    log_in(server.addr(), "mallory").unwrap();
    let grown = server.grown().unwrap();
    assert!(grown <= scenario.memory, "it has grown by {grown} MB");
}

fn a_server_stops_in_time((server, scenario): Case) {
    let mut server = start_with(scenario.options_to_stop, scenario.descriptors, server);
    let mut pair = Pair::log_in(server.addr()).unwrap();
    let middle = scenario.steps / 2;
    let mut strangers = pair.meets(scenario, server.addr(), middle).unwrap();
    pair.ann
        .get_mut()
        .write_all(b"ben: 0\nben: 1\nben: 2\n")
        .unwrap();
    server.signal(Signal::Interrupt).unwrap();
    // A step fails when the server has stopped; whoever is connected then stays.
    let _ = (middle..scenario.steps).try_for_each(&mut strangers);
    pair.hear_of_the_stop().unwrap();
    let status = server.wait(STOP).unwrap();
    assert_eq!(status.code(), Some(scenario.status), "{status}");
}
