//! A solution of an exercise of chapter 13: a client that takes another name
//! when its own is taken.
//!
//! Run it with `cargo run --example 13-next-client`.

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
    AsyncBufReadExt, AsyncWriteExt, Stream, StreamExt,
    future::{self, Either},
    io::BufReader,
};

/// What there is to say when the server gave no reason.
const CLOSED: &str = "the server closed the connection";
/// How many names are tried: alice, alice-2, alice-3 and so on.
const TRIES: usize = 9;

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

/// Owns the connection, once it is logged in. Ends well when the server has
/// closed it after our end of input.
async fn chat(addr: &str, name: Option<&str>) -> Result<()> {
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
    let lines = log_in(addr, &name).await?;
    let stream = lines.get_ref().clone();
    let send = pin!(send(stream.clone(), input));
    let receive = pin!(receive(lines));
    match future::select(send, receive).await {
        Either::Left((sent, receive)) => {
            // An error says that the connection is lost; `receive` sees that too.
            let _ = stream.shutdown(Shutdown::Write);
            receive.await?;
            sent
        }
        Either::Right((received, _)) => {
            received?;
            Err(CLOSED.into())
        }
    }
}

/// Connects and logs in, under the next name if one is taken. Returns the
/// connection, of which the welcome is read and printed already.
async fn log_in(addr: &str, name: &str) -> Result<BufReader<TcpStream>> {
    let mut wanted = name.to_string();
    for next in 2.. {
        let mut stream = TcpStream::connect(addr).await.map_err(|error| {
            format!("cannot reach a server on {addr}: {error}")
        })?;
        stream
            .write_all(format!("{wanted}\n").as_bytes())
            .await
            .map_err(lost)?;
        let mut stream = BufReader::new(stream);
        let mut answer = String::new();
        stream.read_line(&mut answer).await.map_err(lost)?;
        let answer = answer.trim_end();
        match answer.strip_prefix("error ") {
            Some(error)
                if error.starts_with("name-taken ") && next <= TRIES =>
            {
                eprintln!("{}", in_words(error));
                wanted = format!("{name}-{next}");
            }
            Some(error) => return Err(in_words(error).into()),
            None if answer.is_empty() => break,
            None => {
                print(answer)?;
                return Ok(stream);
            }
        }
    }
    Err(CLOSED.into())
}

/// Sends the lines of standard input. Ends at the end of input, or when the
/// connection is lost.
async fn send(
    mut stream: TcpStream,
    mut input: impl Stream<Item = io::Result<String>> + Unpin,
) -> Result<()> {
    while let Some(line) = input.next().await {
        let line = line.map_err(unreadable)?;
        stream.write_all(format!("{line}\n").as_bytes()).await.map_err(lost)?;
    }
    Ok(())
}

/// Prints the lines of the server, its errors in words. Ends when the server
/// closes the connection.
async fn receive(stream: BufReader<TcpStream>) -> Result<()> {
    let mut lines = stream.lines();
    while let Some(line) = lines.next().await {
        let line = line.map_err(lost)?;
        match line.strip_prefix("error ").map(in_words) {
            Some(error) => eprintln!("error: {error}"),
            None => print(&line)?,
        }
    }
    Ok(())
}

fn print(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}").map_err(|error| {
        format!("cannot write to standard output: {error}").into()
    })
}

/// Makes a sentence of CODE and DETAIL. The detail is one already, except where
/// the specification says what it is (7.2).
fn in_words(error: &str) -> String {
    match error.split_once(' ') {
        Some(("unknown-peer", name)) => format!("nobody is called {name}"),
        Some((_, detail)) => detail.to_string(),
        None => error.to_string(),
    }
}

fn unreadable(error: io::Error) -> String {
    format!("cannot read standard input: {error}")
}

fn lost(error: io::Error) -> String {
    format!("lost the connection: {error}")
}
