//! Chapter 17, exercise 3: the notice comes first, before what is queued. Who
//! reads it learns of the stop at once, and can no longer take it for the last
//! line.
//!
//! Run it with `cargo run --example 17-first`.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    error,
    future::Future,
    net::Shutdown,
    pin::pin,
    process::{self, ExitCode},
    result,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_std::{
    net::{TcpListener, TcpStream},
    task,
};
use clap::Parser;
use futures::{
    AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, FutureExt, SinkExt, Stream,
    StreamExt,
    channel::{mpsc, oneshot},
    future::{self, Either, Shared},
    io::{self, BufReader},
    stream::{self, PollNext},
};
use socket2::{SockRef, TcpKeepalive};
use unicode_normalization::UnicodeNormalization;

/// What a client may take of the server.
#[derive(Parser)]
#[command(about = "A chat server that limits its clients")]
#[command(allow_negative_numbers = true)]
struct Options {
    /// Address to listen on
    #[arg(default_value = "127.0.0.1:8080")]
    addr: String,
    /// Longest line
    #[arg(long, value_name = "BYTES", default_value_t = 8192)]
    max_line: usize,
    /// Longest wait for a name
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    #[arg(value_parser = seconds)]
    login_timeout: Duration,
    /// Most connections at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 16384)]
    max_connections: usize,
    /// What may wait for a client until those who write to it wait too
    #[arg(long, value_name = "BYTES", default_value_t = 65536)]
    max_queue: usize,
    /// Longest wait for a client that reads slowly
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    #[arg(value_parser = seconds)]
    grace: Duration,
    /// Longest wait for clients that read slowly when the server stops
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    #[arg(value_parser = seconds)]
    drain_timeout: Duration,
}

fn seconds(text: &str) -> Result<Duration> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?)
}

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
/// What every client is told when the server stops (specification, 12.1).
const STOPPING: &str = "server-stopping the server is shutting down";
/// The exit status if messages were not delivered (specification, 12.2).
const NOT_DELIVERED: u8 = 2;
/// How long a client may take to close its half after we have closed ours.
const LINGER: Duration = Duration::from_secs(1);

/// What can go wrong here goes wrong at run time and is reported to a person,
/// so any error will do.
type Result<T> = result::Result<T, Box<dyn error::Error + Send + Sync>>;
type Sender<T> = mpsc::UnboundedSender<T>;
type Receiver<T> = mpsc::UnboundedReceiver<T>;
/// Resolves when the server is to stop. Every clone of it does.
type Stop = Shared<oneshot::Receiver<()>>;
/// Held by every task while it runs. A writer sends how many messages a stop
/// has left undelivered. When the last one is dropped, every task has ended.
type Running = Sender<usize>;
/// Lets a connection in, by handing it the queue of its messages.
type Welcome = oneshot::Sender<Queue>;
/// Resolves when a line has been written, or never will be.
type Written = Shared<oneshot::Receiver<Infallible>>;
/// Answers an event with the lines that did not fit into their queues.
type Answer = oneshot::Sender<Vec<Written>>;

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(help) if !help.use_stderr() => help.exit(),
        Err(error) => {
            let error = error.to_string();
            eprintln!("{}", error.lines().next().unwrap_or_default());
            return ExitCode::FAILURE;
        }
    };
    match task::block_on(accept_loop(options)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(lost) => {
            eprintln!("error: messages not delivered: {lost}");
            ExitCode::from(NOT_DELIVERED)
        }
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
    /// A client has sent a message. Its reader waits for what `answer` says.
    Message { from: String, to: Vec<String>, msg: String, answer: Answer },
    /// A client has sent a line that is no message; `error` is the answer.
    Mistake { from: String, error: String, answer: Answer },
    /// A peer's reader has ended; no event of this session follows.
    PeerLeft { name: String },
    /// The server is to stop, and nothing behind this event is taken up. All
    /// others learn of it when the broker lets go of `stopping`.
    Stopping { stopping: oneshot::Sender<()> },
}

/// What the broker knows of a client: where to queue its messages, and the
/// notice that overtakes them, and how many bytes of both are queued; where to
/// tell its writer which of them somebody waits for; and who waits for its name,
/// those who came first at the front.
struct Peer {
    sender: Sender<Delivery>,
    notice: Sender<Delivery>,
    queued: Arc<AtomicUsize>,
    awaited: Sender<Written>,
    waiting: VecDeque<Welcome>,
}

/// The writer's end of a client's queue, and of the one that overtakes it.
struct Queue {
    deliveries: Receiver<Delivery>,
    notice: Receiver<Delivery>,
    queued: Arc<AtomicUsize>,
    awaited: Receiver<Written>,
}

/// A line on its way to a client. Whoever waits for it does so until the token
/// is dropped.
struct Delivery {
    line: String,
    token: Option<oneshot::Sender<Infallible>>,
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

/// A connection's socket and its seat: the server has so many, and a seat is
/// free again when the last task of its connection has ended.
struct Connection {
    stream: TcpStream,
    _seat: Arc<()>,
}

/// Owns the listener. Ends when the server is told to stop and every task has
/// ended, and returns how many messages were not delivered. No error of a
/// client, and no lack of descriptors, ends it.
async fn accept_loop(options: Options) -> Result<usize> {
    let addr = &options.addr;
    let listener = TcpListener::bind(addr)
        .await
        .map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    let ctrl_c = ctrl_c()?;
    let (stopping, stop) = oneshot::channel();
    let stop = stop.shared();
    println!("listening on {}", listener.local_addr()?);
    let (running, mut all_tasks) = mpsc::unbounded();
    let (mut broker, events) = mpsc::channel(0);
    let broker_loop = broker_loop(events, options.max_queue);
    spawn_and_log_error(broker_loop, running.clone());
    let seats = Arc::new(());
    let options = Arc::new(options);
    let mut accepting = true;
    let mut incoming = listener.incoming().take_until(ctrl_c);
    while let Some(stream) = incoming.next().await {
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) if is_of_one_client(&error) => continue,
            Err(error) => {
                if accepting {
                    eprintln!("error: cannot accept for now: {error}");
                }
                accepting = false;
                task::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        accepting = true;
        let taken = Arc::strong_count(&seats) - 1;
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
            spawn_and_log_error(turn_away(connection), running.clone());
        }
    }
    drop(incoming);
    drop(listener);
    broker.send(Event::Stopping { stopping }).await?;
    drop(running);
    let mut lost = 0;
    while let Some(messages) = all_tasks.next().await {
        lost += messages;
    }
    Ok(lost)
}

/// Whether an error of the listener concerns a client that has gone already.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionReset)
}

/// Tells a client that the server is full. Owns the connection, so the seat is
/// taken until the client has been told.
async fn turn_away(connection: Connection) -> Result<()> {
    refuse(&connection.stream, "server-full try again later").await
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
/// finished sending, cannot be read from, breaks a limit or is not let in, when
/// the server is told to stop, or when the broker is gone.
async fn connection_loop(
    options: Arc<Options>,
    mut broker: mpsc::Sender<Event>,
    connection: Connection,
    stop: Stop,
    running: Running,
) -> Result<()> {
    let connection = Arc::new(connection);
    let stream = &connection.stream;
    eprintln!("accepted {}", stream.peer_addr()?);
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_AGAIN);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
    SockRef::from(stream).set_send_buffer_size(options.max_queue)?;
    let lines = lines(stream, options.max_line).take_until(stop.clone());
    let mut lines = pin!(lines);
    let first = within(options.login_timeout, lines.next()).await;
    let Some(first) = first else {
        let error = "login-timeout the name did not come in time";
        return refuse(stream, error).await;
    };
    let line = match first {
        Some(line) => line?,
        None if stop.peek().is_some() => return refuse(stream, STOPPING).await,
        None => return Err("a connection ended without a name".into()),
    };
    let name = match line {
        Line::Text(line) => parse_name(&line),
        Line::NotUtf8 => None,
        Line::TooLong => return refuse(stream, &too_long(&options)).await,
    };
    let Some(name) = name else {
        let error = format!(
            "bad-name a name is 1 to {MAX_NAME} letters, digits, _ or -"
        );
        return refuse(stream, &error).await;
    };
    let queue = match log_in(&mut broker, &name).await {
        Ok(queue) => queue,
        Err(error) => return refuse(stream, &error).await,
    };
    let (reading, read) = oneshot::channel();
    let writer = connection_writer_loop(
        name.clone(),
        queue,
        Arc::clone(&options),
        Arc::clone(&connection),
        read,
        stop.clone(),
        running.clone(),
    );
    spawn_and_log_error(writer, running);
    let mut awaited = Vec::new();
    let result =
        read_messages(&options, &mut broker, &name, lines, stop, &mut awaited)
            .await;
    // An error says that the broker has ended, and no name is needed any more.
    let _ = broker.send(Event::PeerLeft { name }).await;
    drop(broker);
    let rest = if result.is_ok() { u64::MAX } else { DISCARD };
    // An error says that nothing more comes, which is all that we wait for.
    let _ = io::copy(stream.take(rest), &mut io::sink()).await;
    drop(reading);
    // The seat is taken for as long as the last line waits.
    future::join_all(awaited).await;
    result
}

/// A line of a client, or why it is none.
enum Line {
    Text(String),
    NotUtf8,
    /// Its end was not seen, and it is not known where the next line begins.
    TooLong,
}

/// The lines of a client. Keeps no more than `max_line` bytes of any of them,
/// and its end. Nothing is to be read after a line that is too long.
fn lines(
    stream: &TcpStream,
    max_line: usize,
) -> impl Stream<Item = io::Result<Line>> + '_ {
    let with_crlf = (max_line as u64).saturating_add(2);
    let reader = BufReader::new(stream);
    stream::try_unfold(reader, move |mut reader| async move {
        let mut line = Vec::new();
        let mut limited = (&mut reader).take(with_crlf);
        if limited.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        if line.pop_if(|byte| *byte == b'\n').is_some() {
            line.pop_if(|byte| *byte == b'\r');
        }
        let line = if line.len() > max_line {
            Line::TooLong
        } else {
            String::from_utf8(line).map_or(Line::NotUtf8, Line::Text)
        };
        Ok(Some((line, reader)))
    })
}

fn too_long(options: &Options) -> String {
    format!("line-too-long at most {} bytes", options.max_line)
}

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
/// time; if not, what to tell the client, and we do not get it later.
async fn log_in(
    broker: &mut mpsc::Sender<Event>,
    name: &str,
) -> result::Result<Queue, String> {
    let (welcome, mut welcomed) = oneshot::channel();
    // An error says that the broker has ended, and there is no answer.
    let _ = broker.send(Event::NewPeer { name: name.into(), welcome }).await;
    if let Some(answer) = within(NAME_WAIT, &mut welcomed).await {
        // The broker keeps a welcome that is still wanted until it ends.
        return answer.map_err(|_| STOPPING.to_string());
    }
    welcomed.close();
    // An error says that nothing was sent before we closed it.
    let queue = welcomed.try_recv().unwrap_or(None);
    queue.ok_or_else(|| format!("name-taken somebody else is called {name}"))
}

/// Tells a client why it is not let in, and closes its connection.
async fn refuse(mut stream: &TcpStream, error: &str) -> Result<()> {
    stream.write_all(format!("error {error}\n").as_bytes()).await?;
    stream.shutdown(Shutdown::Write)?;
    let mut sink = io::sink();
    let rest = io::copy(stream.take(DISCARD), &mut sink);
    // Too late, an error or all of it: in each case we have waited enough.
    let _ = within(LINGER, rest).await;
    // An error says that the client has closed the connection already.
    let _ = stream.shutdown(Shutdown::Both);
    Err(format!("refused a client: {error}").into())
}

/// Makes an event of each line, and takes up the next one when nothing in
/// `awaited` waits any more. Ends with `lines`, on the first error, on a line
/// that is too long, or when the server is told to stop.
async fn read_messages(
    options: &Options,
    broker: &mut mpsc::Sender<Event>,
    name: &str,
    mut lines: impl Stream<Item = io::Result<Line>> + Unpin,
    mut stop: Stop,
    awaited: &mut Vec<Written>,
) -> Result<()> {
    while let Some(line) = lines.next().await {
        let line = line?;
        let written = future::join_all(awaited.iter().cloned());
        if let Either::Left(_) = future::select(&mut stop, written).await {
            break;
        }
        let from = name.to_string();
        let (answer, answered) = oneshot::channel();
        let event = match line {
            Line::Text(line) => match parse_message(&line) {
                Ok((to, msg)) => Event::Message { from, to, msg, answer },
                Err(error) => Event::Mistake { from, error, answer },
            },
            Line::NotUtf8 => {
                let error = "bad-utf8 the line is not UTF-8".to_string();
                Event::Mistake { from, error, answer }
            }
            Line::TooLong => {
                let error = too_long(options);
                let event = Event::Mistake { from, error, answer };
                // An error says that the broker has ended, as below.
                let _ = broker.send(event).await;
                return Err(format!("{name} sent a line without end").into());
            }
        };
        // An error says that the broker has ended, and there is no answer.
        let _ = broker.send(event).await;
        let Ok(queues) = answered.await else {
            break;
        };
        *awaited = queues;
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

/// Owns the map of all peers, so that no lock is needed. Never waits for a
/// client. Ends when the server is to stop. Its map ends with it, and so every
/// writer that has emptied its queue.
async fn broker_loop(
    mut events: mpsc::Receiver<Event>,
    max_queue: usize,
) -> Result<()> {
    let mut peers: HashMap<String, Peer> = HashMap::new();
    while let Some(event) = events.next().await {
        let mut awaited = Vec::new();
        match event {
            Event::Message { from, to, msg, answer } => {
                for dest in to {
                    let line = format!("from {from}: {msg}\n");
                    if !send(&peers, max_queue, &dest, line, &mut awaited) {
                        // The sender may be gone itself by now.
                        let error = format!("error unknown-peer {dest}\n");
                        send(&peers, max_queue, &from, error, &mut awaited);
                    }
                }
                // An error says that the reader has ended.
                let _ = answer.send(awaited);
            }
            Event::Mistake { from, error, answer } => {
                let error = format!("error {error}\n");
                send(&peers, max_queue, &from, error, &mut awaited);
                // An error says that the reader has ended.
                let _ = answer.send(awaited);
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
            Event::Stopping { stopping } => {
                drop(stopping);
                break;
            }
        }
    }
    for peer in peers.values() {
        let line = format!("error {STOPPING}\n");
        peer.queued.fetch_add(line.len(), Ordering::Relaxed);
        // An error says that the writer has ended.
        let _ = peer.notice.unbounded_send(Delivery { line, token: None });
    }
    Ok(())
}

/// Queues a line for a peer, and adds it to `awaited` if more waits then than
/// `max_queue`. Returns whether there is such a peer that still reads.
fn send(
    peers: &HashMap<String, Peer>,
    max_queue: usize,
    name: &str,
    line: String,
    awaited: &mut Vec<Written>,
) -> bool {
    let Some(peer) = peers.get(name) else {
        return false;
    };
    let length = line.len();
    let queued = length + peer.queued.fetch_add(length, Ordering::Relaxed);
    let mut delivery = Delivery { line, token: None };
    if queued > max_queue {
        let (token, written) = oneshot::channel();
        let written = written.shared();
        delivery.token = Some(token);
        // An error says that the writer has ended, and so has the waiting.
        let _ = peer.awaited.unbounded_send(written.clone());
        awaited.push(written);
    }
    peer.sender.unbounded_send(delivery).is_ok()
}

/// Gives a free name to the first of those who still wait for it, if any.
fn admit(
    peers: &mut HashMap<String, Peer>,
    name: String,
    mut waiting: VecDeque<Welcome>,
) {
    while let Some(welcome) = waiting.pop_front() {
        let (sender, deliveries) = mpsc::unbounded();
        let (notice, is_noticed) = mpsc::unbounded();
        let (awaited, is_awaited) = mpsc::unbounded();
        let queued = Arc::new(AtomicUsize::new(0));
        let queue = Queue {
            deliveries,
            notice: is_noticed,
            queued: Arc::clone(&queued),
            awaited: is_awaited,
        };
        if welcome.send(queue).is_ok() {
            let peer = Peer { sender, notice, queued, awaited, waiting };
            peers.insert(name, peer);
            return;
        }
    }
}

/// Owns the outgoing half of one connection: no other task writes to its socket.
/// Ends when nobody can send to its queue any more and the queue is empty, when
/// the client cannot be written to, when somebody has waited for it for too
/// long, or when it has not read everything in time after the server was told
/// to stop. Closes the connection then, and tells `running` how many messages
/// the stop has left undelivered.
async fn connection_writer_loop(
    name: String,
    queue: Queue,
    options: Arc<Options>,
    connection: Arc<Connection>,
    mut read: oneshot::Receiver<Infallible>,
    stop: Stop,
    running: Running,
) -> Result<()> {
    let Queue { mut deliveries, notice, queued, awaited } = queue;
    let mut current = None;
    let mut too_slow = pin!(too_slow(awaited, options.grace, stop.clone()));
    let write = async {
        let mut stream = &connection.stream;
        stream.write_all(format!("welcome {name}\n").as_bytes()).await?;
        // It ends when both have ended, so the notice cannot be missed.
        let mut lines = stream::select_with_strategy(
            notice,
            &mut deliveries,
            |_: &mut ()| PollNext::Left,
        );
        while let Some(delivery) = lines.next().await {
            let Delivery { line, token } = current.insert(delivery);
            let write = stream.write_all(line.as_bytes());
            match future::select(&mut too_slow, write).await {
                Either::Right((written, _)) => written?,
                Either::Left(((), rest)) => {
                    let (_, deliveries) = lines.get_mut();
                    deliveries.close();
                    while deliveries.next().await.is_some() {}
                    drop(token.take());
                    let told =
                        say_too_slow(&connection.stream, rest, &mut read);
                    // Too late, or an error: it cannot be told.
                    let _ = within(options.grace, told).await;
                    current = None;
                    return Err(format!("{name} reads too slowly").into());
                }
            }
            queued.fetch_sub(line.len(), Ordering::Relaxed);
            current = None;
        }
        stream.shutdown(Shutdown::Write)?;
        Ok(())
    };
    let give_up = stop.clone().then(|_| task::sleep(options.drain_timeout));
    let result = match future::select(pin!(write), pin!(give_up)).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err("it does not read".into()),
    };
    if result.is_ok() {
        // The reader has ended, or the time is up: it is the same to us.
        let _ = within(LINGER, read).await;
    }
    // An error says that the client has closed the connection already.
    let _ = connection.stream.shutdown(Shutdown::Both);
    let stopped = stop.now_or_never().is_some();
    match result {
        Err(error) if stopped => {
            let lost = count_messages(current, deliveries).await;
            // An error says that nobody waits for the tasks any more.
            let _ = running.unbounded_send(lost);
            let lost = format!("messages not delivered to {name}: {lost}");
            Err(format!("{lost}; {error}").into())
        }
        result => result,
    }
}

/// How many messages are left: of the line that was being written, and of those
/// in the queue.
async fn count_messages(
    current: Option<Delivery>,
    deliveries: Receiver<Delivery>,
) -> usize {
    let left = stream::iter(current).chain(deliveries);
    // The other lines are errors and the notice, and nobody misses them now.
    left.filter(|delivery| future::ready(delivery.line.starts_with("from ")))
        .count()
        .await
}

/// Writes the rest of a line and, after it, why the connection ends. Waits for
/// the client to close its half.
async fn say_too_slow(
    mut stream: &TcpStream,
    rest: impl Future<Output = io::Result<()>>,
    read: &mut oneshot::Receiver<Infallible>,
) -> Result<()> {
    rest.await?;
    let error = "error too-slow others have waited for you\n";
    stream.write_all(error.as_bytes()).await?;
    stream.shutdown(Shutdown::Write)?;
    // An error says that the reader has ended, which is what we wait for.
    let _ = read.await;
    Ok(())
}

/// Resolves when one of these lines has been waited for for `grace`. After the
/// stop nobody waits.
async fn too_slow(awaited: Receiver<Written>, grace: Duration, stop: Stop) {
    let waits = awaited.map(|written| within(grace, written));
    let waits = waits.buffer_unordered(usize::MAX).take_until(stop);
    let mut waits = pin!(waits);
    while let Some(written) = waits.next().await {
        if written.is_none() {
            return;
        }
    }
    // The peer has left or the server is to stop, and nobody waits any more.
    future::pending().await
}
