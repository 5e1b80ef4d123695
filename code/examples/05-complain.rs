//! A solution of an exercise of chapter 05: a line without a colon is reported.
//!
//! Run it with `cargo run --example 05-complain`.

use std::{env, error, future::Future, process::ExitCode, result};

use async_std::{
    net::{TcpListener, TcpStream},
    task,
};
use futures::{AsyncBufReadExt, StreamExt, io::BufReader};

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
    match task::block_on(accept_loop(addr)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Owns the listener. Ends on the first error of the listener; one connection's
/// error is its own.
async fn accept_loop(addr: &str) -> Result<()> {
    let listener = TcpListener::bind(addr)
        .await
        .map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);
    let mut incoming = listener.incoming();
    while let Some(stream) = incoming.next().await {
        spawn_and_log_error(connection_loop(stream?));
    }
    Ok(())
}

/// Spawns a task that nobody waits for. Its error is reported here, or nobody
/// would learn of it.
fn spawn_and_log_error(
    future: impl Future<Output = Result<()>> + Send + 'static,
) {
    task::spawn(async move {
        if let Err(error) = future.await {
            eprintln!("error: {error}");
        }
    });
}

/// Owns one connection and reads its lines. Ends when the client has finished
/// sending.
async fn connection_loop(stream: TcpStream) -> Result<()> {
    eprintln!("accepted {}", stream.peer_addr()?);
    let mut lines = BufReader::new(&stream).lines();
    let name = match lines.next().await {
        Some(line) => line?.trim().to_string(),
        None => return Err("a connection ended without a name".into()),
    };
    if name.is_empty() {
        return Err("a client sent an empty name".into());
    }
    while let Some(line) = lines.next().await {
        let line = line?;
        let Some((dest, msg)) = line.split_once(':') else {
            eprintln!("{name}: no colon in `{line}`");
            continue;
        };
        let mut to: Vec<String> =
            dest.split(',').map(|dest| dest.trim().to_string()).collect();
        to.sort();
        to.dedup();
        let msg = msg.trim().to_string();
        eprintln!("{name} to {}: {msg}", to.join(", "));
    }
    Ok(())
}
