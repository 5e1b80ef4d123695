//! Stage 07: a client.
//!
//! Sends the lines of standard input to a server of the book and prints the
//! lines that come back. At the end of input it tells the server that it has
//! finished, and waits for the last replies.
//!
//! Run it with `cargo run --bin 08-client`, or `-- 127.0.0.1:9000 alice` for
//! another address and a name. It works with every server from `07-broker` on.
//!
//! It cannot say why a server closed the connection.

// ANCHOR: imports
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
// ANCHOR_END: imports

// ANCHOR: main
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
// ANCHOR_END: main

// ANCHOR: chat
/// Owns the connection. Ends well when the server has closed it after our end
/// of input.
async fn chat(addr: &str, name: Option<&str>) -> Result<()> {
    let stream = TcpStream::connect(addr)
        .await
        .map_err(|error| format!("cannot reach a server on {addr}: {error}"))?;
    let (send, receive) = (pin!(send(&stream, name)), pin!(receive(&stream)));
    match future::select(send, receive).await {
        Either::Left((sent, receive)) => {
            // An error says that the connection is lost; `receive` sees that too.
            let _ = stream.shutdown(Shutdown::Write); // 1
            let received = receive.await; // 2
            sent?;
            received
        }
        Either::Right((received, _)) => {
            received?;
            Err("the server closed the connection".into()) // 3
        }
    }
}
// ANCHOR_END: chat

// ANCHOR: send
/// Sends the name and then the lines of standard input. Ends at the end of
/// input, or when the connection is lost.
async fn send(mut stream: &TcpStream, name: Option<&str>) -> Result<()> {
    let mut input = BufReader::new(stdin()).lines(); // 1
    let name = match name {
        Some(name) => name.to_string(),
        None => {
            if io::stdin().is_terminal() {
                eprint!("your name: "); // 2
            }
            input
                .next()
                .await
                .transpose()
                .map_err(unreadable)?
                .unwrap_or_default()
        }
    };
    if name.trim().is_empty() {
        return Err(
            "no name; give one as the second argument or as the first line"
                .into(),
        );
    }
    let mut lines = iter([Ok(name)]).chain(input); // 3
    while let Some(line) = lines.next().await {
        let line = line.map_err(unreadable)?;
        stream.write_all(format!("{line}\n").as_bytes()).await.map_err(lost)?;
    }
    Ok(())
}
// ANCHOR_END: send

// ANCHOR: receive
/// Prints the lines of the server as they are. Ends when the server closes the
/// connection.
async fn receive(stream: &TcpStream) -> Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next().await {
        let line = line.map_err(lost)?;
        writeln!(io::stdout(), "{line}").map_err(|error| {
            format!("cannot write to standard output: {error}")
        })?;
    }
    Ok(())
}
// ANCHOR_END: receive

// ANCHOR: lost
fn unreadable(error: io::Error) -> String {
    format!("cannot read standard input: {error}")
}

fn lost(error: io::Error) -> String {
    format!("lost the connection: {error}")
}
// ANCHOR_END: lost
