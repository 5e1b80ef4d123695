//! Stage 03: write lines.
//!
//! Each connection gets a second task, the only one that writes to its socket.
//! A message to your own name comes back; every other name is reported as not
//! reachable yet.
//!
//! Run it with `cargo run --bin 06-write`, or `-- 127.0.0.1:9000` for another
//! address.
//!
//! One client cannot reach another yet.

// ANCHOR: imports
use std::{env, error, future::Future, process::ExitCode, result, sync::Arc};

use async_std::{
    net::{TcpListener, TcpStream},
    task,
};
use futures::{
    AsyncBufReadExt, AsyncWriteExt, StreamExt, channel::mpsc, io::BufReader,
};
// ANCHOR_END: imports

/// What can go wrong here goes wrong at run time and is reported to a person,
/// so any error will do.
type Result<T> = result::Result<T, Box<dyn error::Error + Send + Sync>>;
// ANCHOR: channel
type Sender<T> = mpsc::UnboundedSender<T>;
type Receiver<T> = mpsc::UnboundedReceiver<T>;
// ANCHOR_END: channel

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

// ANCHOR: connection_loop
/// Reads one connection's lines. Shares the socket with
/// `connection_writer_loop`, whose queue it feeds. Ends when the client has
/// finished sending; the writer ends then too.
async fn connection_loop(stream: TcpStream) -> Result<()> {
    eprintln!("accepted {}", stream.peer_addr()?);
    let stream = Arc::new(stream); // 1
    let mut lines = BufReader::new(&*stream).lines(); // 2
    // ANCHOR_END: connection_loop
    let name = match lines.next().await {
        Some(line) => line?.trim().to_string(),
        None => return Err("a connection ended without a name".into()),
    };
    if name.is_empty() {
        return Err("a client sent an empty name".into());
    }
    // ANCHOR: spawn_writer
    let (sender, receiver): (Sender<String>, Receiver<String>) =
        mpsc::unbounded();
    spawn_and_log_error(connection_writer_loop(receiver, Arc::clone(&stream)));
    // ANCHOR_END: spawn_writer
    while let Some(line) = lines.next().await {
        let line = line?;
        let Some((dest, msg)) = line.split_once(':') else {
            continue;
        };
        let mut to: Vec<String> =
            dest.split(',').map(|dest| dest.trim().to_string()).collect();
        to.sort();
        to.dedup();
        let msg = msg.trim().to_string();
        // ANCHOR: deliver
        for dest in to {
            if dest == name {
                sender.unbounded_send(format!("from {name}: {msg}\n"))?;
            } else {
                eprintln!("{name} to {dest}: not reachable yet");
            }
        }
        // ANCHOR_END: deliver
    }
    Ok(())
}

// ANCHOR: connection_writer_loop
/// Owns the outgoing half of one connection: no other task writes to its
/// socket. Ends when nobody can send to its queue any more and the queue is
/// empty, or when the client cannot be written to.
async fn connection_writer_loop(
    mut messages: Receiver<String>,
    stream: Arc<TcpStream>,
) -> Result<()> {
    let mut stream = &*stream;
    while let Some(msg) = messages.next().await {
        stream.write_all(msg.as_bytes()).await?;
    }
    Ok(())
}
// ANCHOR_END: connection_writer_loop
