//! A solution of an exercise of chapter 08: a server that is not there yet is
//! waited for.
//!
//! Run it with `cargo run --example 08-retry`.

use std::{
    env, error,
    io::{self, IsTerminal, Write},
    net::Shutdown,
    pin::pin,
    process::ExitCode,
    result,
    time::Duration,
};

use async_std::{io::stdin, net::TcpStream, task};
use futures::{
    AsyncBufReadExt, AsyncWriteExt, StreamExt,
    future::{self, Either},
    io::BufReader,
    stream::iter,
};

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

/// How often to try, and how long to wait in between.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// Tries to connect until a server is there.
async fn connect(addr: &str) -> Result<TcpStream> {
    let mut tries = 0;
    loop {
        tries += 1;
        match TcpStream::connect(addr).await {
            Ok(stream) => return Ok(stream),
            Err(_) if tries < TRIES => {
                if tries == 1 {
                    eprintln!("waiting for a server on {addr}");
                }
                task::sleep(PAUSE).await;
            }
            Err(error) => {
                return Err(format!(
                    "cannot reach a server on {addr}: {error}"
                )
                .into());
            }
        }
    }
}

/// Owns the connection. Ends well when the server has closed it after our end
/// of input.
async fn chat(addr: &str, name: Option<&str>) -> Result<()> {
    let stream = connect(addr).await?;
    let (send, receive) = (pin!(send(&stream, name)), pin!(receive(&stream)));
    match future::select(send, receive).await {
        Either::Left((sent, receive)) => {
            // An error says that the connection is lost; `receive` sees that too.
            let _ = stream.shutdown(Shutdown::Write);
            let received = receive.await;
            sent?;
            received
        }
        Either::Right((received, _)) => {
            received?;
            Err("the server closed the connection".into())
        }
    }
}

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
    if name.trim().is_empty() {
        return Err(
            "no name; give one as the second argument or as the first line"
                .into(),
        );
    }
    let mut lines = iter([Ok(name)]).chain(input);
    while let Some(line) = lines.next().await {
        let line = line.map_err(unreadable)?;
        stream.write_all(format!("{line}\n").as_bytes()).await.map_err(lost)?;
    }
    Ok(())
}

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

fn unreadable(error: io::Error) -> String {
    format!("cannot read standard input: {error}")
}

fn lost(error: io::Error) -> String {
    format!("lost the connection: {error}")
}
