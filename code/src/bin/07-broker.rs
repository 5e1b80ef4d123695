//! Stage 07: connect readers and writers with a broker.
//!
//! One task, the broker, owns the map of all peers. Readers send it events
//! through one queue; it passes each message on to the writers of its
//! recipients. Two people can chat.
//!
//! Run it with `cargo run --bin 07-broker`, or `-- 127.0.0.1:9000` for another
//! address.
//!
//! It cannot stop yet, and it never forgets a peer: after one has left, the
//! broker can die.

// ANCHOR: imports
use std::{
    collections::{HashMap, hash_map::Entry},
    env, error,
    future::Future,
    process::ExitCode,
    result,
    sync::Arc,
};

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
type Sender<T> = mpsc::UnboundedSender<T>;
type Receiver<T> = mpsc::UnboundedReceiver<T>;

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

// ANCHOR: event
/// What readers tell the broker.
enum Event {
    /// A client has sent its name; messages for it go to this stream.
    NewPeer { name: String, stream: Arc<TcpStream> },
    /// A client has sent a message.
    Message { from: String, to: Vec<String>, msg: String },
}
// ANCHOR_END: event

// ANCHOR: accept_loop
/// Owns the listener. Ends on the first error of the listener; one connection's
/// error is its own.
async fn accept_loop(addr: &str) -> Result<()> {
    let listener = TcpListener::bind(addr)
        .await
        .map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);
    let (broker, events) = mpsc::unbounded();
    spawn_and_log_error(broker_loop(events));
    let mut incoming = listener.incoming();
    while let Some(stream) = incoming.next().await {
        spawn_and_log_error(connection_loop(broker.clone(), stream?));
    }
    Ok(())
}
// ANCHOR_END: accept_loop

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
/// Reads one connection's lines and makes events of them. Ends when the client
/// has finished sending or the broker is gone.
async fn connection_loop(
    broker: Sender<Event>,
    stream: TcpStream,
) -> Result<()> {
    // ANCHOR_END: connection_loop
    eprintln!("accepted {}", stream.peer_addr()?);
    let stream = Arc::new(stream);
    let mut lines = BufReader::new(&*stream).lines();
    let name = match lines.next().await {
        Some(line) => line?.trim().to_string(),
        None => return Err("a connection ended without a name".into()),
    };
    if name.is_empty() {
        return Err("a client sent an empty name".into());
    }
    // ANCHOR: connection_rest
    // ANCHOR: new_peer
    broker.unbounded_send(Event::NewPeer {
        name: name.clone(),
        stream: Arc::clone(&stream),
    })?;
    // ANCHOR_END: new_peer
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
        // ANCHOR: message
        broker.unbounded_send(Event::Message {
            from: name.clone(),
            to,
            msg,
        })?;
        // ANCHOR_END: message
    }
    Ok(())
}
// ANCHOR_END: connection_rest

// ANCHOR: broker_loop
// ANCHOR: broker_messages
/// Owns the map of all peers, so that no lock is needed. Ends when nobody can
/// send it events any more, and, a fault, at the first message to a peer whose
/// writer has ended.
async fn broker_loop(mut events: Receiver<Event>) -> Result<()> {
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
            // ANCHOR_END: broker_messages
            // ANCHOR: broker_logins
            Event::NewPeer { name, stream } => match peers.entry(name) {
                Entry::Occupied(taken) => {
                    eprintln!("the name {} is taken", taken.key())
                }
                Entry::Vacant(free) => {
                    let (sender, receiver) = mpsc::unbounded();
                    free.insert(sender);
                    spawn_and_log_error(connection_writer_loop(
                        receiver, stream,
                    ));
                }
            },
        }
    }
    Ok(())
}
// ANCHOR_END: broker_logins
// ANCHOR_END: broker_loop

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
