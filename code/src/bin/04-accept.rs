//! Stage 01: accept connections.
//!
//! The server listens, reports each connection on stderr, and drops it.
//!
//! Run it with `cargo run --bin 04-accept`, or `-- 127.0.0.1:9000` for another
//! address.
//!
//! It cannot read yet, and one badly timed reset ends it.

// ANCHOR: imports
use std::{env, error, process::ExitCode, result};

use async_std::{net::TcpListener, task};
use futures::StreamExt;
// ANCHOR_END: imports

// ANCHOR: result
/// What can go wrong here goes wrong at run time and is reported to a person,
/// so any error will do.
type Result<T> = result::Result<T, Box<dyn error::Error + Send + Sync>>;
// ANCHOR_END: result

// ANCHOR: main
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
// ANCHOR_END: main

// ANCHOR: accept_loop
/// Owns the listener. Ends on the first error.
async fn accept_loop(addr: &str) -> Result<()> {
    let listener = TcpListener::bind(addr) // 1
        .await
        .map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    println!("listening on {}", listener.local_addr()?); // 2
    let mut incoming = listener.incoming(); // 3
    while let Some(stream) = incoming.next().await {
        let stream = stream?;
        eprintln!("accepted {}", stream.peer_addr()?); // 4
    }
    Ok(())
}
// ANCHOR_END: accept_loop
