//! Stage 08: a client for version 2.
//!
//! Sends the lines of standard input to a server and prints the lines that come
//! back: its errors, in words, to standard error, everything else to standard
//! output. Knows whether the server has let it in, and says why if not.
//!
//! Run it with `cargo run --bin 13-client`, or `-- 127.0.0.1:9000 alice` for
//! another address and a name. It works with every server from `13-names` on.

use std::{
    env, error,
    io::{self, IsTerminal, Write},
    net::Shutdown,
    pin::pin,
    process::ExitCode,
    result,
};

use async_std::{io::stdin, net::TcpStream, task};
use futures::{
    AsyncBufReadExt, AsyncWriteExt, StreamExt,
    future::{self, Either},
    io::BufReader,
    stream::iter,
};

// ANCHOR: closed
/// What there is to say when the server gave no reason.
const CLOSED: &str = "the server closed the connection";
// ANCHOR_END: closed

/// What can go wrong here goes wrong at run time and is reported to a person,
/// so any error will do.
type Result<T> = result::Result<T, Box<dyn error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let (addr, name) = match args.as_slice() {
        [] => ("127.0.0.1:8080", None),
        [addr] => (addr.as_str(), None),
        [addr, name] => (addr.as_str(), Some(name.as_str())),
        _ => {
            eprintln!("error: expected at most an address and a name");
            return ExitCode::FAILURE;
        }
    };
    match task::block_on(chat(addr, name)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

// ANCHOR: chat
/// Owns the connection. Ends well when the server has let us in, and has closed
/// the connection after our end of input.
async fn chat(addr: &str, name: Option<&str>) -> Result<()> {
    let stream = TcpStream::connect(addr)
        .await
        .map_err(|error| format!("cannot reach a server on {addr}: {error}"))?;
    let (send, receive) = (pin!(send(&stream, name)), pin!(receive(&stream)));
    match future::select(send, receive).await {
        Either::Left((sent, receive)) => {
            // An error says that the connection is lost; `receive` sees that too.
            let _ = stream.shutdown(Shutdown::Write);
            receive.await?; // 1
            sent
        }
        Either::Right((received, _)) => {
            received?;
            Err(CLOSED.into()) // 2
        }
    }
}
// ANCHOR_END: chat

/// Sends the name and then the lines of standard input. Ends at the end of
/// input, or when the connection is lost.
async fn send(mut stream: &TcpStream, name: Option<&str>) -> Result<()> {
    let mut input = BufReader::new(stdin()).lines();
    let name = match name {
        Some(name) => name.to_string(),
        None => {
            if io::stdin().is_terminal() {
                eprint!("your name: ");
            }
            input
                .next()
                .await
                .transpose()
                .map_err(unreadable)?
                .unwrap_or_default()
        }
    };
    let mut lines = iter([Ok(name)]).chain(input);
    while let Some(line) = lines.next().await {
        let line = line.map_err(unreadable)?;
        stream.write_all(format!("{line}\n").as_bytes()).await.map_err(lost)?;
    }
    Ok(())
}

// ANCHOR: receive
/// Prints the lines of the server, its errors in words. Ends when the server
/// closes the connection, and fails when it does not let us in.
async fn receive(stream: &TcpStream) -> Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let mut welcome = false;
    while let Some(line) = lines.next().await {
        let line = line.map_err(lost)?;
        match line.strip_prefix("error ").map(in_words) {
            Some(error) if !welcome => return Err(error.into()), // 1
            Some(error) => eprintln!("error: {error}"),          // 2
            None => {
                welcome = true; // 3
                writeln!(io::stdout(), "{line}").map_err(|error| {
                    format!("cannot write to standard output: {error}")
                })?;
            }
        }
    }
    if welcome { Ok(()) } else { Err(CLOSED.into()) } // 4
}
// ANCHOR_END: receive

// ANCHOR: in_words
/// Makes a sentence of CODE and DETAIL. The detail is one already, except where
/// the specification says what it is (7.2).
fn in_words(error: &str) -> String {
    match error.split_once(' ') {
        Some(("unknown-peer", name)) => format!("nobody is called {name}"),
        Some((_, detail)) => detail.to_string(),
        None => error.to_string(),
    }
}
// ANCHOR_END: in_words

fn unreadable(error: io::Error) -> String {
    format!("cannot read standard input: {error}")
}

fn lost(error: io::Error) -> String {
    format!("lost the connection: {error}")
}
