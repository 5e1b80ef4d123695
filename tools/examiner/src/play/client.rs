//! One client of a conversation: its socket, what it sends, and the lines that it receives.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    str,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::shown::shown;

/// The longest line that is waited for, in bytes.
const LONGEST_LINE: usize = 1024 * 1024;

/// The size of a client's receive buffer, in bytes.
///
/// Together with [`SEGMENT`], it decides how much a server can write to a client that doesn't read before
/// that write blocks. With its default buffers, loopback takes 4.3 MB on Linux; with these, it takes 160 KB
/// for a client that has only joined, and half a megabyte once it has read some 60 KB. Conversations with a
/// client that doesn't read send it 800 KB, a hundred lines of 8,000 bytes, and wait with `server catches-up`
/// until the write blocks. A client that reads still gets more than 100 MB a second.
const RECEIVE_BUFFER: usize = 8 * 1024;

/// The largest TCP segment that a client accepts, in bytes: what fits into an Ethernet frame. The system
/// sizes the server's send buffer by it, and the segments of loopback have 65,483 bytes.
#[cfg(unix)]
const SEGMENT: u32 = 1448;

/// How long the conversation waits for a client that can't send because the server doesn't read.
const BESIDE: Duration = Duration::from_millis(100);

/// What a step expected, and what happened instead.
pub(super) struct Missed {
    pub(super) expected: String,
    pub(super) seen: String,
}

pub(super) fn missed(expected: impl Into<String>, seen: impl ToString) -> Missed {
    Missed {
        expected: expected.into(),
        seen: seen.to_string(),
    }
}

/// How long a step waits.
#[derive(Clone, Copy)]
pub(super) struct Wait {
    /// The whole time, for messages.
    pub(super) within: Duration,
    pub(super) deadline: Instant,
}

impl Wait {
    pub(super) fn of(within: Duration) -> Wait {
        Wait {
            within,
            deadline: Instant::now() + within,
        }
    }

    pub(super) fn left(self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

pub(super) struct Client {
    pub(super) addr: String,
    /// Lines that begin with one of these are ignored.
    pub(super) passes_over: Vec<String>,
    /// Whether all lines are ignored that aren't `from NAME: TEXT`.
    pub(super) hears_messages_only: bool,
    stream: BufReader<TcpStream>,
    /// The line that came last, or its beginning.
    received: Vec<u8>,
    /// The result of the thread that still sends, if there is one.
    sending: Option<mpsc::Receiver<io::Result<()>>>,
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.sending.is_some() {
            // Ends the thread that still sends. An error means that the server has closed already.
            let _ = self.stream.get_ref().shutdown(Shutdown::Both);
        }
    }
}

impl Client {
    pub(super) fn connect(to: SocketAddr, within: Duration) -> io::Result<Client> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        // Not every system lets a client choose; those that don't have smaller buffers anyway.
        #[cfg(unix)]
        let _ = socket.set_tcp_mss(SEGMENT);
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.connect_timeout(&to.into(), within)?;
        // Every write is a packet of its own, so that `each-byte` means what it says.
        socket.set_tcp_nodelay(true)?;
        let stream = TcpStream::from(socket);
        Ok(Client {
            addr: stream.local_addr()?.to_string(),
            passes_over: Vec::new(),
            hears_messages_only: false,
            stream: BufReader::with_capacity(16 * 1024, stream),
            received: Vec::new(),
            sending: None,
        })
    }

    pub(super) fn resets(self) -> io::Result<()> {
        reset(self.stream.get_ref())
    }

    pub(super) fn finishes(&mut self, wait: Wait) -> io::Result<()> {
        self.has_sent(wait.left())?;
        self.stream.get_ref().shutdown(Shutdown::Write)
    }

    /// Sends bytes in packets of at most `packet` of them; what the socket doesn't take at once, in a thread of
    /// its own. If they don't have to be sent when this ends, it ends soon after the server makes the client
    /// wait.
    pub(super) fn sends(
        &mut self,
        bytes: &[u8],
        packet: usize,
        wait: Wait,
        must_end: bool,
    ) -> io::Result<()> {
        self.has_sent(wait.left())?;
        let mut stream = self.stream.get_ref().try_clone()?;
        let packet = packet.max(1);
        // Starting a thread takes so long that lines which are sent one after the other would be read apart.
        stream.set_nonblocking(true)?;
        let taken = taken_at_once(&mut stream, bytes, packet);
        stream.set_nonblocking(false)?;
        let rest = bytes[taken?..].to_vec();
        if rest.is_empty() {
            return Ok(());
        }
        let (ended, sending) = mpsc::channel();
        self.sending = Some(sending);
        thread::spawn(move || {
            let mut packets = rest.chunks(packet);
            let sent = packets.try_for_each(|packet| stream.write_all(packet));
            // The connection ends when both owners of the socket have dropped it.
            drop(stream);
            // An error means that no later step needs the result.
            let _ = ended.send(sent);
        });
        match self.has_sent(if must_end { wait.left() } else { BESIDE }) {
            Err(error) if is_timeout(&error) && !must_end => Ok(()),
            sent => sent,
        }
    }

    /// Waits for the thread that sends, if there is one.
    fn has_sent(&mut self, time: Duration) -> io::Result<()> {
        let Some(sending) = &self.sending else {
            return Ok(());
        };
        let sent = sending.recv_timeout(time);
        let sent = sent.map_err(|_| io::Error::from(ErrorKind::TimedOut))?;
        self.sending = None;
        sent
    }

    /// Leaves the next line in `received`, and says whether there is one, or the connection has ended.
    fn receive(&mut self, wait: Wait) -> io::Result<bool> {
        self.received.clear();
        while !self.received.ends_with(b"\n") {
            if self.received.len() > LONGEST_LINE {
                return Err(ErrorKind::FileTooLarge.into());
            }
            if self.stream.buffer().is_empty() {
                let left = Some(wait.left()).filter(|left| !left.is_zero());
                let left = left.ok_or(ErrorKind::TimedOut)?;
                self.stream.get_ref().set_read_timeout(Some(left))?;
            }
            let bytes = match self.stream.fill_buf() {
                Ok([]) if self.received.is_empty() => return Ok(false),
                Ok([]) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => bytes,
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => continue,
                    // A server may close a connection on which it hasn't read everything. The client
                    // sees a reset, which is an end, too.
                    ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
                        if self.received.is_empty() =>
                    {
                        return Ok(false);
                    }
                    _ => return Err(error),
                },
            };
            // Reading from memory can't fail. Without optimisation, too, this is fast.
            let count = (&mut &*bytes).skip_until(b'\n').unwrap_or_default();
            self.received.extend_from_slice(&bytes[..count]);
            self.stream.consume(count);
        }
        Ok(true)
    }

    /// Expects that the next line fits, or with `None` the end of the connection. Ignores lines that are
    /// passed over, unless one of them fits.
    pub(super) fn expect(
        &mut self,
        expected: &str,
        wait: Wait,
        fits: impl Fn(Option<&str>) -> bool,
    ) -> Result<String, Missed> {
        let seen = loop {
            match (self.receive(wait), str::from_utf8(&self.received)) {
                (Ok(true), Ok(line)) if fits(Some(line.trim_end_matches('\n'))) => {
                    return Ok(line.trim_end_matches('\n').to_string());
                }
                (Ok(true), Ok(line)) if self.ignores(line) => {}
                (Ok(true), _) => break format!("the line is `{}`", shown(&self.received)),
                (Ok(false), _) if fits(None) => return Ok(String::new()),
                (Ok(false), _) => break "the connection ended".to_string(),
                (Err(error), _) => break self.without_a_line(&error, wait.within),
            }
        };
        Err(missed(expected, seen))
    }

    fn ignores(&self, line: &str) -> bool {
        self.passes_over.iter().any(|start| line.starts_with(start))
            || self.hears_messages_only && !line.starts_with("from ")
    }

    /// What came instead of a line.
    fn without_a_line(&self, error: &io::Error, within: Duration) -> String {
        let received = shown(&self.received);
        let seconds = within.as_secs_f64().ceil();
        match error.kind() {
            ErrorKind::FileTooLarge => "the line does not end".to_string(),
            ErrorKind::UnexpectedEof => format!("the connection ended after `{received}`"),
            _ if !is_timeout(error) => format!("the connection is lost: {error}"),
            _ if received.is_empty() => format!("nothing comes within {seconds} s"),
            _ => format!("only `{received}` comes within {seconds} s, without a line feed"),
        }
    }
}

/// Breaks a connection off: the other end gets a reset, at once on Linux, elsewhere when the stream is
/// dropped.
///
/// # Errors
///
/// Those of the system.
pub fn reset(stream: &TcpStream) -> io::Result<()> {
    // Between `fork` and `exec`, a new process has copies of our sockets, so closing one may take some
    // milliseconds to be seen. Dissolving the connection doesn't.
    #[cfg(target_os = "linux")]
    rustix::net::connect_unspec(stream)?;
    #[cfg(not(target_os = "linux"))]
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
    Ok(())
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

pub(super) fn not_sent(error: io::Error) -> Missed {
    let seen = match is_timeout(&error) {
        true => "the server does not read".to_string(),
        false => format!("the connection is lost: {error}"),
    };
    missed("to send", seen)
}

/// Writes what a socket that doesn't block takes of these bytes, and returns how many it took.
fn taken_at_once(stream: &mut TcpStream, bytes: &[u8], packet: usize) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        let end = bytes.len().min(taken + packet);
        match stream.write(&bytes[taken..end]) {
            Ok(count) => taken += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}
