//! A measure of what one thread can do: a loop that routes messages, with no
//! task, no channel and no runtime.
//!
//! It delivers what chapter 11 delivers, and has no other purpose than to show
//! the limit that the servers of Part II are measured against. It does not stop
//! in good order: Ctrl-C kills it.
//!
//! Run it with `cargo run --example 11-router`.

use std::{
    collections::{HashMap, VecDeque},
    env, error,
    io::{self, ErrorKind, Read, Write},
    mem,
    net::{Shutdown, ToSocketAddrs},
    process::ExitCode,
    result, str,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

/// How much is read from one connection before it is another one's turn.
const CHUNK: usize = 256 * 1024;
/// How much room for what is to be written a connection keeps.
const KEPT: usize = 64 * 1024;
/// Events that are taken from the system at once.
const EVENTS: usize = 1024;
/// Every other token is the index of a connection.
const LISTENER: Token = Token(usize::MAX - 1);

/// What can go wrong here goes wrong at run time and is reported to a person,
/// so any error will do.
type Result<T> = result::Result<T, Box<dyn error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let addr = match args.as_slice() {
        [] => "127.0.0.1:8080",
        [addr] => addr,
        _ => {
            eprintln!("error: expected one address, such as 127.0.0.1:9000");
            return ExitCode::FAILURE;
        }
    };
    match run(addr) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Owns the listener and all connections. Ends on the first error of the
/// listener.
fn run(addr: &str) -> Result<()> {
    let mut listener = bind(addr)
        .map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening on {}", listener.local_addr()?);
    let mut events = Events::with_capacity(EVENTS);
    let mut router = Router::default();
    // Connections that may have more to read than was read.
    let mut readable = VecDeque::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            match event.token() {
                LISTENER => accept(&listener, &poll, &mut router)?,
                Token(index) => {
                    if event.is_writable() {
                        router.unwritten.push(index);
                    }
                    if event.is_readable() {
                        readable.push_back(index);
                    }
                }
            }
        }
        // What one round of reading brings goes out before the next, in one
        // write for each connection.
        while !readable.is_empty() {
            for _ in 0..readable.len() {
                if let Some(index) = readable.pop_front()
                    && router.read(index, &mut buffer)
                {
                    readable.push_back(index);
                }
            }
            router.write();
        }
        router.write();
    }
}

fn bind(addr: &str) -> io::Result<TcpListener> {
    let mut error = io::Error::from(ErrorKind::AddrNotAvailable);
    for addr in addr.to_socket_addrs()? {
        match TcpListener::bind(addr) {
            Ok(listener) => return Ok(listener),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    router: &mut Router,
) -> Result<()> {
    loop {
        let (mut stream, addr) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        eprintln!("accepted {addr}");
        let index = router.vacant();
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(index), both)?;
        let connection = Connection::new(router.accepted, stream);
        router.accepted += 1;
        router.connections[index] = Some(connection);
    }
}

/// One client.
struct Connection {
    /// How many were accepted before it.
    number: u64,
    stream: TcpStream,
    /// `from NAME: `, once the name is known.
    from: Option<String>,
    /// The line that has not ended yet.
    partial: Vec<u8>,
    /// What is to be written, of which `written` bytes are.
    output: Vec<u8>,
    written: usize,
    /// Whether it is among the connections that have something to write.
    waits: bool,
    /// The last message that was queued for it, by number.
    last_message: u64,
    /// Whether its lines still count: no more after a goodbye, or when a newer
    /// connection has its name.
    counts: bool,
    /// Whether the client has closed its half.
    finished: bool,
}

impl Connection {
    fn new(number: u64, stream: TcpStream) -> Connection {
        Connection {
            number,
            stream,
            from: None,
            partial: Vec::new(),
            output: Vec::new(),
            written: 0,
            waits: false,
            last_message: 0,
            counts: true,
            finished: false,
        }
    }

    /// Writes as much as the system takes. Says whether the connection is over.
    fn write(&mut self) -> bool {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
        self.output.clear();
        self.output.shrink_to(KEPT);
        self.written = 0;
        if self.counts {
            return false;
        }
        // An error says that the client has closed the connection already.
        let closed = self.stream.shutdown(Shutdown::Write).is_err();
        closed || self.finished
    }
}

/// Knows every connection, by its index, and who has which name.
#[derive(Default)]
struct Router {
    connections: Vec<Option<Connection>>,
    vacant: Vec<usize>,
    /// How many connections there have been.
    accepted: u64,
    names: HashMap<String, usize>,
    /// The connections that have something to write.
    unwritten: Vec<usize>,
    /// The number of the last message.
    message: u64,
    /// The line that is being delivered.
    line: String,
}

impl Router {
    /// An index that no connection has.
    fn vacant(&mut self) -> usize {
        self.vacant.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        })
    }

    /// Takes up what one connection has sent, a chunk at most. Says whether
    /// there may be more.
    fn read(&mut self, index: usize, buffer: &mut [u8]) -> bool {
        let Some(connection) = &mut self.connections[index] else {
            return false;
        };
        let count = match connection.stream.read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return false;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                return true;
            }
            Err(_) => {
                // What was under way is no line.
                connection.partial.clear();
                0
            }
        };
        if count == 0 {
            let last = mem::take(&mut connection.partial);
            connection.finished = true;
            if !last.is_empty() {
                self.line(index, &last);
            } else if connection.counts && connection.from.is_none() {
                eprintln!("error: a connection ended without a name");
            }
            self.goodbye(index);
            return false;
        }
        let mut lines = &buffer[..count];
        while let Some(end) = memchr::memchr(b'\n', lines) {
            let (line, rest) = (&lines[..end], &lines[end + 1..]);
            lines = rest;
            let mut partial = self.partial(index);
            if partial.is_empty() {
                self.line(index, line);
            } else {
                partial.extend_from_slice(line);
                self.line(index, &partial);
            }
        }
        if let Some(connection) = &mut self.connections[index]
            && connection.counts
        {
            connection.partial.extend_from_slice(lines);
        }
        true
    }

    fn partial(&mut self, index: usize) -> Vec<u8> {
        let connection = self.connections[index].as_mut();
        connection.map(|c| mem::take(&mut c.partial)).unwrap_or_default()
    }

    /// Logs in, or delivers one message.
    fn line(&mut self, index: usize, line: &[u8]) {
        let Some(connection) = &self.connections[index] else { return };
        if !connection.counts {
            return;
        }
        let Ok(line) = str::from_utf8(line) else {
            return self.goodbye(index);
        };
        if let Some(from) = &connection.from {
            let Some((to, text)) = line.split_once(':') else { return };
            self.line.clear();
            self.line.push_str(from);
            self.line.push_str(text.trim());
            self.line.push('\n');
            self.message += 1;
            for name in to.split(',') {
                self.deliver(name.trim());
            }
        } else if line.trim().is_empty() {
            eprintln!("error: a client sent an empty name");
            self.goodbye(index);
        } else {
            self.log_in(index, line.trim());
        }
    }

    /// Queues the line for one client, once.
    fn deliver(&mut self, name: &str) {
        let Some(&index) = self.names.get(name) else { return };
        let Some(to) = &mut self.connections[index] else { return };
        if to.last_message == self.message {
            return;
        }
        to.last_message = self.message;
        to.output.extend_from_slice(self.line.as_bytes());
        if !to.waits {
            to.waits = true;
            self.unwritten.push(index);
        }
    }

    /// Gives the name to this connection, unless a newer one has it.
    fn log_in(&mut self, index: usize, name: &str) {
        let number =
            |index: usize| self.connections[index].as_ref().map(|c| c.number);
        if let Some(&holder) = self.names.get(name)
            && number(holder) > number(index)
        {
            return self.leave(index);
        }
        if let Some(connection) = &mut self.connections[index] {
            connection.from = Some(format!("from {name}: "));
        }
        if let Some(former) = self.names.insert(name.to_string(), index) {
            self.leave(former);
        }
    }

    /// Frees the name; what is queued for this client is still written.
    fn goodbye(&mut self, index: usize) {
        self.free_name(index);
        self.leave(index);
    }

    fn free_name(&mut self, index: usize) {
        if let Some(connection) = &self.connections[index]
            && let Some(from) = &connection.from
            && let Some(name) = from.strip_prefix("from ")
            && let Some(name) = name.strip_suffix(": ")
            && self.names.get(name) == Some(&index)
        {
            self.names.remove(name);
        }
    }

    fn leave(&mut self, index: usize) {
        if let Some(connection) = &mut self.connections[index] {
            connection.counts = false;
            self.unwritten.push(index);
        }
    }

    /// Writes to every connection that has something to write, and forgets
    /// those that are over.
    fn write(&mut self) {
        for index in mem::take(&mut self.unwritten) {
            let Some(connection) = &mut self.connections[index] else {
                continue;
            };
            connection.waits = false;
            if connection.write() {
                self.free_name(index);
                self.connections[index] = None;
                self.vacant.push(index);
            }
        }
    }
}
