//! A solution of an exercise of chapter 04: one bad connection ends no other.
//!
//! Run it with `cargo run --example 04-survive`.

use std::{env, error, process::ExitCode, result};

use async_std::{net::TcpListener, task};
use futures::StreamExt;

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

/// Owns the listener. Ends on the first error.
async fn accept_loop(addr: &str) -> Result<()> {
    let listener = TcpListener::bind(addr)
        .await
        .map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);
    let mut incoming = listener.incoming();
    while let Some(stream) = incoming.next().await {
        let stream = stream?;
        match stream.peer_addr() {
            Ok(addr) => eprintln!("accepted {addr}"),
            Err(error) => {
                eprintln!("error: a connection was lost at once: {error}")
            }
        }
    }
    Ok(())
}
