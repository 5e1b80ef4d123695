//! The engine that plays a [`Conversation`] against a real server over real sockets.

use std::{
    collections::HashMap,
    fmt::Write as _,
    io::{self, BufRead, ErrorKind, Read, Write},
    mem,
    net::{Shutdown, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::{
    conversation::{Action, Conversation, PATIENCE, Step, TRIES_TO_CONNECT},
    process::{Process, Server, Signal, Threads},
    shown::shown,
    stages::Version,
};

/// The longest line that is waited for, in bytes.
const LONGEST_LINE: usize = 1024 * 1024;

/// The size of a client's receive buffer, in bytes.
///
/// It decides, with [`SEGMENT`], how much a server can write to a client that does not read before its
/// write waits. Left to themselves, the buffers of loopback take 4.3 MB on Linux; so they take 160 KB of
/// a client that has only joined, and half a megabyte when it has read some 60 KB before. Conversations
/// in which a client does not read send it 800 KB, a hundred lines of 8,000 bytes, and let `server
/// catches-up` say when the write waits. A client that reads still gets more than 100 MB a second.
const RECEIVE_BUFFER: usize = 8 * 1024;

/// The most bytes that a client takes in one segment: what fits into a frame of Ethernet. A system sizes
/// the buffer that a server writes into by it, and those of loopback are 65,483 bytes.
#[cfg(unix)]
const SEGMENT: u32 = 1448;

/// How long a try to connect may take when the time is up: one that is refused is so at once.
const LAST_TRY: Duration = Duration::from_millis(100);

/// How long a first connection may stay open until it is tried whether there can be another; each further
/// one twice as long.
const STILL_OPEN: Duration = Duration::from_millis(20);

/// How long a conversation waits for a client that cannot send, because the server makes it wait.
const BESIDE: Duration = Duration::from_millis(100);

/// The most that a server uses of one processor while it idles.
const IDLE_PERCENT: f64 = 5.0;

/// How long none of a server's threads must run until it has done all that it can.
const AT_REST: Duration = Duration::from_millis(50);

/// How long to wait for that where the system does not tell what a process does.
const UNKNOWN_REST: Duration = Duration::from_secs(1);

/// Stands for the rounds of `repeat` after the first.
const ELLIPSIS: &str = "…\n";

/// How a conversation went.
#[derive(Debug)]
pub struct Outcome {
    /// The conversation as it went, line by line, with made-up port numbers so that two runs compare.
    pub transcript: String,
    /// Where and how the server fell short of it, if it did.
    pub shortfall: Option<Shortfall>,
}

/// The step at which a server did not do what a conversation expects.
#[derive(Debug)]
pub struct Shortfall {
    /// The step.
    pub step: Step,
    /// What should have been seen.
    pub expected: String,
    /// What was seen instead.
    pub seen: String,
}

/// What a step missed.
struct Missed {
    expected: String,
    seen: String,
}

fn missed(expected: impl Into<String>, seen: impl Into<String>) -> Missed {
    Missed {
        expected: expected.into(),
        seen: seen.into(),
    }
}

/// How long something is waited for.
#[derive(Clone, Copy)]
struct Wait {
    /// The time that there was from the beginning.
    within: Duration,
    deadline: Instant,
}

impl Wait {
    fn of(within: Duration) -> Wait {
        Wait {
            within,
            deadline: Instant::now() + within,
        }
    }

    fn left(self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// How a conversation is played.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// How long a step may take that does not say; [`PATIENCE`], if this does not say either.
    pub patience: Option<Duration>,
    /// The same for a step marked `proves`.
    pub proof: Option<Duration>,
    /// The version of the protocol that the server speaks. In a conversation of version 1, clients of
    /// a server of version 2 pass over all lines that are not `from NAME: TEXT`.
    pub version: Version,
    /// Lines that begin so are passed over, unless it is such a line that is expected: those of a
    /// server that says more than the conversation knows of.
    pub passed_over: Option<&'static str>,
}

/// Which lines a client passes over.
#[derive(Clone, Copy, Debug)]
struct PassedOver {
    /// Those that begin so.
    start: Option<&'static str>,
    /// All that come from no peer.
    all_but_messages: bool,
}

impl PassedOver {
    fn holds(self, line: &str) -> bool {
        self.start.is_some_and(|start| line.starts_with(start))
            || self.all_but_messages && !line.starts_with("from ")
    }
}

/// Plays a conversation against a server that was started for it.
pub fn play(conversation: &Conversation, server: &mut Server, rules: Rules) -> Outcome {
    let width = conversation
        .steps
        .iter()
        .map(|step| step.who.len())
        .chain(["server".len()])
        .max()
        .unwrap_or(0);
    let mut stage = Stage {
        server,
        clients: HashMap::new(),
        addrs: Vec::new(),
        passed_over: PassedOver {
            start: rules.passed_over,
            all_but_messages: rules.version == Version::Two && conversation.version == Version::One,
        },
        welcomes: rules.version == Version::Two && conversation.version == Version::Two,
        round: 1,
        transcript: String::new(),
        width,
    };
    stage.note("server", '|', "listening on 127.0.0.1:8080");
    for step in &conversation.steps {
        let proof = rules.proof.filter(|_| step.proves);
        let within = step.within.or(proof).or(rules.patience).unwrap_or(PATIENCE);
        stage.round = step.round.unwrap_or(1);
        if stage.round > 1 && !stage.transcript.ends_with(ELLIPSIS) {
            stage.transcript.push_str(ELLIPSIS);
        }
        if let Err(Missed { expected, seen }) = stage.take(step, within) {
            stage.round = 1;
            stage.note(&step.who, '!', &seen);
            let shortfall = Shortfall {
                step: step.clone(),
                expected: stage.with_shown_addrs(&expected),
                seen: stage.with_shown_addrs(&seen),
            };
            return Outcome {
                transcript: stage.transcript,
                shortfall: Some(shortfall),
            };
        }
    }
    Outcome {
        transcript: stage.transcript,
        shortfall: None,
    }
}

/// Breaks a connection off: the other end gets a reset, at once on Linux, elsewhere when the stream is
/// dropped.
///
/// # Errors
///
/// Those of the system.
pub fn reset(stream: &TcpStream) -> io::Result<()> {
    // A process that is being started has a copy of each of our sockets until its program runs, so closing
    // one may take some milliseconds to be seen. To dissolve the connection does not.
    #[cfg(target_os = "linux")]
    rustix::net::connect_unspec(stream)?;
    #[cfg(not(target_os = "linux"))]
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
    Ok(())
}

struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    passed_over: PassedOver,
    /// How lines begin that the conversation passes over.
    does_not_care_for: Vec<String>,
    addr: String,
    /// Tells how the sending has ended that goes on beside the conversation.
    sending: Option<mpsc::Receiver<Result<(), Missed>>>,
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.sending.is_some() {
            // Ends the thread that still sends. An error says that the server has closed already.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }
}

struct Stage<'a> {
    server: &'a mut Server,
    clients: HashMap<String, Client>,
    /// The addresses that the clients had, each with the one that the transcript shows.
    addrs: Vec<(String, String)>,
    passed_over: PassedOver,
    /// Whether a login is answered, and the conversation knows of it.
    welcomes: bool,
    round: usize,
    transcript: String,
    width: usize,
}

impl Stage<'_> {
    /// Adds a line to the transcript; of rounds that repeat, the first stands for all.
    fn note(&mut self, who: &str, mark: char, text: &str) {
        if self.round > 1 {
            return;
        }
        let width = self.width;
        let text = self.with_shown_addrs(text);
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.transcript,
            "{}",
            format!("{who:width$} {mark} {text}").trim_end()
        );
    }

    /// `text` with the addresses of the clients as the transcript shows them, the same in every run.
    fn with_shown_addrs(&self, text: &str) -> String {
        // One that is shown for a client may be the real one of another.
        let numbered = |number: usize| format!("\0{number}\0");
        let addrs = || self.addrs.iter().enumerate();
        let text = addrs().fold(text.to_string(), |text, (number, (addr, _))| {
            text.replace(addr, &numbered(number))
        });
        addrs().fold(text, |text, (number, (_, shown))| {
            text.replace(&numbered(number), shown)
        })
    }

    fn take(&mut self, step: &Step, within: Duration) -> Result<(), Missed> {
        let wait = Wait::of(within);
        let deadline = wait.deadline;
        let who = step.who.as_str();
        match &step.action {
            Action::Connects => {
                self.connect(who, within)?;
                self.note(who, '*', "connects");
            }
            Action::Joins => {
                let greeting = format!("from {who}: am I in?");
                self.connect(who, within)?;
                self.note(who, '*', "connects");
                let login = step.login();
                self.client(who)?.send(login.as_bytes(), false, deadline)?;
                for line in login.lines() {
                    self.note(who, '>', line);
                }
                let welcome = self.welcomes.then(|| format!("welcome {who}"));
                for line in welcome.into_iter().chain([greeting]) {
                    let line = self.client(who)?.expect_line(&line, Wait::of(within))?;
                    self.note(who, '<', &shown(line.as_bytes()));
                }
            }
            Action::Sends {
                bytes,
                times,
                each_byte,
                may_fail,
            } => {
                let client = self.client(who)?;
                let sent = client.wait_until_sent(deadline).and_then(|()| {
                    // Whoever may be cut off is to send all that the server takes first.
                    if *each_byte || *may_fail || step.within.is_some() {
                        return (0..*times)
                            .try_for_each(|_| client.send(bytes, *each_byte, deadline));
                    }
                    client.send_beside(bytes.repeat(*times))
                });
                match sent {
                    Err(error) if !may_fail => return Err(error),
                    _ => {}
                }
                self.note(who, '>', &counted(&shown(bytes), *times));
            }
            Action::Receives { line, times } => {
                let client = self.client(who)?;
                for _ in 0..*times {
                    client.expect_line(line, wait)?;
                }
                self.note(who, '<', &counted(&shown(line.as_bytes()), *times));
            }
            Action::IsTold { words, times } => {
                let client = self.client(who)?;
                let mut line = String::new();
                for _ in 0..*times {
                    line = client.expect_words(words, wait)?;
                }
                match times {
                    1 => self.note(who, '<', &shown(line.as_bytes())),
                    times => self.note(who, '<', &counted(&format!("{words} …"), *times)),
                }
            }
            Action::ReceivesAnything => match self.client(who)?.line(wait)? {
                Some(line) => self.note(who, '<', &shown(line.as_bytes())),
                None => return Err(missed("a line", "the connection ended")),
            },
            Action::PassesOver(start) => {
                self.client(who)?.does_not_care_for.push(start.clone());
                self.note(who, '*', &format!("passes over `{start}…`"));
            }
            Action::ReceivesMixed(series) => {
                let mut next = vec![0; series.len()];
                let total: usize = series.iter().map(Vec::len).sum();
                for _ in 0..total {
                    let Some(line) = self.client(who)?.line(wait)? else {
                        return Err(missed(format!("{total} lines"), "the connection ended"));
                    };
                    let found = series
                        .iter()
                        .zip(&next)
                        .position(|(lines, next)| lines.get(*next) == Some(&line));
                    match found {
                        Some(index) => next[index] += 1,
                        None => {
                            let wanted: Vec<&str> = series
                                .iter()
                                .zip(&next)
                                .filter_map(|(lines, next)| lines.get(*next).map(String::as_str))
                                .collect();
                            return Err(missed(
                                format!("one of `{}`", wanted.join("`, `")),
                                format!("the line is `{}`", shown(line.as_bytes())),
                            ));
                        }
                    }
                }
                self.note(
                    who,
                    '<',
                    &format!("{total} lines, those of each sender in order"),
                );
            }
            Action::Finishes => {
                let client = self.client(who)?;
                client.wait_until_sent(deadline)?;
                client
                    .stream
                    .shutdown(Shutdown::Write)
                    .map_err(|error| missed("to finish sending", error.to_string()))?;
                self.note(who, '*', "finishes sending");
            }
            Action::Leaves => {
                self.clients.remove(who);
                self.note(who, '*', "closes the connection");
            }
            Action::Resets => {
                if let Some(client) = self.clients.remove(who) {
                    reset(&client.stream).map_err(|error| missed("to reset", error.to_string()))?;
                }
                self.note(who, '*', "resets the connection");
            }
            Action::SeesEnd => match self.client(who)?.line(wait) {
                Ok(None) => {
                    self.note(who, '*', "sees the end of the connection");
                    // As most programs do, it closes its half too.
                    self.clients.remove(who);
                }
                Ok(Some(line)) => {
                    return Err(missed(
                        "the end of the connection",
                        format!("the line is `{}`", shown(line.as_bytes())),
                    ));
                }
                Err(Missed { seen, .. }) => return Err(missed("the end of the connection", seen)),
            },
            Action::Reports(line) => {
                let mut wanted = line.clone();
                for (name, client) in &self.clients {
                    wanted = wanted.replace(&format!("{{{name}}}"), &client.addr);
                }
                self.server.reports(&wanted, deadline).map_err(|seen| {
                    missed(format!("the server reports `{wanted}`"), seen.to_string())
                })?;
                self.note("server", '|', &wanted);
            }
            Action::GetsInterrupt => {
                self.signal(Signal::Interrupt)?;
                self.note("server", '*', "gets Ctrl-C");
            }
            Action::GetsTerminate => {
                self.signal(Signal::Terminate)?;
                self.note("server", '*', "gets SIGTERM");
            }
            Action::IsPaused => {
                self.signal(Signal::Pause)?;
                self.server.wait_until_paused(deadline);
                self.note("server", '*', "is paused");
            }
            Action::IsResumed => {
                self.signal(Signal::Resume)?;
                self.note("server", '*', "goes on");
            }
            Action::RefusesConnections => {
                if !self.refuses(deadline) {
                    return Err(missed("nobody can connect", "the server accepts"));
                }
                self.note("server", '*', "refuses connections");
            }
            Action::HasGrownLessThan(limit) => {
                let Some(grown) = self.server.grown() else {
                    return Err(missed("the server runs", "it has ended"));
                };
                if grown >= *limit {
                    return Err(missed(
                        format!("the server grows by less than {limit} MB"),
                        format!("it has grown by {limit} MB or more"),
                    ));
                }
                self.note("server", '*', &format!("has grown by less than {limit} MB"));
            }
            Action::KeepsRunning => {
                self.goes_on(within)?;
                self.note("server", '*', "keeps running");
            }
            Action::Idles => {
                let process = Process::new(self.server.id());
                let (before, start) = (process.threads(), Instant::now());
                self.goes_on(within)?;
                let (Some(before), Some(now)) = (before, process.threads()) else {
                    return Err(missed("the server runs", "it has ended"));
                };
                let percent = 100.0 * now.demand(&before, start.elapsed());
                if percent > IDLE_PERCENT {
                    return Err(missed(
                        format!("the server uses at most {IDLE_PERCENT} % of a processor"),
                        format!("it uses {percent:.0} %"),
                    ));
                }
                let seconds = within.as_secs();
                let idle = format!("uses at most {IDLE_PERCENT} % of a processor, for {seconds} s");
                self.note("server", '*', &idle);
            }
            Action::CatchesUp => {
                let process = Process::new(self.server.id());
                let mut before = process.threads();
                if before.is_none() {
                    // Nobody knows whether one that was not started for this has ended.
                    match self.server.id() {
                        Some(_) => self.goes_on(UNKNOWN_REST)?,
                        None => thread::sleep(UNKNOWN_REST),
                    }
                }
                while before.is_some() && Instant::now() < deadline {
                    self.goes_on(AT_REST)?;
                    let now = process.threads();
                    if now == before && now.as_ref().is_some_and(Threads::rest) {
                        break;
                    }
                    before = now;
                }
                self.note("server", '*', "catches up");
            }
            Action::Exits(wanted) => {
                let status = self.server.wait(within).map_err(|seen| {
                    missed("the server ends", format!("{seen}{}", self.and_listens()))
                })?;
                if status.code() != Some(*wanted) {
                    return Err(missed(
                        format!("exit status {wanted}"),
                        format!("it ended with {status}"),
                    ));
                }
                self.note("server", '*', &format!("ends with status {wanted}"));
            }
        }
        Ok(())
    }

    /// Tries to connect until nobody can any more, and says whether that came about in time.
    fn refuses(&self, deadline: Instant) -> bool {
        let mut open = STILL_OPEN;
        for _ in 0..TRIES_TO_CONNECT {
            let left = || {
                let left = deadline.saturating_duration_since(Instant::now());
                left.max(LAST_TRY)
            };
            let mut stream = match TcpStream::connect_timeout(&self.server.addr(), left()) {
                Ok(stream) => stream,
                // A listener that nobody accepts from any more lets a try time out; it is open.
                Err(error) => return error.kind() != ErrorKind::TimedOut,
            };
            // A listener that closes resets who was not accepted, and a server that stops closes who
            // was. So most tries end with an event, and the next one may come too early, but not often. One
            // that comes while the listener closes, Linux may forget without a word to the client.
            let read = stream
                .set_read_timeout(Some(left().min(open)))
                .and_then(|()| stream.read(&mut [0]));
            if read.is_err_and(|error| is_timeout(&error)) {
                open *= 2;
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        false
    }

    /// Waits so long, unless the server ends before.
    fn goes_on(&mut self, time: Duration) -> Result<(), Missed> {
        match self.server.wait(time) {
            Ok(status) => Err(missed(
                "the server goes on",
                format!("it ended with {status}"),
            )),
            Err(_) => Ok(()),
        }
    }

    /// What a server that does not end does meanwhile; it tells where it is stuck.
    fn and_listens(&self) -> &'static str {
        match TcpStream::connect_timeout(&self.server.addr(), LAST_TRY) {
            Ok(_) => " and takes connections",
            Err(_) => " and takes no connections",
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), Missed> {
        self.server
            .signal(signal)
            .map_err(|seen| missed("to signal the server", seen.to_string()))
    }

    fn connect(&mut self, who: &str, within: Duration) -> Result<(), Missed> {
        let refused = |error: io::Error| missed("to connect", error.to_string());
        let socket = Socket::new(Domain::for_address(self.server.addr()), Type::STREAM, None)
            .map_err(refused)?;
        // A client that does not read is felt soon, whatever the system's buffers are. For the large
        // segments of loopback, Linux gives a server megabytes to send from; not every system lets a
        // client choose others, nor needs it.
        #[cfg(unix)]
        let _ = socket.set_tcp_mss(SEGMENT);
        socket
            .set_recv_buffer_size(RECEIVE_BUFFER)
            .and_then(|()| socket.connect_timeout(&self.server.addr().into(), within))
            .map_err(refused)?;
        let stream = TcpStream::from(socket);
        // Every write is a packet of its own, so that `each-byte` means what it says.
        stream.set_nodelay(true).map_err(refused)?;
        let addr = stream.local_addr().map_err(refused)?.to_string();
        let shown = format!("127.0.0.1:{}", 50_001 + self.addrs.len());
        self.addrs.push((addr.clone(), shown));
        let client = Client {
            addr,
            stream,
            received: Vec::new(),
            passed_over: self.passed_over,
            does_not_care_for: Vec::new(),
            sending: None,
        };
        self.clients.insert(who.to_string(), client);
        Ok(())
    }

    fn client(&mut self, who: &str) -> Result<&mut Client, Missed> {
        self.clients
            .get_mut(who)
            .ok_or_else(|| missed("a client", format!("{who} has not connected")))
    }
}

impl Client {
    /// Sends this. If the server makes the client wait, the rest goes out beside the conversation.
    fn send_beside(&mut self, bytes: Vec<u8>) -> Result<(), Missed> {
        let sent = self.write_until(&bytes, Instant::now() + BESIDE)?;
        if sent < bytes.len() {
            let mut stream = self.stream.try_clone().map_err(not_sent)?;
            stream.set_write_timeout(None).map_err(not_sent)?;
            let (ended, sending) = mpsc::channel();
            self.sending = Some(sending);
            thread::spawn(move || {
                let written = stream.write_all(&bytes[sent..]).map_err(not_sent);
                // An error says that nobody waits for it.
                let _ = ended.send(written);
            });
        }
        Ok(())
    }

    /// Waits for what goes out beside the conversation.
    fn wait_until_sent(&mut self, deadline: Instant) -> Result<(), Missed> {
        let Some(sending) = &self.sending else {
            return Ok(());
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let ended = sending
            .recv_timeout(left)
            .map_err(|_| not_sent(ErrorKind::TimedOut.into()))?;
        self.sending = None;
        ended
    }

    fn send(&mut self, bytes: &[u8], each_byte: bool, deadline: Instant) -> Result<(), Missed> {
        let at_once = if each_byte { 1 } else { bytes.len().max(1) };
        for rest in bytes.chunks(at_once) {
            if self.write_until(rest, deadline)? < rest.len() {
                return Err(not_sent(ErrorKind::TimedOut.into()));
            }
        }
        Ok(())
    }

    /// Writes until the server makes the client wait for longer than that. Returns how much was written.
    fn write_until(&mut self, bytes: &[u8], deadline: Instant) -> Result<usize, Missed> {
        let mut written = 0;
        while written < bytes.len() {
            // A server that reads a little now and then does not get more time with each write.
            let left = deadline.saturating_duration_since(Instant::now());
            let more = self
                .stream
                .set_write_timeout(Some(left.max(Duration::from_millis(1))))
                .and_then(|()| self.stream.write(&bytes[written..]));
            match more {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => break,
                Err(error) => return Err(not_sent(error)),
            }
        }
        Ok(written)
    }

    /// The next line that is not passed over, or `None` at the end of the connection.
    fn line(&mut self, wait: Wait) -> Result<Option<String>, Missed> {
        loop {
            match self.any_line(wait)? {
                Some(line) if self.passed_over.holds(&line) => {}
                Some(line) if self.does_not_care_for.iter().any(|s| line.starts_with(s)) => {}
                line => return Ok(line),
            }
        }
    }

    /// The next line without its line ending, or `None` at the end of the connection.
    fn any_line(&mut self, wait: Wait) -> Result<Option<String>, Missed> {
        loop {
            // The standard library searches fast without optimisation, too.
            let mut rest = &self.received[..];
            let end = rest.skip_until(b'\n').unwrap_or_default();
            if self.received[..end].ends_with(b"\n") {
                let rest = self.received.split_off(end);
                let mut line = mem::replace(&mut self.received, rest);
                line.pop();
                return match String::from_utf8(line) {
                    Ok(line) => Ok(Some(line)),
                    Err(error) => Err(missed(
                        "a line in UTF-8",
                        format!("the line is `{}`", shown(error.as_bytes())),
                    )),
                };
            }
            let left = wait.left();
            if left.is_zero() {
                return Err(self.nothing(wait.within));
            }
            if self.received.len() > LONGEST_LINE {
                return Err(missed("a line", "the line does not end"));
            }
            let mut buffer = [0; 16 * 1024];
            let read = self
                .stream
                .set_read_timeout(Some(left))
                .and_then(|()| self.stream.read(&mut buffer));
            match read {
                Ok(0) if self.received.is_empty() => return Ok(None),
                Ok(0) => {
                    return Err(missed(
                        "a whole line",
                        format!("the connection ended after `{}`", shown(&self.received)),
                    ));
                }
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        return Err(self.nothing(wait.within));
                    }
                    ErrorKind::Interrupted => {}
                    // A server may close a connection on which it has not read everything; what a
                    // client sees then is a reset, and that is an end too.
                    ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
                        if self.received.is_empty() =>
                    {
                        return Ok(None);
                    }
                    _ => return Err(missed("a line", format!("the connection is lost: {error}"))),
                },
            }
        }
    }

    fn nothing(&self, within: Duration) -> Missed {
        let seconds = within.as_secs_f64().ceil();
        let seen = match self.received.is_empty() {
            true => format!("nothing comes within {seconds} s"),
            false => format!(
                "only `{}` comes within {seconds} s, without a line feed",
                shown(&self.received)
            ),
        };
        missed("a line", seen)
    }

    fn expect_line(&mut self, wanted: &str, wait: Wait) -> Result<String, Missed> {
        let line = match self.passed_over.holds(wanted) {
            true => self.any_line(wait),
            false => self.line(wait),
        };
        let expected = || format!("`{}`", shown(wanted.as_bytes()));
        expect(line, |line| line == wanted, expected)
    }

    /// Expects a line that begins with these words.
    fn expect_words(&mut self, words: &str, wait: Wait) -> Result<String, Missed> {
        let begins = |line: &str| {
            let rest = line.strip_prefix(words);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        expect(self.line(wait), begins, || format!("`{words} …`"))
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn not_sent(error: io::Error) -> Missed {
    let seen = match is_timeout(&error) {
        true => "the server does not read".to_string(),
        false => format!("the connection is lost: {error}"),
    };
    missed("to send", seen)
}

/// The line, if it is what is expected.
fn expect(
    line: Result<Option<String>, Missed>,
    fits: impl Fn(&str) -> bool,
    expected: impl FnOnce() -> String,
) -> Result<String, Missed> {
    let seen = match line {
        Ok(Some(line)) if fits(&line) => return Ok(line),
        Ok(Some(line)) => format!("the line is `{}`", shown(line.as_bytes())),
        Ok(None) => "the connection ended".to_string(),
        Err(Missed { seen, .. }) => seen,
    };
    Err(missed(expected(), seen))
}

fn counted(text: &str, times: usize) -> String {
    match times {
        1 => text.to_string(),
        times => format!("{text}  ({times} times)"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};
    use std::thread;

    use super::*;
    use crate::{
        conversation::{self, Conditions},
        process::Subject,
    };

    /// A server of version 2 with one peer at a time: it welcomes, echoes, and answers a mistake.
    fn version_2() -> Subject {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
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
        Subject::Addr(addr)
    }

    fn played(conversation: &str, version: Version) -> Outcome {
        let conversations = conversation::parse("test.kdl", conversation).unwrap();
        let mut server = version_2().start(&Conditions::default()).unwrap();
        let rules = Rules {
            version,
            ..Rules::default()
        };
        play(&conversations[0], &mut server, rules)
    }

    #[test]
    fn a_conversation_of_version_1_passes_over_what_a_server_of_version_2_says() {
        let conversation = r#"conversation "c" since="03-write" {
            about "…"
            alice joins
            alice sends "no colon"
            alice sends "alice: hello"
            alice receives "from alice: hello"
        }"#;
        let transcript = "\
server | listening on 127.0.0.1:8080
alice  * connects
alice  > alice
alice  > alice: am I in?
alice  < from alice: am I in?
alice  > no colon
alice  > alice: hello
alice  < from alice: hello
";
        let outcome = played(conversation, Version::Two);
        assert_eq!(outcome.transcript, transcript);
        assert!(outcome.shortfall.is_none());
        let shortfall = played(conversation, Version::One).shortfall.unwrap();
        assert_eq!(shortfall.seen, "the line is `welcome alice`");
    }

    #[test]
    fn a_conversation_of_version_2_hears_the_server() {
        let outcome = played(
            r#"conversation "c" since="08-names" {
                about "…"
                alice joins
                alice sends "no colon"
                alice sends "alice: hello"
                alice receives "from alice: hello"
            }"#,
            Version::Two,
        );
        assert!(
            outcome.transcript.contains("alice  < welcome alice\n"),
            "{}",
            outcome.transcript
        );
        let shortfall = outcome.shortfall.unwrap();
        assert_eq!(shortfall.seen, "the line is `error no-colon no colon`");
    }

    #[test]
    fn lines_that_are_passed_over_may_be_any_number() {
        let told = |start: &str| {
            let text = format!(
                r#"conversation "c" since="08-names" {{
                    about "…"
                    alice joins
                    alice sends "no colon" times=3
                    alice passes-over "{start}"
                    alice sends "alice: hello"
                    alice receives "from alice: hello"
                }}"#
            );
            played(&text, Version::Two).shortfall
        };
        assert!(told("error ").is_none());
        let shortfall = told("from ").unwrap();
        assert_eq!(shortfall.seen, "the line is `error no-colon no colon`");
    }

    #[test]
    fn a_client_that_has_to_wait_holds_up_nobody_but_itself() {
        // The system takes connections for it, and some megabytes; nobody reads them.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let subject = Subject::Addr(listener.local_addr().unwrap());
        let seen = |then: &str| {
            let text = format!(
                r#"conversation "c" since="03-write" {{
                    about "…"
                    alice connects
                    alice sends "bob: " padded-to=30000000
                    bob connects
                    {then}
                }}"#
            );
            let conversations = conversation::parse("test.kdl", &text).unwrap();
            let mut server = subject.start(&Conditions::default()).unwrap();
            let shortfall = play(&conversations[0], &mut server, Rules::default()).shortfall;
            shortfall.map(|shortfall| shortfall.seen)
        };
        assert_eq!(seen("alice leaves"), None);
        let waits = Some("the server does not read".to_string());
        assert_eq!(seen("alice finishes within=1"), waits);
        assert_eq!(seen("alice sends \"bob: and you?\" within=1"), waits);
    }

    #[test]
    fn a_connection_that_stays_open_does_not_mean_that_there_can_be_another() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let subject = Subject::Addr(listener.local_addr().unwrap());
        let (end, ended) = mpsc::channel();
        let server = thread::spawn(move || {
            // The server is looked for first.
            let _looked_for = listener.accept().unwrap();
            let _open = listener.accept().unwrap();
            drop(listener);
            ended.recv().unwrap();
        });
        let text = r#"conversation "c" since="05-shutdown" {
            about "…"
            server refuses-connections
        }"#;
        let conversations = conversation::parse("test.kdl", text).unwrap();
        let mut there = subject.start(&Conditions::default()).unwrap();
        let outcome = play(&conversations[0], &mut there, Rules::default());
        end.send(()).unwrap();
        server.join().unwrap();
        assert!(outcome.shortfall.is_none(), "{}", outcome.transcript);
    }

    #[test]
    fn a_server_that_reads_little_by_little_gets_no_more_time() {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // What the system keeps for the server counts as read.
        listener.set_recv_buffer_size(4096).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any.into()).unwrap();
        listener.listen(1).unwrap();
        let listener = TcpListener::from(listener);
        let subject = Subject::Addr(listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                while stream
                    .read(&mut [0; 16 * 1024])
                    .is_ok_and(|count| count > 0)
                {
                    // To be slow is all that this server does.
                    thread::sleep(Duration::from_millis(20));
                }
            }
        });
        let conversation = r#"conversation "c" since="03-write" {
            about "…"
            alice connects
            alice sends "bob: " padded-to=8000000 within=1
        }"#;
        let conversations = conversation::parse("test.kdl", conversation).unwrap();
        let mut server = subject.start(&Conditions::default()).unwrap();
        let outcome = play(&conversations[0], &mut server, Rules::default());
        assert_eq!(outcome.shortfall.unwrap().seen, "the server does not read");
    }

    #[test]
    fn what_the_server_says_is_compared_by_its_first_words() {
        let told = |words: &str| {
            let text = format!(
                r#"conversation "c" since="08-names" {{
                    about "…"
                    alice joins
                    alice sends "no colon"
                    alice sends "none here either"
                    alice is-told "{words}" times=2
                }}"#
            );
            played(&text, Version::Two)
        };
        let outcome = told("error no-colon");
        assert!(outcome.shortfall.is_none());
        assert!(
            outcome
                .transcript
                .ends_with("alice  < error no-colon …  (2 times)\n"),
            "{}",
            outcome.transcript
        );
        for words in ["error no", "error no-colon no"] {
            let shortfall = told(words).shortfall.unwrap();
            assert_eq!(shortfall.expected, format!("`{words} …`"));
        }
    }
}
