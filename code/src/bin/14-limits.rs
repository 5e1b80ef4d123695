//! Stage 09: limit what a client can take.
//!
//! Lines, logins and connections have limits, a peer that vanishes is found
//! out, and no client and no lack of descriptors ends the accept loop.
//!
//! Run it with `cargo run --bin 14-limits`; `-- --help` shows the limits, which
//! are options, and `-- 127.0.0.1:9000` is another address.
//!
//! Queues have no limits yet.

// ANCHOR: imports
use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    error,
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
use clap::Parser;
use futures::{
    AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, FutureExt, Stream, StreamExt,
    channel::{mpsc, oneshot},
    future::{self, Either, Shared},
    io::{self, BufReader},
    stream,
};
use socket2::{SockRef, TcpKeepalive};
use unicode_normalization::UnicodeNormalization;
// ANCHOR_END: imports

// ANCHOR: options
/// What a client may take of the server.
#[derive(Parser)]
#[command(about = "A chat server that limits its clients")]
#[command(allow_negative_numbers = true)] // 1
struct Options {
    /// Address to listen on
    #[arg(default_value = "127.0.0.1:8080")]
    addr: String,
    /// Longest line
    #[arg(long, value_name = "BYTES", default_value_t = 8192)]
    max_line: usize,
    /// Longest wait for a name
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    #[arg(value_parser = seconds)] // 2
    login_timeout: Duration,
    /// Most connections at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 16384)]
    max_connections: usize,
}

fn seconds(text: &str) -> Result<Duration> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?) // 3
}
// ANCHOR_END: options

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
// ANCHOR: constants
/// How many bytes are still read of a client that has broken a limit
/// (specification, 10.1).
const DISCARD: u64 = 64 * 1024;
/// How many clients at a time are told that the server is full.
const REFUSALS: usize = 100;
/// How long the accept loop rests when the system has nothing left to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection may be silent before the system asks its peer for a
/// sign of life, and how long until it asks again.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(10);
// ANCHOR_END: constants
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

// ANCHOR: main
fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(help) if !help.use_stderr() => help.exit(), // 1
        Err(error) => {
            let error = error.to_string();
            eprintln!("{}", error.lines().next().unwrap_or_default()); // 2
            return ExitCode::FAILURE;
        }
    };
    match task::block_on(accept_loop(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
// ANCHOR_END: main

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

// ANCHOR: connection
/// A connection's socket and its seat: the server has so many, and a seat is
/// free again when the last task of its connection has ended.
struct Connection {
    stream: TcpStream,
    _seat: Arc<()>,
}
// ANCHOR_END: connection

// ANCHOR: accept_loop
/// Owns the listener. Ends when the server is told to stop and every task has
/// ended. No error of a client, and no lack of descriptors, ends it.
async fn accept_loop(options: Options) -> Result<()> {
    let addr = &options.addr;
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
    // ANCHOR_END: accept_loop
    // ANCHOR: accept
    let seats = Arc::new(());
    let options = Arc::new(options);
    let mut accepting = true;
    let mut incoming = listener.incoming().take_until(ctrl_c);
    while let Some(stream) = incoming.next().await {
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) if is_of_one_client(&error) => continue, // 1
            Err(error) => {
                if accepting {
                    eprintln!("error: cannot accept for now: {error}"); // 2
                }
                accepting = false;
                task::sleep(ACCEPT_PAUSE).await; // 3
                continue;
            }
        };
        accepting = true;
        let taken = Arc::strong_count(&seats) - 1; // 4
        let connection = Connection { stream, _seat: Arc::clone(&seats) };
        if taken < options.max_connections {
            let connection = connection_loop(
                Arc::clone(&options),
                broker.clone(),
                connection,
                stop.clone(),
                running.clone(),
            );
            spawn_and_log_error(connection, running.clone());
        } else if taken - options.max_connections < REFUSALS {
            spawn_and_log_error(turn_away(connection), running.clone()); // 5
        }
    }
    // ANCHOR_END: accept
    drop(incoming);
    drop(listener);
    drop(stopping);
    drop(broker);
    drop(running);
    all_tasks.next().await;
    Ok(())
}

// ANCHOR: is_of_one_client
/// Whether an error of the listener concerns a client that has gone already.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionReset)
}
// ANCHOR_END: is_of_one_client

// ANCHOR: turn_away
/// Tells a client that the server is full. Owns the connection, so the seat is
/// taken until the client has been told.
async fn turn_away(connection: Connection) -> Result<()> {
    refuse(&connection.stream, "server-full try again later").await
}
// ANCHOR_END: turn_away

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

// ANCHOR: connection_loop
/// Logs a client in and makes events of its lines. Ends when the client has
/// finished sending, cannot be read from, breaks a limit or is not let in, when
/// the server is told to stop, or when the broker is gone.
async fn connection_loop(
    options: Arc<Options>,
    broker: Sender<Event>,
    connection: Connection,
    stop: Stop,
    running: Running,
) -> Result<()> {
    let connection = Arc::new(connection);
    let stream = &connection.stream;
    eprintln!("accepted {}", stream.peer_addr()?);
    // ANCHOR_END: connection_loop
    // ANCHOR: keepalive
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_AGAIN);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
    // ANCHOR_END: keepalive
    // ANCHOR: login
    let lines = lines(stream, options.max_line).take_until(stop.clone());
    let mut lines = pin!(lines); // 1
    let first = within(options.login_timeout, lines.next()).await; // 2
    let Some(first) = first else {
        let error = "login-timeout the name did not come in time";
        return refuse(stream, error).await;
    };
    let line = match first {
        Some(line) => line?,
        None => return Err("a connection ended without a name".into()),
    };
    let name = match line {
        Line::Text(line) => parse_name(&line),
        Line::NotUtf8 => None, // 3
        Line::TooLong => return refuse(stream, &too_long(&options)).await,
    };
    let Some(name) = name else {
        let error = format!(
            "bad-name a name is 1 to {MAX_NAME} letters, digits, _ or -"
        );
        return refuse(stream, &error).await;
    };
    let Some(messages) = log_in(&broker, &name).await? else {
        let error = format!("name-taken somebody else is called {name}");
        return refuse(stream, &error).await;
    };
    // ANCHOR_END: login
    let (reading, read) = oneshot::channel();
    let writer = connection_writer_loop(
        name.clone(),
        messages,
        // ANCHOR: share
        Arc::clone(&connection),
        // ANCHOR_END: share
        read,
        stop,
    );
    spawn_and_log_error(writer, running);
    // ANCHOR: rest
    let result =
        read_messages(&options, broker.clone(), name.clone(), lines).await;
    broker.unbounded_send(Event::PeerLeft { name })?;
    drop(broker);
    let rest = if result.is_ok() { u64::MAX } else { DISCARD };
    // An error says that nothing more comes, which is all that we wait for.
    let _ = io::copy(stream.take(rest), &mut io::sink()).await;
    // ANCHOR_END: rest
    drop(reading);
    result
}

// ANCHOR: line
/// A line of a client, or why it is none.
enum Line {
    Text(String),
    NotUtf8,
    /// Its end was not seen, and it is not known where the next line begins.
    TooLong,
}
// ANCHOR_END: line

// ANCHOR: lines
/// The lines of a client. Keeps no more than `max_line` bytes of any of them,
/// and its end. Nothing is to be read after a line that is too long.
fn lines(
    stream: &TcpStream,
    max_line: usize,
) -> impl Stream<Item = io::Result<Line>> + '_ {
    let with_crlf = (max_line as u64).saturating_add(2); // 1
    let reader = BufReader::new(stream);
    stream::try_unfold(reader, move |mut reader| async move {
        let mut line = Vec::new();
        let mut limited = (&mut reader).take(with_crlf); // 2
        if limited.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None); // 3
        }
        if line.pop_if(|byte| *byte == b'\n').is_some() {
            line.pop_if(|byte| *byte == b'\r'); // 4
        }
        let line = if line.len() > max_line {
            Line::TooLong
        } else {
            String::from_utf8(line).map_or(Line::NotUtf8, Line::Text) // 5
        };
        Ok(Some((line, reader))) // 6
    })
}
// ANCHOR_END: lines

// ANCHOR: too_long
fn too_long(options: &Options) -> String {
    format!("line-too-long at most {} bytes", options.max_line)
}
// ANCHOR_END: too_long

// ANCHOR: within
/// The output of `future`, or `None` if it takes longer than `limit`.
async fn within<T>(
    limit: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    match future::select(pin!(future), pin!(task::sleep(limit))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}
// ANCHOR_END: within

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
    // ANCHOR: wait_for_name
    match within(NAME_WAIT, &mut welcomed).await {
        Some(messages) => Ok(Some(messages?)),
        None => {
            // ANCHOR_END: wait_for_name
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
    // ANCHOR: linger
    let mut sink = io::sink();
    let rest = io::copy(stream.take(DISCARD), &mut sink);
    // Too late, an error or all of it: in each case we have waited enough.
    let _ = within(LINGER, rest).await;
    // ANCHOR_END: linger
    // An error says that the client has closed the connection already.
    let _ = stream.shutdown(Shutdown::Both);
    Err(format!("refused a client: {error}").into())
}

// ANCHOR: read_messages
/// Makes an event of each line. Ends with `lines`, on the first error, or on a
/// line that is too long.
async fn read_messages(
    options: &Options,
    broker: Sender<Event>,
    name: String,
    mut lines: impl Stream<Item = io::Result<Line>> + Unpin,
) -> Result<()> {
    while let Some(line) = lines.next().await {
        let from = name.clone();
        let event = match line? {
            Line::Text(line) => match parse_message(&line) {
                Ok((to, msg)) => Event::Message { from, to, msg },
                Err(error) => Event::Mistake { from, error },
            },
            Line::NotUtf8 => {
                let error = "bad-utf8 the line is not UTF-8".to_string();
                Event::Mistake { from, error } // 1
            }
            Line::TooLong => {
                let error = too_long(options);
                broker.unbounded_send(Event::Mistake { from, error })?; // 2
                return Err(format!("{name} sent a line without end").into());
            }
        };
        broker.unbounded_send(event)?;
    }
    Ok(())
}
// ANCHOR_END: read_messages

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
    to.sort();
    to.dedup();
    match to.len() {
        0 => Err("bad-line there is no destination before the colon".into()),
        1..=MAX_DESTINATIONS => Ok((to, msg.trim().to_string())),
        _ => Err(format!(
            "too-many-destinations a line has {MAX_DESTINATIONS} at most"
        )),
    }
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
            Event::NewPeer { name, welcome } => match peers.get_mut(&name) {
                Some(Peer { waiting, .. }) => {
                    while waiting.front().is_some_and(Welcome::is_canceled) {
                        waiting.pop_front();
                    }
                    waiting.push_back(welcome);
                }
                None => admit(&mut peers, name, VecDeque::from([welcome])),
            },
            Event::PeerLeft { name } => {
                if let Some(peer) = peers.remove(&name) {
                    admit(&mut peers, name, peer.waiting);
                }
            }
        }
    }
    Ok(())
}

/// Queues a line for a peer. Returns whether there is such a peer.
fn send(peers: &HashMap<String, Peer>, name: &str, line: String) -> bool {
    peers.get(name).is_some_and(|peer| peer.sender.unbounded_send(line).is_ok())
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
            peers.insert(name, Peer { sender, waiting });
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
    // ANCHOR: writer_connection
    connection: Arc<Connection>,
    // ANCHOR_END: writer_connection
    read: oneshot::Receiver<Infallible>,
    stop: Stop,
) -> Result<()> {
    let write = async {
        // ANCHOR: writer_stream
        let mut stream = &connection.stream;
        // ANCHOR_END: writer_stream
        stream.write_all(format!("welcome {name}\n").as_bytes()).await?;
        while let Some(msg) = messages.next().await {
            stream.write_all(msg.as_bytes()).await?;
        }
        stream.shutdown(Shutdown::Write)?;
        // ANCHOR: writer_linger
        // The reader has ended, or the time is up: it is the same to us.
        let _ = within(LINGER, read).await;
        // ANCHOR_END: writer_linger
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
    // ANCHOR: writer_close
    let _ = connection.stream.shutdown(Shutdown::Both);
    // ANCHOR_END: writer_close
    result
}
