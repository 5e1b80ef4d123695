//! The load generator: one thread with many connections, which compares every line that arrives with the one
//! that must.
//!
//! A client knows of each other client that writes to it what its next line is, byte for byte. The comparison
//! is so cheap that it is always made.

mod client;
mod numbered;

use std::{
    io::{self, ErrorKind},
    mem,
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use socket2::{Domain, SockRef, Socket, Type};

use client::{Arrival, CHUNK, Client, Inbox, shown};
use numbered::Numbered;

/// How many events are taken from the system at once. Few, so that an answer does not wait for many.
const EVENTS: usize = 64;

/// How many clients log in at once: fewer than any server's queue of connections holds.
const LOGINS: usize = 64;

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(15);

/// All clients.
pub(crate) struct Generator {
    addr: SocketAddr,
    poll: Poll,
    events: Events,
    /// In the order in which they connected.
    pub(crate) clients: Vec<Client>,
    inbox: Inbox,
    last_arrival: Instant,
    /// How long nothing may arrive while something is under way.
    patience: Duration,
}

impl Generator {
    /// Clients for the server at this address; none is connected yet.
    pub(crate) fn new(addr: SocketAddr, patience: Duration) -> Result<Generator> {
        Ok(Generator {
            addr,
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            clients: Vec::new(),
            inbox: Inbox {
                buffer: vec![0; CHUNK],
                arrivals: Vec::new(),
            },
            last_arrival: Instant::now(),
            patience,
        })
    }

    /// Connects clients with these names, and waits until each is known to be logged in: until a line that it
    /// wrote to itself has come back.
    pub(crate) fn log_in(
        &mut self,
        names: impl IntoIterator<Item = String>,
    ) -> Result<Range<usize>> {
        self.last_arrival = Instant::now();
        let first = self.clients.len();
        let mut names = names.into_iter();
        let mut waiting = 0;
        loop {
            for name in names.by_ref().take(LOGINS - waiting) {
                self.connect(self.clients.len(), &name)?;
                waiting += 1;
            }
            if waiting == 0 {
                return Ok(first..self.clients.len());
            }
            let arrivals = self.turn(None)?.into_iter();
            waiting -= arrivals
                .filter(|arrival| arrival.sender == arrival.client)
                .count();
        }
    }

    /// Connects a client, as one more or in the place of one that leaves. It sends its name and a line to itself.
    pub(crate) fn connect(&mut self, index: usize, name: &str) -> Result<()> {
        let mut stream = connect(self.addr).with_context(|| format!("{name} cannot connect"))?;
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut stream, Token(index), both)?;
        let mut client = Client::new(index, name, stream);
        client.flush(&mut self.inbox)?;
        match self.clients.get_mut(index) {
            // The old connection is closed with its client.
            Some(old) => *old = client,
            None => self.clients.push(client),
        }
        Ok(())
    }

    /// Sets the clients that `from` writes to, and how long each text is, in bytes. It is called once for each
    /// client that writes.
    pub(crate) fn route(&mut self, from: usize, to: &[usize], text: usize) {
        let name = |index: &usize| self.clients[*index].name.as_str();
        let names: Vec<&str> = to.iter().map(name).collect();
        let outgoing = Numbered::new(&format!("{}: ", names.join(",")), text);
        let start = format!("from {}: ", name(&from));
        for &to in to {
            let lines = Numbered::new(&start, text);
            self.clients[to].incoming.push((from, lines));
        }
        self.clients[from].outgoing = Some(outgoing);
    }

    /// Lets a client write its next messages.
    pub(crate) fn send(&mut self, index: usize, messages: usize) -> Result<()> {
        let client = &mut self.clients[index];
        client.write_messages(messages);
        client.flush(&mut self.inbox)
    }

    /// Lets a client write bytes that aren't its messages.
    pub(crate) fn send_bytes(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        let client = &mut self.clients[index];
        client.output.extend_from_slice(bytes);
        client.flush(&mut self.inbox)
    }

    /// Waits until something happens, or for so long; then writes what could not be written before, and reads.
    /// Returns what has arrived.
    ///
    /// # Errors
    ///
    /// When a line isn't the one that had to come, when a connection is lost, or, without a timeout, when
    /// nothing has arrived for a long time.
    pub(crate) fn turn(&mut self, timeout: Option<Duration>) -> Result<Vec<Arrival>> {
        let timeout_or_patience = timeout.or(Some(self.patience));
        match self.poll.poll(&mut self.events, timeout_or_patience) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            polled => polled?,
        }
        for event in &self.events {
            let client = &mut self.clients[event.token().0];
            if event.is_writable() {
                client.flush(&mut self.inbox)?;
            }
            if event.is_readable() {
                client.read_all(&mut self.inbox, event.is_read_closed())?;
            }
        }
        let arrivals = mem::take(&mut self.inbox.arrivals);
        if !arrivals.is_empty() {
            self.last_arrival = Instant::now();
        } else if timeout.is_none() && self.last_arrival.elapsed() >= self.patience {
            let missing = self.missing().map_or(String::new(), |(client, line)| {
                let (name, line, said) = (&client.name, shown(line), client.said());
                format!("; {name} waits for `{line}`{said}")
            });
            bail!(
                "nothing has arrived for {} s{missing}",
                self.patience.as_secs_f64()
            );
        }
        Ok(arrivals)
    }

    /// A line that is under way to a client that reads: a message, or what it wrote to itself.
    fn missing(&self) -> Option<(&Client, &[u8])> {
        let late = |(from, lines): &&(usize, Numbered)| lines.number < self.clients[*from].sent();
        let mut missing = self
            .clients
            .iter()
            .filter(|client| client.reads)
            .filter_map(|client| {
                let message = client.incoming.iter().find(late);
                let message = message.map(|(_, lines)| lines.line.as_slice());
                Some((client, message.or(client.echo.as_deref())?))
            });
        missing.next()
    }

    /// Waits until every message has arrived, and then until every client has received a line that it writes
    /// to itself, so that a copy too many would have come before it.
    ///
    /// # Errors
    ///
    /// When something is missing, or comes that must not.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.last_arrival = Instant::now();
        self.await_all()?;
        for client in &mut self.clients {
            if client.reads && !client.closed {
                client.write_to_itself("is that all?");
                client.flush(&mut self.inbox)?;
            }
        }
        self.await_all()
    }

    fn await_all(&mut self) -> Result<()> {
        while self.missing().is_some() {
            self.turn(None)?;
        }
        Ok(())
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

/// A connection to this address, from an address of its own where loopback has several: each has its own
/// ports, and one address has too few for a measurement.
fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    const SOURCES: u32 = 250;
    static CONNECTIONS: AtomicU32 = AtomicU32::new(0);
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    if cfg!(target_os = "linux") && addr.ip().is_loopback() && addr.is_ipv4() {
        let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed) % SOURCES;
        let source = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + number);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    socket.connect_timeout(&addr.into(), CONNECT)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(TcpStream::from_std(socket.into()))
}
