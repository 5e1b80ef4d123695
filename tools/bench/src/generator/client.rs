//! One connection: it writes numbered messages, and compares each line that it reads with the one that must
//! come.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::Shutdown,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use mio::net::TcpStream;
use socket2::SockRef;

use super::numbered::Numbered;

/// How many bytes are read from a connection at once.
pub(super) const CHUNK: usize = 256 * 1024;

/// The longest line that a server may send.
const LONGEST_LINE: usize = 64 * 1024;

/// Messages that one client received from another, each of them the one that had to come; or the line that a
/// client wrote to itself.
pub(crate) struct Arrival {
    /// The client that wrote them.
    pub(crate) sender: usize,
    /// The client that received them.
    pub(crate) client: usize,
    pub(crate) count: usize,
    /// When they were read.
    pub(crate) at: Instant,
}

/// Where all clients read, one after the other, and what has arrived since it was emptied.
pub(super) struct Inbox {
    pub(super) buffer: Vec<u8>,
    pub(super) arrivals: Vec<Arrival>,
}

/// One connection.
pub(crate) struct Client {
    /// Its place among all.
    index: usize,
    pub(super) name: String,
    pub(super) stream: TcpStream,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// What is to be written, of which `written` bytes are.
    pub(super) output: Vec<u8>,
    written: usize,
    pub(super) outgoing: Option<Numbered>,
    /// The lines that it expects, each with the client that writes them.
    pub(super) incoming: Vec<(usize, Numbered)>,
    /// Which of them came last.
    last: usize,
    /// The line that it wrote to itself and has not received yet.
    pub(super) echo: Option<Vec<u8>>,
    /// Whether it reads what arrives.
    pub(crate) reads: bool,
    /// Whether the server may close the connection.
    pub(crate) may_be_closed: bool,
    /// Whether the connection has ended.
    pub(crate) closed: bool,
    /// The last `error` of the server, and how many there were.
    said: Option<String>,
    pub(crate) refused: u64,
}

impl Client {
    /// A client that is about to log in, and to write a line to itself.
    pub(super) fn new(index: usize, name: &str, stream: TcpStream) -> Client {
        let mut client = Client {
            index,
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
        client.write_to_itself("am I in?");
        client
    }

    /// How many bytes wait to be written.
    pub(crate) fn unwritten(&self) -> usize {
        self.output.len() - self.written
    }

    /// How many messages it was told to write so far.
    pub(crate) fn sent(&self) -> u64 {
        self.outgoing.as_ref().map_or(0, |lines| lines.number)
    }

    pub(super) fn write_to_itself(&mut self, text: &str) {
        let line = format!("{}: {text}\n", self.name);
        self.output.extend_from_slice(line.as_bytes());
        self.echo = Some(format!("from {line}").into_bytes());
    }

    /// Puts its next messages behind what is to be written; [`Client::flush`] writes them.
    pub(super) fn write_messages(&mut self, count: usize) {
        if let Some(outgoing) = &mut self.outgoing {
            for _ in 0..count {
                self.output.extend_from_slice(&outgoing.line);
                outgoing.advance();
            }
        }
    }

    /// Writes as much as the system takes.
    pub(super) fn flush(&mut self, inbox: &mut Inbox) -> Result<()> {
        while self.unwritten() > 0 && !self.closed {
            match self.stream.write(&self.output[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => {
                    // What the server said last may explain it.
                    self.read_all(inbox, true)?;
                    return self.end();
                }
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads all that has arrived, if it reads.
    pub(super) fn read_all(&mut self, inbox: &mut Inbox, to_the_end: bool) -> Result<()> {
        while self.reads
            && !self.closed
            && let Some(count) = self.read(inbox)?
        {
            // A read that isn't filled has emptied the socket. On Linux the next event still comes;
            // elsewhere only a read that would block asks for it.
            if cfg!(target_os = "linux") && count < CHUNK - LONGEST_LINE && !to_the_end {
                break;
            }
        }
        Ok(())
    }

    /// Reads once. Returns how many bytes that were, or `None` when there are none now or no more.
    fn read(&mut self, inbox: &mut Inbox) -> Result<Option<usize>> {
        let Inbox { buffer, arrivals } = inbox;
        let start = self.partial.len();
        if start > LONGEST_LINE {
            bail!("{} receives a line that does not end", self.name);
        }
        buffer[..start].copy_from_slice(&self.partial);
        let count = match self.stream.read(&mut buffer[start..]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            // A reset is an end too.
            count => count.unwrap_or(0),
        };
        if count == 0 {
            return self.end().map(|()| None);
        }
        self.partial.clear();
        let at = Instant::now();
        let mut arrive = |sender, client, count| {
            arrivals.push(Arrival {
                sender,
                client,
                count,
                at,
            });
        };
        let mut bytes = &buffer[..start + count];
        loop {
            while let Some(place) = self.next_message(bytes) {
                let (sender, lines) = &mut self.incoming[place];
                let mut count = 0;
                while bytes.starts_with(&lines.line) {
                    bytes = &bytes[lines.line.len()..];
                    lines.advance();
                    count += 1;
                }
                arrive(*sender, self.index, count);
                self.last = place;
            }
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                break;
            };
            if self.is_echo(&bytes[..=end])? {
                arrive(self.index, self.index, 1);
            }
            bytes = &bytes[end + 1..];
        }
        self.partial.extend_from_slice(bytes);
        Ok(Some(count))
    }

    /// Which expected message these bytes begin with. The sender of the last one is asked first.
    fn next_message(&self, bytes: &[u8]) -> Option<usize> {
        let mut places = (self.last..self.incoming.len()).chain(0..self.last);
        places.find(|&place| bytes.starts_with(&self.incoming[place].1.line))
    }

    /// Judges a line that isn't an expected message. Says whether it is the one that this client wrote to
    /// itself; a line of the server's own is passed over.
    fn is_echo(&mut self, line: &[u8]) -> Result<bool> {
        if self.echo.as_deref() == Some(line) {
            self.echo = None;
            return Ok(true);
        }
        if line.starts_with(b"error ") {
            self.said = Some(shown(line));
            self.refused += 1;
        } else if !line.starts_with(b"welcome ") {
            let (name, line) = (&self.name, shown(line));
            let like = |(_, lines): &&(_, Numbered)| line.as_bytes().starts_with(lines.start());
            match self.incoming.iter().find(like).or(self.incoming.first()) {
                Some((_, lines)) => {
                    let wanted = shown(&lines.line);
                    bail!("{name} has received `{line}` instead of `{wanted}`");
                }
                None => bail!("{name} has received `{line}`, which no client wrote to it"),
            }
        }
        Ok(false)
    }

    /// Takes note that the connection has ended, which the server may have been free to do.
    fn end(&mut self) -> Result<()> {
        self.closed = true;
        if self.may_be_closed {
            return Ok(());
        }
        let (name, said) = (&self.name, self.said());
        bail!("the server closed the connection of {name}{said}")
    }

    /// What the server said to it last, for people.
    pub(super) fn said(&self) -> String {
        let said = self.said.as_ref();
        said.map_or(String::new(), |said| format!("; the server said `{said}`"))
    }

    /// Leaves, whatever is under way.
    pub(crate) fn leave(&mut self) {
        self.closed = true;
        // An error says that the connection has ended already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Takes what still comes to a client that did not read: so many messages, or fewer if the connection
    /// ends or nothing comes for that long. Returns how many came.
    pub(crate) fn read_the_rest(&mut self, most: u64, quiet: Duration) -> Result<u64> {
        let socket = SockRef::from(&self.stream);
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(quiet))?;
        let lines = BufReader::new(&self.stream).split(b'\n');
        // An error is an end too: a reset, or nothing in time.
        let lines = lines.map_while(|line| line.ok());
        let messages = lines.filter(|line| line.starts_with(b"from "));
        Ok(messages.take(usize::try_from(most)?).count() as u64)
    }
}

/// A line for people.
pub(super) fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().to_string()
}
