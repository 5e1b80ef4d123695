//! The clients of a measurement: one thread, many connections, and every line that arrives compared
//! with the one that must.
//!
//! A client writes numbered messages, and knows of each other client that writes to it what its next
//! line is, byte for byte. The comparison is so cheap that it is always made.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    mem,
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr},
    ops::Range,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use socket2::{Domain, SockRef, Socket, Type};

/// How long nothing may arrive while something is under way.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How many bytes are read from a connection at once.
const CHUNK: usize = 256 * 1024;

/// The longest line that a server may send.
const LONGEST_LINE: usize = 64 * 1024;

/// How many events are taken from the system at once. Few, so that an answer does not wait for many.
const EVENTS: usize = 64;

/// How many clients log in at once: fewer than any server's queue of connections holds.
const LOGINS: usize = 64;

/// Lines that count up: a start, ten digits, and some text.
#[derive(Clone, Debug)]
struct Numbered {
    /// The next line, with its end.
    line: Vec<u8>,
    digits: Range<usize>,
    /// The number of the next line.
    number: u64,
}

/// Every number takes as much room.
const DIGITS: usize = 10;

impl Numbered {
    /// Lines that begin with `start`. The rest is `text` bytes long, at least [`DIGITS`].
    fn new(start: &str, text: usize) -> Numbered {
        let mut line = start.as_bytes().to_vec();
        let digits = line.len()..line.len() + DIGITS;
        line.extend_from_slice(&[b'0'; DIGITS]);
        // Text in which every place is told from its neighbours, with no space at its ends.
        let filler = (b'a'..=b'z').cycle().take(text.saturating_sub(DIGITS));
        line.extend(filler);
        line.push(b'\n');
        Numbered {
            line,
            digits,
            number: 0,
        }
    }

    fn advance(&mut self) {
        self.number += 1;
        for digit in self.line[self.digits.clone()].iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
    }

    /// What every line begins with.
    fn start(&self) -> &[u8] {
        &self.line[..self.digits.start]
    }

    /// The number in a line that is like these in everything else.
    fn number_in(&self, line: &[u8]) -> Option<u64> {
        let digits = line.get(self.digits.clone())?;
        let same = line.len() == self.line.len()
            && line.starts_with(self.start())
            && line[self.digits.end..] == self.line[self.digits.end..];
        let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
        same.then_some(number)
    }
}

/// What a client expects from one other client.
#[derive(Debug)]
struct Incoming {
    sender: usize,
    from: String,
    lines: Numbered,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    name: String,
    stream: TcpStream,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// What is to be written, of which `written` bytes are.
    output: Vec<u8>,
    written: usize,
    outgoing: Option<Numbered>,
    incoming: Vec<Incoming>,
    /// Which of them the last message came from.
    last: usize,
    /// The line that it has written to itself and not received yet.
    echo: Option<String>,
    /// Whether it reads what arrives.
    reads: bool,
    /// Whether the server may close the connection.
    may_be_closed: bool,
    closed: bool,
    /// The last line that was the server's own.
    said: Option<String>,
    /// How many lines of its own were refused.
    refused: u64,
}

impl Client {
    /// How many bytes wait to be written.
    pub fn unwritten(&self) -> usize {
        self.output.len() - self.written
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// How often the server has said that it refuses a line.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn over(&self, what: &str) -> anyhow::Error {
        let said = match &self.said {
            Some(said) => format!("; the server said `{said}`"),
            None => String::new(),
        };
        anyhow!("the connection of {} {what}{said}", self.name)
    }

    fn write_to_self(&mut self, text: &str) {
        let line = format!("{}: {text}\n", self.name);
        self.output.extend_from_slice(line.as_bytes());
        self.echo = Some(format!("from {line}"));
    }
}

/// Messages that one client has received from another, each of them the one that had to come.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Who has sent them.
    pub sender: usize,
    /// Who has received them.
    pub client: usize,
    /// Their numbers.
    pub numbers: Range<u64>,
    /// When they were read.
    pub at: Instant,
}

/// All clients.
pub struct Generator {
    addr: SocketAddr,
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    /// What the last turn has brought.
    pub arrivals: Vec<Arrival>,
    /// The clients whose line to themselves the last turn has brought.
    pub echoes: Vec<usize>,
    last_arrival: Instant,
    /// How long nothing may arrive while something is under way.
    patience: Duration,
}

impl Generator {
    /// Clients for the server at this address; none is connected yet.
    ///
    /// # Errors
    ///
    /// When the system offers no events.
    pub fn new(addr: SocketAddr, patience: Duration) -> Result<Generator> {
        Ok(Generator {
            addr,
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            clients: Vec::new(),
            buffer: vec![0; CHUNK],
            arrivals: Vec::new(),
            echoes: Vec::new(),
            last_arrival: Instant::now(),
            patience,
        })
    }

    /// How long nothing may arrive while something is under way.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// All clients, in the order in which they have connected.
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// One client.
    pub fn client(&self, index: usize) -> &Client {
        &self.clients[index]
    }

    /// Connects clients with these names, and waits until each is known to be logged in: until a line
    /// that it has written to itself has come back.
    ///
    /// # Errors
    ///
    /// When one cannot connect, or is not logged in in time.
    pub fn log_in(&mut self, names: impl IntoIterator<Item = String>) -> Result<Range<usize>> {
        self.last_arrival = Instant::now();
        let first = self.clients.len();
        let mut names = names.into_iter();
        let mut waiting = 0;
        loop {
            for name in names.by_ref().take(LOGINS - waiting) {
                self.connect(&name)?;
                waiting += 1;
            }
            if waiting == 0 {
                return Ok(first..self.clients.len());
            }
            self.turn(None)?;
            waiting -= self.echoes.len();
        }
    }

    /// Connects one more client, which sends its name and a line to itself.
    ///
    /// # Errors
    ///
    /// When it cannot connect.
    pub fn connect(&mut self, name: &str) -> Result<usize> {
        let index = self.clients.len();
        let client = self.new_client(name, index)?;
        self.clients.push(client);
        self.flush(index)?;
        Ok(index)
    }

    /// Lets a client leave, and another one come in its place.
    ///
    /// # Errors
    ///
    /// When the new one cannot connect.
    pub fn replace(&mut self, index: usize, name: &str) -> Result<()> {
        let client = self.new_client(name, index)?;
        // Its connection is closed with it.
        self.clients[index] = client;
        self.flush(index)
    }

    /// Lets a client leave.
    pub fn leave(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.closed = true;
        client.may_be_closed = true;
        // An error says that the connection has ended already.
        let _ = client.stream.shutdown(Shutdown::Both);
    }

    fn new_client(&mut self, name: &str, index: usize) -> Result<Client> {
        let stream = connect(self.addr).with_context(|| format!("{name} cannot connect"))?;
        let mut client = Client {
            name: name.to_string(),
            stream,
            partial: Vec::new(),
            output: format!("{name}\n").into_bytes(),
            written: 0,
            outgoing: None,
            incoming: Vec::new(),
            last: 0,
            echo: None,
            reads: true,
            may_be_closed: false,
            closed: false,
            said: None,
            refused: 0,
        };
        client.write_to_self("am I in?");
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut client.stream, Token(index), both)?;
        Ok(client)
    }

    /// Sets who `from` writes to, and how long each text is, in bytes. It is called once for each
    /// client that writes.
    pub fn route(&mut self, from: usize, to: &[usize], text: usize) {
        let names: Vec<&str> = to
            .iter()
            .map(|&to| self.clients[to].name.as_str())
            .collect();
        let outgoing = Numbered::new(&format!("{}: ", names.join(",")), text);
        let name = self.clients[from].name.clone();
        for &to in to {
            self.clients[to].incoming.push(Incoming {
                sender: from,
                from: name.clone(),
                lines: Numbered::new(&format!("from {name}: "), text),
            });
        }
        self.clients[from].outgoing = Some(outgoing);
    }

    /// Makes a client read no more of what arrives. The server may close its connection.
    pub fn stop_reading(&mut self, index: usize) {
        self.clients[index].reads = false;
        self.clients[index].may_be_closed = true;
    }

    /// Lets a client that does not read take all that still comes, until the connection ends or nothing
    /// has come for so long. Returns how many messages that were, whichever.
    ///
    /// # Errors
    ///
    /// When the system refuses to wait for them.
    pub fn messages_left(&mut self, index: usize, quiet: Duration) -> Result<u64> {
        let stream = &self.clients[index].stream;
        let socket = SockRef::from(stream);
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(quiet))?;
        let lines = BufReader::new(stream).split(b'\n');
        // An error is an end too: a reset, or nothing in time.
        let whole = lines.map_while(|line| line.ok());
        Ok(whole.filter(|line| line.starts_with(b"from ")).count() as u64)
    }

    /// Says that the server may close the connection of this client.
    pub fn may_be_closed(&mut self, index: usize) {
        self.clients[index].may_be_closed = true;
    }

    /// Lets a client write its next messages.
    ///
    /// # Errors
    ///
    /// When the connection is lost.
    pub fn send(&mut self, index: usize, messages: usize) -> Result<()> {
        let client = &mut self.clients[index];
        if let Some(outgoing) = &mut client.outgoing {
            for _ in 0..messages {
                client.output.extend_from_slice(&outgoing.line);
                outgoing.advance();
            }
        }
        self.flush(index)
    }

    /// Lets a client write bytes that are none of its messages.
    ///
    /// # Errors
    ///
    /// When the connection is lost.
    pub fn send_bytes(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        self.clients[index].output.extend_from_slice(bytes);
        self.flush(index)
    }

    /// How many messages a client was told to write so far.
    pub fn sent(&self, index: usize) -> u64 {
        let outgoing = self.clients[index].outgoing.as_ref();
        outgoing.map_or(0, |lines| lines.number)
    }

    /// Writes as much as the system takes.
    fn flush(&mut self, index: usize) -> Result<()> {
        let client = &mut self.clients[index];
        while client.written < client.output.len() && !client.closed {
            match client.stream.write(&client.output[client.written..]) {
                Ok(count) => client.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What the server has said last may explain it; reading comes upon the end as well.
                Err(_) if client.reads => return self.read_to_the_end(index),
                Err(_) => client.closed = true,
            }
        }
        client.output.clear();
        client.written = 0;
        Ok(())
    }

    fn read_to_the_end(&mut self, index: usize) -> Result<()> {
        while !self.clients[index].closed && self.read(index)?.is_some() {}
        let client = &mut self.clients[index];
        client.closed = true;
        match client.may_be_closed {
            true => Ok(()),
            false => Err(client.over("is lost")),
        }
    }

    /// Waits until something happens, or for so long, and takes up all that has: writes what could not
    /// be written, reads, compares. What has arrived is in `arrivals` and `echoes` then.
    ///
    /// # Errors
    ///
    /// When a line is not the one that had to come, when a connection is lost, or when nothing has
    /// arrived for a long time.
    pub fn turn(&mut self, timeout: Option<Duration>) -> Result<()> {
        self.arrivals.clear();
        self.echoes.clear();
        let mut events = mem::replace(&mut self.events, Events::with_capacity(0));
        let polled = match self.poll.poll(&mut events, timeout.or(Some(self.patience))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            polled => polled.map_err(anyhow::Error::from),
        };
        let done = polled.and_then(|()| {
            for event in &events {
                let Token(index) = event.token();
                if event.is_writable() {
                    self.flush(index)?;
                }
                if event.is_readable() {
                    self.read_all(index, event.is_read_closed())?;
                }
            }
            Ok(())
        });
        self.events = events;
        done?;
        if !self.arrivals.is_empty() || !self.echoes.is_empty() {
            self.last_arrival = Instant::now();
        } else if timeout.is_none() && self.last_arrival.elapsed() >= self.patience {
            bail!(
                "nothing has arrived for {} s{}",
                self.patience.as_secs_f64(),
                self.missing()
            );
        }
        Ok(())
    }

    /// What is under way, as far as it is known.
    fn missing(&self) -> String {
        let echo = self.clients.iter().find(|client| client.echo.is_some());
        let late = self.clients.iter().find_map(|client| {
            let Incoming { from, lines, .. } = self.late(client)?;
            let (number, to) = (lines.number, &client.name);
            Some(format!("; message {number} from {from} to {to} is missing"))
        });
        match (late, echo) {
            (Some(late), _) => late,
            (None, Some(client)) => match &client.said {
                Some(said) => format!("; {} waits; the server said `{said}` to it", client.name),
                None => format!("; {} waits for a line that it wrote to itself", client.name),
            },
            (None, None) => String::new(),
        }
    }

    /// Reads all that has arrived at one connection.
    fn read_all(&mut self, index: usize, to_the_end: bool) -> Result<()> {
        if !self.clients[index].reads || self.clients[index].closed {
            return Ok(());
        }
        while let Some(count) = self.read(index)? {
            // A read that is not filled has emptied the socket. On Linux the next event comes all the
            // same; elsewhere only a read that would block asks for it.
            if cfg!(target_os = "linux") && count < CHUNK - LONGEST_LINE && !to_the_end {
                break;
            }
        }
        Ok(())
    }

    /// Reads once. Returns how much, or nothing if there is nothing, or no more.
    fn read(&mut self, index: usize) -> Result<Option<usize>> {
        let client = &mut self.clients[index];
        let start = client.partial.len();
        if start > LONGEST_LINE {
            bail!("{} receives a line that does not end", client.name);
        }
        self.buffer[..start].copy_from_slice(&client.partial);
        let count = loop {
            match client.stream.read(&mut self.buffer[start..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                // A reset is an end too.
                Err(_) => break 0,
                Ok(count) => break count,
            }
        };
        if count == 0 {
            client.closed = true;
            return match client.may_be_closed {
                true => Ok(None),
                false if client.partial.is_empty() => Err(client.over("was closed by the server")),
                false => Err(client.over(&format!(
                    "was closed by the server after `{}`",
                    String::from_utf8_lossy(&client.partial)
                ))),
            };
        }
        client.partial.clear();
        let at = Instant::now();
        let mut bytes = &self.buffer[..start + count];
        loop {
            while let Some(place) = client.next_message(bytes) {
                let Incoming { sender, lines, .. } = &mut client.incoming[place];
                let first = lines.number;
                while bytes.starts_with(&lines.line) {
                    bytes = &bytes[lines.line.len()..];
                    lines.advance();
                }
                self.arrivals.push(Arrival {
                    sender: *sender,
                    client: index,
                    numbers: first..lines.number,
                    at,
                });
                client.last = place;
            }
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                break;
            };
            let line = &bytes[..=end];
            bytes = &bytes[end + 1..];
            if client.other_line(line)? {
                self.echoes.push(index);
            }
        }
        client.partial.extend_from_slice(bytes);
        Ok(Some(count))
    }

    /// Waits until every message has arrived, and then until every client has received a line that it
    /// has written to itself, so that a copy too many would have come before it.
    ///
    /// # Errors
    ///
    /// When something is missing, or comes that must not.
    pub fn finish(&mut self) -> Result<()> {
        self.last_arrival = Instant::now();
        while self
            .clients
            .iter()
            .any(|client| self.late(client).is_some())
        {
            self.turn(None)?;
        }
        let mut waiting = 0;
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if client.reads && !client.closed {
                client.write_to_self("is that all?");
                self.flush(index)?;
                waiting += 1;
            }
        }
        while waiting > 0 {
            self.turn(None)?;
            waiting -= self.echoes.len();
        }
        Ok(())
    }

    /// Messages to this client that are under way.
    fn late<'a>(&self, client: &'a Client) -> Option<&'a Incoming> {
        let late = |incoming: &&Incoming| incoming.lines.number < self.sent(incoming.sender);
        client.incoming.iter().find(late).filter(|_| client.reads)
    }
}

impl Client {
    /// Whose next message these bytes begin with. Who has sent the last one is asked first.
    fn next_message(&self, bytes: &[u8]) -> Option<usize> {
        let count = self.incoming.len();
        let places = (self.last..count).chain(0..self.last);
        let mut places =
            places.filter(|&place| bytes.starts_with(&self.incoming[place].lines.line));
        places.next()
    }

    /// Judges a line that is not the next message. Says whether it is the one that this client has
    /// written to itself; a line of the server's own is passed over.
    fn other_line(&mut self, line: &[u8]) -> Result<bool> {
        let shown = || String::from_utf8_lossy(line).trim_end().to_string();
        if self
            .echo
            .as_ref()
            .is_some_and(|echo| echo.as_bytes() == line)
        {
            self.echo = None;
            return Ok(true);
        }
        if !line.starts_with(b"from ") && !self.looks_like_a_message(line) {
            if line.starts_with(b"error ") {
                self.said = Some(shown());
                self.refused += 1;
            }
            return Ok(false);
        }
        let to = &self.name;
        let like = |incoming: &&Incoming| line.starts_with(incoming.lines.start());
        let incoming = self.incoming.iter().find(like).or(self.incoming.first());
        let Some(Incoming { from, lines, .. }) = incoming else {
            bail!(
                "{to} has received `{}`, which nobody has written to it",
                shown()
            );
        };
        let wanted = lines.number;
        match lines.number_in(line) {
            Some(number) if number < wanted => {
                bail!("message {number} from {from} to {to} has come again")
            }
            Some(number) => bail!(
                "message {wanted} from {from} to {to} is missing: message {number} has come in its place"
            ),
            None => bail!(
                "message {wanted} from {from} to {to} is damaged: `{}` has come instead of `{}`",
                shown(),
                String::from_utf8_lossy(&lines.line).trim_end()
            ),
        }
    }

    /// The servers' own lines begin with a word of the protocol; what is left of a message that has
    /// lost its beginning does not.
    fn looks_like_a_message(&self, line: &[u8]) -> bool {
        ![&b"welcome "[..], b"error "]
            .iter()
            .any(|own| line.starts_with(own))
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        for client in &self.clients {
            // Ports of connections that end in good order stay taken for a minute. An error says that
            // this one has ended already.
            let _ = SockRef::from(&client.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

/// A connection to this address, from an address of its own where loopback has several: each has its
/// own ports, and one address has too few for a measurement.
fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    const SOURCES: u32 = 250;
    static CONNECTIONS: AtomicU32 = AtomicU32::new(0);
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    if cfg!(target_os = "linux") && addr.ip().is_loopback() && addr.is_ipv4() {
        let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed) % SOURCES;
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + number);
        socket.bind(&SocketAddr::from((IpAddr::V4(source), 0)).into())?;
    }
    socket.connect_timeout(&addr.into(), PATIENCE)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(TcpStream::from_std(socket.into()))
}
