//! The server of chapter 11 on another runtime: tokio.
//!
//! It has the same tasks and channels, and keeps every promise of
//! `11-cancel`. The servers of Part II are measured against it.
//!
//! Run it with `cargo run --example 11-tokio`; `-- --nodelay` switches
//! Nagle's algorithm off.

use std::{
    collections::HashMap,
    convert::Infallible,
    env, error,
    future::Future,
    process::{self, ExitCode},
    result,
    time::Duration,
};

use tokio::{
    io::{self, AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    select,
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        oneshot, watch,
    },
    task,
    time::{sleep, timeout},
};

/// How long a shutdown waits for a peer that does not read.
const GRACE: Duration = Duration::from_secs(5);
/// How long a client may take to close its half after we have closed ours.
const LINGER: Duration = Duration::from_secs(1);

/// What can go wrong here goes wrong at run time and is reported to a person,
/// so any error will do.
type Result<T> = result::Result<T, Box<dyn error::Error + Send + Sync>>;
type Sender<T> = UnboundedSender<T>;
type Receiver<T> = UnboundedReceiver<T>;
/// Changes when the server is to stop; nothing is ever sent.
type Stop = watch::Receiver<()>;
/// Held by every task while it runs; nothing is ever sent. When the last one is
/// dropped, the receiving end of the channel learns that every task has ended.
type Running = Sender<Infallible>;

#[tokio::main]
async fn main() -> ExitCode {
    let mut args: Vec<String> = env::args().skip(1).collect();
    let nodelay = args.iter().any(|arg| arg == "--nodelay");
    args.retain(|arg| arg != "--nodelay");
    let addr = match args.as_slice() {
        [] => "127.0.0.1:8080",
        [addr] => addr,
        _ => {
            eprintln!("error: expected one address, such as 127.0.0.1:9000");
            return ExitCode::FAILURE;
        }
    };
    match accept_loop(addr, nodelay).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What readers tell the broker.
enum Event {
    /// A client has sent its name; messages for it go to this half of its
    /// stream. `read` resolves when no more is read from it. `writing` is held
    /// while anything may be written to it.
    NewPeer {
        id: usize,
        name: String,
        stream: OwnedWriteHalf,
        read: oneshot::Receiver<Infallible>,
        writing: Sender<Infallible>,
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
async fn accept_loop(addr: &str, nodelay: bool) -> Result<()> {
    let listener = TcpListener::bind(addr)
        .await
        .map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    let mut ctrl_c = ctrl_c()?;
    let (stopping, stop) = watch::channel(());
    println!("listening on {}", listener.local_addr()?);
    let (running, mut all_tasks) = mpsc::unbounded_channel();
    let (broker, events) = mpsc::unbounded_channel();
    spawn_and_log_error(
        broker_loop(events, stop.clone(), running.clone()),
        running.clone(),
    );
    for id in 0.. {
        let stream = select! {
            accepted = listener.accept() => accepted?.0,
            _ = &mut ctrl_c => break,
        };
        stream.set_nodelay(nodelay)?;
        spawn_and_log_error(
            connection_loop(broker.clone(), id, stream, stop.clone()),
            running.clone(),
        );
    }
    drop(listener);
    drop(stopping);
    drop(broker);
    drop(running);
    all_tasks.recv().await;
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
/// stop, when nothing is written to the client any more, or when the broker is
/// gone.
async fn connection_loop(
    broker: Sender<Event>,
    id: usize,
    stream: TcpStream,
    mut stop: Stop,
) -> Result<()> {
    eprintln!("accepted {}", stream.peer_addr()?);
    let (reader, stream) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let line = select! {
        line = lines.next_line() => line?,
        _ = stop.changed() => None,
    };
    let name = match line {
        Some(line) => line.trim().to_string(),
        None => return Err("a connection ended without a name".into()),
    };
    if name.is_empty() {
        return Err("a client sent an empty name".into());
    }
    let (reading, read) = oneshot::channel();
    let (writing, mut written) = mpsc::unbounded_channel();
    let new_peer =
        Event::NewPeer { id, name: name.clone(), stream, read, writing };
    broker.send(new_peer)?;
    let result = select! {
        result = read_messages(&broker, &name, &mut lines) => result,
        _ = stop.changed() => Ok(()),
        _ = written.recv() => Ok(()),
    };
    broker.send(Event::PeerLeft { id, name })?;
    drop(broker);
    // Bytes that nobody reads would make a reset of the close, and destroy what
    // is still on its way to the client.
    let (mut rest, mut nowhere) = (lines.into_inner(), io::sink());
    select! {
        _ = io::copy_buf(&mut rest, &mut nowhere) => {}
        _ = written.recv() => {}
    }
    drop(reading);
    result
}

/// Makes an event of each message. Ends with `lines`, or on the first error.
async fn read_messages(
    broker: &Sender<Event>,
    name: &str,
    lines: &mut Lines<BufReader<OwnedReadHalf>>,
) -> Result<()> {
    while let Some(line) = lines.next_line().await? {
        let Some((dest, msg)) = line.split_once(':') else {
            continue;
        };
        let mut to: Vec<String> =
            dest.split(',').map(|dest| dest.trim().to_string()).collect();
        to.sort();
        to.dedup();
        let msg = msg.trim().to_string();
        broker.send(Event::Message { from: name.to_string(), to, msg })?;
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
    while let Some(event) = events.recv().await {
        match event {
            Event::Message { from, to, msg } => {
                for dest in to {
                    if let Some(peer) = peers.get(&dest) {
                        // An error says that this peer's writer has ended. Its
                        // reader is about to say goodbye.
                        let _ =
                            peer.sender.send(format!("from {from}: {msg}\n"));
                    }
                }
            }
            Event::NewPeer { id, name, stream, read, writing } => {
                // A newer connection has the name: dropping the stream closes
                // this one.
                if peers.get(&name).is_some_and(|peer| peer.id > id) {
                    continue;
                }
                let (sender, receiver) = mpsc::unbounded_channel();
                let writer = connection_writer_loop(
                    name.clone(),
                    receiver,
                    stream,
                    read,
                    writing,
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

/// Owns the outgoing half of one connection. Ends when nobody can send to its
/// queue any more and the queue is empty, when the client cannot be written to,
/// or when it has not read everything within [`GRACE`] of the server being told
/// to stop. The reader of the connection ends then too, which closes it.
async fn connection_writer_loop(
    name: String,
    mut messages: Receiver<String>,
    mut stream: OwnedWriteHalf,
    read: oneshot::Receiver<Infallible>,
    writing: Sender<Infallible>,
    mut stop: Stop,
) -> Result<()> {
    let write = async {
        while let Some(msg) = messages.recv().await {
            stream.write_all(msg.as_bytes()).await?;
        }
        stream.shutdown().await?;
        // Whether the client closes its half or the time is up, this is the end.
        let _ = timeout(LINGER, read).await;
        Ok(())
    };
    let give_up = async {
        let _ = stop.changed().await;
        sleep(GRACE).await;
    };
    let result = select! {
        result = write => result,
        () = give_up => {
            Err(format!("{name} does not read; giving up on it").into())
        }
    };
    drop(writing);
    result
}
