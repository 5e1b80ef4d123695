//! A solution of an exercise of chapter 13: names that differ in upper and lower
//! case only are one name.
//!
//! Run it with `cargo run --example 13-case`.

use std::{
    collections::{HashMap, VecDeque},
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
use unicode_normalization::UnicodeNormalization;

/// The longest name, in characters (specification, 8.1).
const MAX_NAME: usize = 32;
/// Letters by the rules of Unicode that nobody sees: the fillers of Hangul, and
/// the blanks of Egyptian hieroglyphs.
const INVISIBLE: [char; 6] =
    ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}', '\u{13441}', '\u{13442}'];
/// The most destinations of one line (specification, 9.3).
const MAX_DESTINATIONS: usize = 512;
/// How long a login waits for a name to become free (specification, 8.4).
const NAME_WAIT: Duration = Duration::from_secs(1);
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
/// Lets a connection in, by handing it the queue of its messages.
type Welcome = oneshot::Sender<Receiver<String>>;

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
    /// A client asks for a name. Whoever does not want it any more closes the
    /// other end of `welcome`.
    NewPeer { name: String, welcome: Welcome },
    /// A client has sent a message.
    Message { from: String, to: Vec<String>, msg: String },
    /// A client has sent a line that is no message; `error` is the answer.
    Mistake { from: String, error: String },
    /// A peer's reader has ended; no event of this session follows.
    PeerLeft { name: String },
}

/// What the broker knows of a client: where to queue its messages, and who
/// waits for its name, those who came first at the front.
struct Peer {
    sender: Sender<String>,
    waiting: VecDeque<Welcome>,
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
    spawn_and_log_error(broker_loop(events), running.clone());
    let mut incoming = listener.incoming().take_until(ctrl_c);
    while let Some(stream) = incoming.next().await {
        let connection = connection_loop(
            broker.clone(),
            stream?,
            stop.clone(),
            running.clone(),
        );
        spawn_and_log_error(connection, running.clone());
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

/// Logs a client in and makes events of its lines. Ends when the client has
/// finished sending, cannot be read from or is not let in, when the server is
/// told to stop, or when the broker is gone.
async fn connection_loop(
    broker: Sender<Event>,
    stream: TcpStream,
    stop: Stop,
    running: Running,
) -> Result<()> {
    eprintln!("accepted {}", stream.peer_addr()?);
    let stream = Arc::new(stream);
    let mut lines = BufReader::new(&*stream).lines().take_until(stop.clone());
    let line = match lines.next().await {
        Some(line) => line?,
        None => return Err("a connection ended without a name".into()),
    };
    let Some(name) = parse_name(&line) else {
        let error = format!(
            "bad-name a name is 1 to {MAX_NAME} letters, digits, _ or -"
        );
        return refuse(&stream, &error).await;
    };
    let Some(messages) = log_in(&broker, &name).await? else {
        let error = format!("name-taken somebody else is called {name}");
        return refuse(&stream, &error).await;
    };
    let (reading, read) = oneshot::channel();
    let writer = connection_writer_loop(
        name.clone(),
        messages,
        Arc::clone(&stream),
        read,
        stop,
    );
    spawn_and_log_error(writer, running);
    let result = read_messages(broker.clone(), name.clone(), lines).await;
    broker.unbounded_send(Event::PeerLeft { name })?;
    drop(broker);
    // An error says that nothing more comes, which is all that we wait for.
    let _ = io::copy(&*stream, &mut io::sink()).await;
    drop(reading);
    result
}

/// A client's name, or `None` if the specification does not allow it (8.1).
fn parse_name(line: &str) -> Option<String> {
    let name = normalize(line);
    let letter = |c: char| c.is_alphanumeric() && !INVISIBLE.contains(&c);
    let allowed = |c: char| letter(c) || c == '_' || c == '-';
    let length = name.chars().count();
    ((1..=MAX_NAME).contains(&length) && name.chars().all(allowed))
        .then_some(name)
}

/// The form in which names are compared (8.2).
fn normalize(name: &str) -> String {
    name.trim().nfc().collect()
}

/// Asks the broker for a name. Returns the queue of messages if we get it in
/// time; if not, we do not get it later.
async fn log_in(
    broker: &Sender<Event>,
    name: &str,
) -> Result<Option<Receiver<String>>> {
    let (welcome, mut welcomed) = oneshot::channel();
    broker
        .unbounded_send(Event::NewPeer { name: name.to_string(), welcome })?;
    let wait = pin!(task::sleep(NAME_WAIT));
    match future::select(&mut welcomed, wait).await {
        Either::Left((messages, _)) => Ok(Some(messages?)),
        Either::Right((_, welcomed)) => {
            welcomed.close();
            // An error says that nothing was sent before we closed it.
            Ok(welcomed.try_recv().unwrap_or(None))
        }
    }
}

/// Tells a client why it is not let in, and closes its connection.
async fn refuse(mut stream: &TcpStream, error: &str) -> Result<()> {
    stream.write_all(format!("error {error}\n").as_bytes()).await?;
    stream.shutdown(Shutdown::Write)?;
    let mut sink = io::sink();
    let rest = pin!(io::copy(stream, &mut sink));
    future::select(rest, pin!(task::sleep(LINGER))).await;
    // An error says that the client has closed the connection already.
    let _ = stream.shutdown(Shutdown::Both);
    Err(format!("refused a client: {error}").into())
}

/// Makes an event of each line. Ends with `lines`, or on the first error.
async fn read_messages(
    broker: Sender<Event>,
    name: String,
    mut lines: impl Stream<Item = io::Result<String>> + Unpin,
) -> Result<()> {
    while let Some(line) = lines.next().await {
        let from = name.clone();
        broker.unbounded_send(match parse_message(&line?) {
            Ok((to, msg)) => Event::Message { from, to, msg },
            Err(error) => Event::Mistake { from, error },
        })?;
    }
    Ok(())
}

/// The destinations and the text of a message, or the error that answers a line
/// which is none (9.2, 9.3).
fn parse_message(line: &str) -> result::Result<(Vec<String>, String), String> {
    let control = |c: char| c.is_control() && c != '\t';
    if line.contains(control) {
        return Err("bad-line a line holds no control characters".into());
    }
    let Some((dest, msg)) = line.split_once(':') else {
        return Err("bad-line a line is DESTINATION: TEXT".into());
    };
    let mut to: Vec<String> = dest.split(',').map(normalize).collect();
    to.retain(|dest| !dest.is_empty());
    to.sort_by_key(|dest| key(dest));
    to.dedup_by_key(|dest| key(dest));
    match to.len() {
        0 => Err("bad-line there is no destination before the colon".into()),
        1..=MAX_DESTINATIONS => Ok((to, msg.trim().to_string())),
        _ => Err(format!(
            "too-many-destinations a line has {MAX_DESTINATIONS} at most"
        )),
    }
}

/// What the map knows a name by. The name itself stays as it was at the login.
fn key(name: &str) -> String {
    name.to_lowercase()
}

/// Owns the map of all peers, so that no lock is needed. Ends when nobody can
/// send it events any more. Its map ends with it, and so every writer that has
/// emptied its queue.
async fn broker_loop(mut events: Receiver<Event>) -> Result<()> {
    let mut peers: HashMap<String, Peer> = HashMap::new();
    while let Some(event) = events.next().await {
        match event {
            Event::Message { from, to, msg } => {
                for dest in to {
                    if !send(&peers, &dest, format!("from {from}: {msg}\n")) {
                        // The sender may be gone itself by now.
                        let error = format!("error unknown-peer {dest}\n");
                        send(&peers, &from, error);
                    }
                }
            }
            Event::Mistake { from, error } => {
                send(&peers, &from, format!("error {error}\n"));
            }
            Event::NewPeer { name, welcome } => {
                match peers.get_mut(&key(&name)) {
                    Some(Peer { waiting, .. }) => {
                        while waiting.front().is_some_and(Welcome::is_canceled)
                        {
                            waiting.pop_front();
                        }
                        waiting.push_back(welcome);
                    }
                    None => admit(&mut peers, name, VecDeque::from([welcome])),
                }
            }
            Event::PeerLeft { name } => {
                if let Some(peer) = peers.remove(&key(&name)) {
                    admit(&mut peers, name, peer.waiting);
                }
            }
        }
    }
    Ok(())
}

/// Queues a line for a peer. Returns whether there is such a peer.
fn send(peers: &HashMap<String, Peer>, name: &str, line: String) -> bool {
    peers
        .get(&key(name))
        .is_some_and(|peer| peer.sender.unbounded_send(line).is_ok())
}

/// Gives a free name to the first of those who still wait for it, if any.
fn admit(
    peers: &mut HashMap<String, Peer>,
    name: String,
    mut waiting: VecDeque<Welcome>,
) {
    while let Some(welcome) = waiting.pop_front() {
        let (sender, messages) = mpsc::unbounded();
        if welcome.send(messages).is_ok() {
            peers.insert(key(&name), Peer { sender, waiting });
            return;
        }
    }
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
        stream.write_all(format!("welcome {name}\n").as_bytes()).await?;
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
