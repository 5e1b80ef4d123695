//! Stage 05: stop cleanly.
//!
//! Ctrl-C (and SIGTERM on Unix) closes the listener, ends every reader,
//! delivers what was accepted, and waits for every task. A second Ctrl-C ends
//! the server at once.
//!
//! Run it with `cargo run --bin 09-shutdown`, or `-- 127.0.0.1:9000` for
//! another address.
//!
//! It cannot stop while a peer does not read, and it never forgets a peer.

// ANCHOR: imports
use std::{
    collections::{HashMap, hash_map::Entry},
    convert::Infallible,
    env, error,
    future::Future,
    process::{self, ExitCode},
    result,
    sync::Arc,
};

use async_std::{
    net::{TcpListener, TcpStream},
    task,
};
use futures::{
    AsyncBufReadExt, AsyncWriteExt, FutureExt, StreamExt,
    channel::{mpsc, oneshot},
    future::Shared,
    io::BufReader,
};
// ANCHOR_END: imports

/// What can go wrong here goes wrong at run time and is reported to a person,
/// so any error will do.
type Result<T> = result::Result<T, Box<dyn error::Error + Send + Sync>>;
type Sender<T> = mpsc::UnboundedSender<T>;
type Receiver<T> = mpsc::UnboundedReceiver<T>;
// ANCHOR: stop_type
/// Resolves when the server is to stop. Every clone of it does.
type Stop = Shared<oneshot::Receiver<()>>;
// ANCHOR_END: stop_type
// ANCHOR: running_type
/// Held by every task while it runs; nothing is ever sent. When the last one is
/// dropped, the receiving end of the channel learns that every task has ended.
type Running = Sender<Infallible>;
// ANCHOR_END: running_type

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

/// What readers tell the broker.
enum Event {
    /// A client has sent its name; messages for it go to this stream.
    NewPeer { name: String, stream: Arc<TcpStream> },
    /// A client has sent a message.
    Message { from: String, to: Vec<String>, msg: String },
}

// ANCHOR: ctrl_c
/// Resolves at the first Ctrl-C; on Unix also at the first SIGTERM or SIGHUP. A
/// second one ends the process at once with status 130: 128 and the number of
/// SIGINT, as shells report it.
fn ctrl_c() -> Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    let mut first = Some(sender);
    ctrlc::set_handler(move || match first.take() {
        Some(sender) => drop(sender), // 1
        None => process::exit(130),   // 2
    })?;
    Ok(receiver)
}
// ANCHOR_END: ctrl_c

// ANCHOR: accept_loop
/// Owns the listener. Ends when the server is told to stop and every task has
/// ended, or on the first error of the listener.
async fn accept_loop(addr: &str) -> Result<()> {
    let listener = TcpListener::bind(addr)
        .await
        .map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    let ctrl_c = ctrl_c()?;
    let (stopping, stop) = oneshot::channel();
    let stop = stop.shared();
    println!("listening on {}", listener.local_addr()?);
    let (running, mut all_tasks) = mpsc::unbounded();
    let (broker, events) = mpsc::unbounded();
    spawn_and_log_error(broker_loop(events, running.clone()), running.clone());
    let mut incoming = listener.incoming().take_until(ctrl_c); // 1
    while let Some(stream) = incoming.next().await {
        spawn_and_log_error(
            connection_loop(broker.clone(), stream?, stop.clone()),
            running.clone(),
        );
    }
    // ANCHOR_END: accept_loop
    // ANCHOR: stopping
    drop(incoming);
    drop(listener); // 1
    drop(stopping); // 2
    drop(broker); // 3
    drop(running);
    all_tasks.next().await; // 4
    Ok(())
}
// ANCHOR_END: stopping

// ANCHOR: spawn_and_log_error
/// Spawns a task that reports its own error. The task holds `running` until it
/// has ended.
fn spawn_and_log_error(
    future: impl Future<Output = Result<()>> + Send + 'static,
    running: Running,
) {
    task::spawn(async move {
        if let Err(error) = future.await {
            eprintln!("error: {error}");
        }
        drop(running);
    });
}
// ANCHOR_END: spawn_and_log_error

// ANCHOR: connection_loop
/// Reads one connection's lines and makes events of them. Ends when the client
/// has finished sending, when the server is told to stop, or when the broker is
/// gone.
async fn connection_loop(
    broker: Sender<Event>,
    stream: TcpStream,
    stop: Stop,
) -> Result<()> {
    eprintln!("accepted {}", stream.peer_addr()?);
    let stream = Arc::new(stream);
    let mut lines = BufReader::new(&*stream).lines().take_until(stop);
    // ANCHOR_END: connection_loop
    let name = match lines.next().await {
        Some(line) => line?.trim().to_string(),
        None => return Err("a connection ended without a name".into()),
    };
    if name.is_empty() {
        return Err("a client sent an empty name".into());
    }
    broker.unbounded_send(Event::NewPeer {
        name: name.clone(),
        stream: Arc::clone(&stream),
    })?;
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
        broker.unbounded_send(Event::Message {
            from: name.clone(),
            to,
            msg,
        })?;
    }
    Ok(())
}

// ANCHOR: broker_loop
/// Owns the map of all peers, so that no lock is needed. Ends when nobody can
/// send it events any more, and, a fault, at the first message to a peer whose
/// writer has ended. Its map ends with it, and so every writer that has emptied
/// its queue.
async fn broker_loop(
    mut events: Receiver<Event>,
    running: Running,
) -> Result<()> {
    // ANCHOR_END: broker_loop
    let mut peers: HashMap<String, Sender<String>> = HashMap::new();
    while let Some(event) = events.next().await {
        match event {
            Event::Message { from, to, msg } => {
                for dest in to {
                    if let Some(peer) = peers.get(&dest) {
                        peer.unbounded_send(format!("from {from}: {msg}\n"))?;
                    }
                }
            }
            Event::NewPeer { name, stream } => match peers.entry(name) {
                Entry::Occupied(taken) => {
                    eprintln!("the name {} is taken", taken.key())
                }
                Entry::Vacant(free) => {
                    let (sender, receiver) = mpsc::unbounded();
                    free.insert(sender);
                    // ANCHOR: spawn_writer
                    spawn_and_log_error(
                        connection_writer_loop(receiver, stream),
                        running.clone(),
                    );
                    // ANCHOR_END: spawn_writer
                }
            },
        }
    }
    Ok(())
}

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
