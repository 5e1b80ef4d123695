//! A solution of an exercise of chapter 11: a name that is in use is refused.
//!
//! The price: who connects again before the server has read the goodbye is
//! refused too.
//!
//! Run it with `cargo run --example 11-refuse`.

use std::{
    collections::HashMap,
    convert::Infallible,
    env, error,
    future::Future,
    net::Shutdown,
    pin::pin,
    process::{self, ExitCode},
    result,
    sync::Arc,
    time::Duration,
};

use async_std::{
    net::{TcpListener, TcpStream},
    task,
};
use futures::{
    AsyncBufReadExt, AsyncWriteExt, FutureExt, Stream, StreamExt,
    channel::{mpsc, oneshot},
    future::{self, Either, Shared},
    io::{self, BufReader},
};

/// How long a shutdown waits for a peer that does not read.
const GRACE: Duration = Duration::from_secs(5);
/// How long a client may take to close its half after we have closed ours.
const LINGER: Duration = Duration::from_secs(1);

/// What can go wrong here goes wrong at run time and is reported to a person,
/// so any error will do.
type Result<T> = result::Result<T, Box<dyn error::Error + Send + Sync>>;
type Sender<T> = mpsc::UnboundedSender<T>;
type Receiver<T> = mpsc::UnboundedReceiver<T>;
/// Resolves when the server is to stop. Every clone of it does.
type Stop = Shared<oneshot::Receiver<()>>;
/// Held by every task while it runs; nothing is ever sent. When the last one is
/// dropped, the receiving end of the channel learns that every task has ended.
type Running = Sender<Infallible>;

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
    /// A client has sent its name; messages for it go to this stream. `read`
    /// resolves when no more is read from it.
    NewPeer {
        id: usize,
        name: String,
        stream: Arc<TcpStream>,
        read: oneshot::Receiver<Infallible>,
    },
    /// A client has sent a message.
    Message { from: String, to: Vec<String>, msg: String },
    /// No more messages come from this connection.
    PeerLeft { id: usize, name: String },
}

/// What the broker knows of a client: which connection is its own, and where to
/// queue its messages.
struct Peer {
    id: usize,
    sender: Sender<String>,
}

/// Resolves at the first Ctrl-C; on Unix also at the first SIGTERM or SIGHUP. A
/// second one ends the process at once with status 130: 128 and the number of
/// SIGINT, as shells report it.
fn ctrl_c() -> Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    let mut first = Some(sender);
    ctrlc::set_handler(move || match first.take() {
        Some(sender) => drop(sender),
        None => process::exit(130),
    })?;
    Ok(receiver)
}

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
    spawn_and_log_error(
        broker_loop(events, stop.clone(), running.clone()),
        running.clone(),
    );
    let mut incoming = listener.incoming().take_until(ctrl_c).enumerate();
    while let Some((id, stream)) = incoming.next().await {
        spawn_and_log_error(
            connection_loop(broker.clone(), id, stream?, stop.clone()),
            running.clone(),
        );
    }
    drop(incoming);
    drop(listener);
    drop(stopping);
    drop(broker);
    drop(running);
    all_tasks.next().await;
    Ok(())
}

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

/// Reads one connection's lines and makes events of them. Ends when the client
/// has finished sending or cannot be read from, when the server is told to
/// stop, or when the broker is gone.
async fn connection_loop(
    broker: Sender<Event>,
    id: usize,
    stream: TcpStream,
    stop: Stop,
) -> Result<()> {
    eprintln!("accepted {}", stream.peer_addr()?);
    let stream = Arc::new(stream);
    let mut lines = BufReader::new(&*stream).lines().take_until(stop);
    let name = match lines.next().await {
        Some(line) => line?.trim().to_string(),
        None => return Err("a connection ended without a name".into()),
    };
    if name.is_empty() {
        return Err("a client sent an empty name".into());
    }
    let (reading, read) = oneshot::channel();
    broker.unbounded_send(Event::NewPeer {
        id,
        name: name.clone(),
        stream: Arc::clone(&stream),
        read,
    })?;
    let result = read_messages(broker.clone(), name.clone(), lines).await;
    broker.unbounded_send(Event::PeerLeft { id, name })?;
    drop(broker);
    // An error says that nothing more comes, which is all that we wait for.
    let _ = io::copy(&*stream, &mut io::sink()).await;
    drop(reading);
    result
}

/// Makes an event of each message. Ends with `lines`, or on the first error.
async fn read_messages(
    broker: Sender<Event>,
    name: String,
    mut lines: impl Stream<Item = io::Result<String>> + Unpin,
) -> Result<()> {
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

/// Owns the map of all peers, so that no lock is needed. Ends when nobody can
/// send it events any more. Its map ends with it, and so every writer that has
/// emptied its queue.
async fn broker_loop(
    mut events: Receiver<Event>,
    stop: Stop,
    running: Running,
) -> Result<()> {
    let mut peers: HashMap<String, Peer> = HashMap::new();
    while let Some(event) = events.next().await {
        match event {
            Event::Message { from, to, msg } => {
                for dest in to {
                    if let Some(peer) = peers.get(&dest) {
                        // An error says that this peer's writer has ended. Its
                        // connection is closed then, so its reader is about to
                        // say goodbye.
                        let _ = peer
                            .sender
                            .unbounded_send(format!("from {from}: {msg}\n"));
                    }
                }
            }
            Event::NewPeer { id, name, stream, read } => {
                if peers.contains_key(&name) {
                    eprintln!("the name {name} is taken");
                    // An error says that the client has closed the connection
                    // already.
                    let _ = stream.shutdown(Shutdown::Both);
                    continue;
                }
                let (sender, receiver) = mpsc::unbounded();
                let writer = connection_writer_loop(
                    name.clone(),
                    receiver,
                    stream,
                    read,
                    stop.clone(),
                );
                spawn_and_log_error(writer, running.clone());
                peers.insert(name, Peer { id, sender });
            }
            Event::PeerLeft { id, name } => {
                if peers.get(&name).is_some_and(|peer| peer.id == id) {
                    peers.remove(&name);
                }
            }
        }
    }
    Ok(())
}

/// Owns the outgoing half of one connection: no other task writes to its socket.
/// Ends when nobody can send to its queue any more and the queue is empty, when
/// the client cannot be written to, or when it has not read everything within
/// [`GRACE`] of the server being told to stop. Closes the connection then.
async fn connection_writer_loop(
    name: String,
    mut messages: Receiver<String>,
    stream: Arc<TcpStream>,
    read: oneshot::Receiver<Infallible>,
    stop: Stop,
) -> Result<()> {
    let write = async {
        let mut stream = &*stream;
        while let Some(msg) = messages.next().await {
            stream.write_all(msg.as_bytes()).await?;
        }
        stream.shutdown(Shutdown::Write)?;
        future::select(read, pin!(task::sleep(LINGER))).await;
        Ok(())
    };
    let give_up = stop.then(|_| task::sleep(GRACE));
    let result = match future::select(pin!(write), pin!(give_up)).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => {
            Err(format!("{name} does not read; giving up on it").into())
        }
    };
    // An error says that the client has closed the connection already.
    let _ = stream.shutdown(Shutdown::Both);
    result
}
