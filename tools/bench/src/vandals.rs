//! Hostile clients. They are many, one after the other, and each has a name of its own.

use std::{
    io::{self, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result};
use socket2::SockRef;

/// How long a vandal waits until it can write; it is in no hurry, and never stuck.
const PATIENCE: Duration = Duration::from_millis(500);

/// What vandals do when they have connected. The number tells them apart.
pub(crate) const ACTS: [fn(&mut TcpStream, u64) -> io::Result<()>; 7] = [
    // Breaks off at once.
    |stream, _| break_off(stream),
    // Leaves with half a name.
    |stream, _| stream.write_all(b"vand"),
    // Speaks another protocol.
    |stream, _| stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    // Sends a line without end, for as long as it may.
    |stream, _| stream.write_all(&[b'x'; 256 * 1024]),
    // Sends what isn't text.
    |stream, number| {
        writeln!(stream, "vandal-{number}")?;
        stream.write_all(&[0x00, 0xff, b'\n', 0xc3, b'\n', 0x1b, b':', b'\n'].repeat(500))
    },
    // Asks for answers and doesn't read them.
    |stream, number| {
        writeln!(stream, "vandal-{number}")?;
        stream.write_all(&b"nobody: are you there?\n".repeat(20_000))
    },
    // Breaks off in the middle of a message, with one to read.
    |stream, number| {
        write!(stream, "vandal-{number}\nvandal-{number}: you\nvandal")?;
        break_off(stream)
    },
];

/// Makes the end of a connection, which comes when it is dropped, a reset.
fn break_off(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// Connects, does the act that is next, and leaves.
pub(crate) fn act(addr: SocketAddr, number: u64) -> Result<()> {
    let mut stream = TcpStream::connect(addr).context("a vandal cannot connect")?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let act = ACTS[number as usize % ACTS.len()];
    // An error says that the server has had enough of this vandal, which is its right.
    let _ = act(&mut stream, number);
    Ok(())
}
