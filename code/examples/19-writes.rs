//! Exercise 1 of chapter 19: say how many messages went out with how many writes.
//!
//! Run it with `cargo run --release --example 19-writes`.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    error,
    future::Future,
    io::BufRead,
    mem,
    net::Shutdown,
    ops::{Range, RangeInclusive},
    pin::pin,
    process::{self, ExitCode},
    result, str,
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
    AsyncReadExt, AsyncWriteExt, FutureExt, SinkExt, StreamExt,
    channel::{mpsc, oneshot},
    future::{self, Either, Shared},
    io,
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
/// How many bytes a reader asks for: few while its client is quiet, and more
/// when it is not.
const READ: RangeInclusive<usize> = 512..=32 * 1024;
/// When an event has this many bytes, its reader adds no further line.
const TAKE_UP: usize = 64 * 1024;
/// When a write has this many bytes, its writer adds no further lines.
const WRITE: usize = 64 * 1024;
/// What a destination takes besides its name, in bytes: an error, and a place in
/// the list.
const DEST: usize = 64;
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
/// Is dropped when a line has been written, or never will be.
type Token = oneshot::Sender<Infallible>;
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
    /// A client has sent lines. Its reader waits for what `answer` says.
    Lines { from: Arc<str>, parts: Vec<Part>, answer: Answer },
    /// A peer's reader has ended; no event of this session follows.
    PeerLeft { name: String },
    /// The server is to stop, and nothing behind this event is taken up. All
    /// others learn of it when the broker lets go of `stopping`.
    Stopping { stopping: oneshot::Sender<()> },
}

/// What some lines in a row have become that have the same destinations: what is
/// to be delivered, and how many lines it is.
struct Part {
    to: Arc<[String]>,
    lines: String,
    count: usize,
}

/// What the broker knows of a client: where to queue its messages, and how many
/// bytes of them are queued; where to tell its writer which of them somebody
/// waits for; and who waits for its name, those who came first at the front.
struct Peer {
    sender: Sender<Delivery>,
    queued: Arc<AtomicUsize>,
    awaited: Sender<Written>,
    waiting: VecDeque<Welcome>,
}

/// The writer's end of a client's queue.
struct Queue {
    deliveries: Receiver<Delivery>,
    queued: Arc<AtomicUsize>,
    awaited: Receiver<Written>,
}

/// Lines on their way to a client. Whoever waits for them does so until the
/// token is dropped.
struct Delivery {
    lines: Arc<String>,
    token: Option<Token>,
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
    // An `async` block that awaits a future it was given keeps it twice.
    task::spawn(future.map(|result| {
        if let Err(error) = result {
            eprintln!("error: {error}");
        }
        drop(running);
    }));
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
    stream.set_nodelay(true)?;
    let mut input = Input::new(stream, options.max_line);
    let first = unless(stop.clone(), input.ready());
    match within(options.login_timeout, first).await {
        Some(Some(ready)) => ready?,
        Some(None) => return refuse(stream, STOPPING).await,
        None => {
            let error = "login-timeout the name did not come in time";
            return refuse(stream, error).await;
        }
    }
    let name = match input.take_line() {
        Some(Line::Text(line)) => parse_name(line),
        Some(Line::NotUtf8) => None,
        Some(Line::TooLong) => {
            return refuse(stream, &too_long(&options)).await;
        }
        None => return Err("a connection ended without a name".into()),
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
    let (_, mut answered) = oneshot::channel();
    let result =
        read_messages(&options, &mut broker, &name, input, stop, &mut answered)
            .await;
    // An error says that the broker has ended, and no name is needed any more.
    let _ = broker.send(Event::PeerLeft { name }).await;
    drop(broker);
    let rest = if result.is_ok() { u64::MAX } else { DISCARD };
    // An error says that nothing more comes, which is all that we wait for.
    let _ = io::copy(stream.take(rest), &mut io::sink()).await;
    drop(reading);
    // The seat is taken for as long as the last line waits.
    written(&mut answered).await;
    result
}

/// A line of a client, or why it is none.
enum Line<'a> {
    Text(&'a str),
    NotUtf8,
    /// Mostly its end was not seen, so it is not known where the next begins.
    TooLong,
}

/// What has come from a client and was not taken up yet. Keeps no more than a
/// line of `max_line` bytes, its end, and what one read has brought.
struct Input<'a> {
    stream: &'a TcpStream,
    max_line: usize,
    buffer: Vec<u8>,
    /// Which part of the buffer was not taken up.
    rest: Range<usize>,
    /// Where in it the next line feed is, once that is known.
    line_feed: Option<usize>,
    /// How many bytes to ask for.
    ask: usize,
    /// Whether the last read brought all that it asked for.
    more: bool,
    ended: bool,
    /// Why nothing more comes, until somebody waits for more.
    error: Option<io::Error>,
}

impl<'a> Input<'a> {
    fn new(stream: &'a TcpStream, max_line: usize) -> Self {
        Input {
            stream,
            max_line,
            buffer: Vec::new(),
            rest: 0..0,
            line_feed: None,
            ask: *READ.start(),
            more: false,
            ended: false,
            error: None,
        }
    }

    /// Waits until [`take_line`](Self::take_line) has a line, or never will.
    async fn ready(&mut self) -> io::Result<()> {
        while !self.is_ready() {
            if let Some(error) = self.error.take() {
                return Err(error);
            }
            self.buffer.copy_within(self.rest.clone(), 0);
            self.rest = 0..self.rest.len();
            self.buffer.resize(self.rest.end + self.ask, 0);
            let mut stream = self.stream;
            let read = stream.read(&mut self.buffer[self.rest.end..]).await?;
            self.rest.end += read;
            self.more = read == self.ask;
            self.ended = read == 0;
            self.ask = (2 * read).clamp(*READ.start(), *READ.end());
            self.buffer.shrink_to(2 * (self.rest.end + self.ask));
        }
        Ok(())
    }

    /// Whether there is a line, or never will be.
    fn is_ready(&mut self) -> bool {
        let rest = &self.buffer[self.rest.clone()];
        self.line_feed = self.line_feed.or_else(|| line_feed(rest));
        let is_too_long = rest.len() > self.max_line.saturating_add(1);
        self.ended || is_too_long || self.line_feed.is_some()
    }

    /// Whether everything was taken up, and nothing more comes.
    fn is_at_end(&self) -> bool {
        self.ended && self.rest.is_empty()
    }

    /// Takes up the next line, if it is there. The last one needs no end.
    fn take_line(&mut self) -> Option<Line<'_>> {
        if self.more && !self.is_ready() {
            let ready = self.ready().now_or_never();
            self.error = ready.and_then(result::Result::err);
        }
        if self.is_at_end() || !self.is_ready() {
            return None;
        }
        let rest = &self.buffer[self.rest.clone()];
        let line = match self.line_feed.take() {
            Some(end) => {
                self.rest.start += end + 1;
                rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end])
            }
            None => {
                self.rest.start = self.rest.end;
                rest
            }
        };
        if line.len() > self.max_line {
            return Some(Line::TooLong);
        }
        Some(str::from_utf8(line).map_or(Line::NotUtf8, Line::Text))
    }
}

/// Where the next line feed is. The standard library looks at many bytes at once.
fn line_feed(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let read = rest.skip_until(b'\n').ok()?;
    bytes[..read].ends_with(b"\n").then(|| read - 1)
}

fn too_long(options: &Options) -> String {
    format!("line-too-long at most {} bytes", options.max_line)
}

/// The output of `future`, or `None` if `end` comes first.
async fn unless<T>(
    end: impl Future,
    future: impl Future<Output = T>,
) -> Option<T> {
    match future::select(pin!(end), pin!(future)).await {
        Either::Left(_) => None,
        Either::Right((output, _)) => Some(output),
    }
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

/// Makes one event of all lines that have arrived, and takes up the next ones
/// when the last event was answered and none of its lines waits any more. Ends
/// with the input, on the first error, on a line that is too long, or when the
/// server is told to stop.
async fn read_messages(
    options: &Options,
    broker: &mut mpsc::Sender<Event>,
    name: &str,
    mut input: Input<'_>,
    mut stop: Stop,
    answered: &mut oneshot::Receiver<Vec<Written>>,
) -> Result<()> {
    let mut format = Format::new(name);
    loop {
        let next = async {
            input.ready().await?;
            // Who has said goodbye does not have to wait with it.
            if !input.is_at_end() {
                written(answered).await;
            }
            io::Result::Ok(())
        };
        match unless(&mut stop, next).await {
            Some(ready) => ready?,
            None => return Ok(()),
        }
        let mut result = Ok(());
        while format.length < TAKE_UP {
            let Some(line) = input.take_line() else {
                break;
            };
            match line {
                Line::Text(line) => format.message(line),
                Line::NotUtf8 => format.error("bad-utf8 the line is not UTF-8"),
                Line::TooLong => {
                    format.error(&too_long(options));
                    result = Err(format!("{name} sent a line without end"));
                    break;
                }
            }
        }
        let parts = format.take();
        if parts.is_empty() {
            return Ok(());
        }
        let from = Arc::clone(&format.name);
        let answer;
        (answer, *answered) = oneshot::channel();
        // An error says that the broker has ended, and `stop` is next.
        let _ = broker.feed(Event::Lines { from, parts, answer }).await;
        result?;
    }
}

/// Waits for the answer, and until none of the lines waits that did not fit.
async fn written(answered: &mut oneshot::Receiver<Vec<Written>>) {
    // An error says that there is no answer to wait for.
    let lines = answered.await.unwrap_or_default();
    future::join_all(lines).await;
}

/// Makes of a client's lines what is to be delivered.
struct Format {
    name: Arc<str>,
    /// Who gets the answers to mistakes: the client itself.
    itself: Arc<[String]>,
    /// The destinations of the last message, as it had them and as they are: the
    /// next one mostly has the same.
    dest: String,
    to: Arc<[String]>,
    /// Whether such messages stay apart: their sender is one of several
    /// destinations, and may get an error between two of them.
    apart: bool,
    parts: Vec<Part>,
    /// How many bytes the parts have.
    length: usize,
}

impl Format {
    fn new(name: &str) -> Self {
        let itself: Arc<[String]> = Arc::new([name.to_string()]);
        Format {
            name: name.into(),
            dest: name.to_string(),
            to: Arc::clone(&itself),
            itself,
            apart: false,
            parts: Vec::new(),
            length: 0,
        }
    }

    /// Adds a message, or the answer to a line that is none.
    fn message(&mut self, line: &str) {
        if has_control(line) {
            return self.error("bad-line a line holds no control characters");
        }
        let same = line.strip_prefix(&*self.dest);
        let msg = match same.and_then(|rest| rest.strip_prefix(':')) {
            Some(msg) => msg,
            None => match self.redirect(line) {
                Ok(msg) => msg,
                Err(error) => return self.error(&error),
            },
        };
        let part = part(&mut self.parts, &self.to, self.apart);
        let msg = msg.trim();
        self.length += part.push(&["from ", &self.name, ": ", msg, "\n"]);
    }

    /// Remembers the destinations of a message, and returns its text.
    fn redirect<'a>(
        &mut self,
        line: &'a str,
    ) -> result::Result<&'a str, String> {
        let parts = line.split_once(':');
        let (dest, msg) =
            parts.ok_or("bad-line a line is DESTINATION: TEXT")?;
        self.to = parse_destinations(dest)?;
        self.apart = self.to.len() > 1
            && self.to.iter().any(|dest| **dest == *self.name);
        self.dest.clear();
        self.dest.push_str(dest);
        Ok(msg)
    }

    fn error(&mut self, error: &str) {
        let part = part(&mut self.parts, &self.itself, false);
        self.length += part.push(&["error ", error, "\n"]);
    }

    /// Takes what was made since the last time.
    fn take(&mut self) -> Vec<Part> {
        self.length = 0;
        mem::take(&mut self.parts)
    }
}

/// The last part if it has the same destinations, or else a new one.
fn part<'a>(
    parts: &'a mut Vec<Part>,
    to: &Arc<[String]>,
    apart: bool,
) -> &'a mut Part {
    if apart || !parts.last().is_some_and(|last| Arc::ptr_eq(&last.to, to)) {
        let (to, lines) = (Arc::clone(to), String::new());
        parts.push(Part { to, lines, count: 0 });
    }
    parts.last_mut().expect("one was pushed if there was none")
}

impl Part {
    /// Adds a line, and returns what it takes: with the first one also its
    /// destinations, each of which may need an error.
    fn push(&mut self, pieces: &[&str]) -> usize {
        let mut length = pieces.iter().map(|piece| piece.len()).sum();
        self.lines.reserve(length);
        pieces.iter().for_each(|piece| self.lines.push_str(piece));
        if self.count == 0 {
            length +=
                self.to.iter().map(|dest| dest.len() + DEST).sum::<usize>();
        }
        self.count += 1;
        length
    }
}

/// Whether a line holds a control character, of which only the tab is allowed
/// (9.2).
fn has_control(line: &str) -> bool {
    let other = |byte: u8| !matches!(byte, b' '..=b'~');
    // Most lines are ASCII, and a loop without a branch looks at many at once.
    line.bytes().fold(false, |any, byte| any | other(byte))
        && line.contains(|c: char| c.is_control() && c != '\t')
}

/// The destinations, each once, or the error if there is none or there are too
/// many (9.2, 9.3).
fn parse_destinations(dest: &str) -> result::Result<Arc<[String]>, String> {
    let mut to: Vec<String> = dest.split(',').map(normalize).collect();
    to.retain(|dest| !dest.is_empty());
    to.sort();
    to.dedup();
    match to.len() {
        0 => Err("bad-line there is no destination before the colon".into()),
        1..=MAX_DESTINATIONS => Ok(to.into()),
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
            Event::Lines { from, parts, answer } => {
                for Part { to, lines, count } in parts {
                    let lines = Arc::new(lines);
                    let mut errors = String::new();
                    for dest in &*to {
                        let lines = Arc::clone(&lines);
                        if !send(&peers, max_queue, dest, lines, &mut awaited) {
                            errors += &format!("error unknown-peer {dest}\n");
                        }
                    }
                    if !errors.is_empty() {
                        let errors = Arc::new(errors);
                        for _ in 0..count {
                            let lines = Arc::clone(&errors);
                            // The sender may be gone itself by now.
                            send(&peers, max_queue, &from, lines, &mut awaited);
                        }
                    }
                }
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
    for name in peers.keys() {
        let notice = Arc::new(format!("error {STOPPING}\n"));
        send(&peers, max_queue, name, notice, &mut Vec::new());
    }
    Ok(())
}

/// Queues lines for a peer, and adds them to `awaited` if more waits then than
/// `max_queue`. Returns whether there is such a peer that still reads.
fn send(
    peers: &HashMap<String, Peer>,
    max_queue: usize,
    name: &str,
    lines: Arc<String>,
    awaited: &mut Vec<Written>,
) -> bool {
    let Some(peer) = peers.get(name) else {
        return false;
    };
    let length = lines.len();
    let queued = length + peer.queued.fetch_add(length, Ordering::Relaxed);
    let mut delivery = Delivery { lines, token: None };
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
        let (awaited, is_awaited) = mpsc::unbounded();
        let queued = Arc::new(AtomicUsize::new(0));
        let queue = Queue {
            deliveries,
            queued: Arc::clone(&queued),
            awaited: is_awaited,
        };
        if welcome.send(queue).is_ok() {
            peers.insert(name, Peer { sender, queued, awaited, waiting });
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
    let Queue { mut deliveries, queued, awaited } = queue;
    let mut batch = Batch::default();
    let (mut sent, mut writes) = (0, 0);
    let mut too_slow = pin!(too_slow(awaited, options.grace, stop.clone()));
    let write = async {
        let mut stream = &connection.stream;
        stream.write_all(format!("welcome {name}\n").as_bytes()).await?;
        while let Some(first) = deliveries.next().await {
            batch = Batch::new(first, &mut deliveries);
            while let rest @ [_, ..] = batch.rest() {
                let write = stream.write(rest);
                match future::select(&mut too_slow, write).await {
                    Either::Right((written, _)) => {
                        let written = written?;
                        queued.fetch_sub(written, Ordering::Relaxed);
                        batch.add_written(written);
                        writes += 1;
                    }
                    Either::Left(((), _)) => {
                        deliveries.close();
                        while deliveries.next().await.is_some() {}
                        let rest = batch.rest_of_line();
                        batch = Batch::default();
                        let told = say_too_slow(stream, &rest, &mut read);
                        // Too late, or an error: it cannot be told.
                        let _ = within(options.grace, told).await;
                        return Err(format!("{name} reads too slowly").into());
                    }
                }
            }
            sent += messages(&batch.lines, 0);
            batch = Batch::default();
        }
        stream.shutdown(Shutdown::Write)?;
        Ok(())
    };
    let give_up = stop.clone().then(|_| task::sleep(options.drain_timeout));
    let result = match future::select(pin!(write), pin!(give_up)).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err("it does not read".into()),
    };
    eprintln!("{name}: {sent} messages in {writes} writes");
    if result.is_ok() {
        // The reader has ended, or the time is up: it is the same to us.
        let _ = within(LINGER, read).await;
    }
    // An error says that the client has closed the connection already.
    let _ = connection.stream.shutdown(Shutdown::Both);
    let stopped = stop.now_or_never().is_some();
    match result {
        Err(error) if stopped => {
            let queued =
                deliveries.map(|delivery| messages(&delivery.lines, 0));
            let lost = queued.fold(0, async |sum, more| sum + more).await
                + messages(&batch.lines, batch.written);
            // An error says that nobody waits for the tasks any more.
            let _ = running.unbounded_send(lost);
            let lost = format!("messages not delivered to {name}: {lost}");
            Err(format!("{lost}; {error}").into())
        }
        result => result,
    }
}

/// What a writer writes at once, and how much of it is written.
#[derive(Default)]
struct Batch {
    lines: Arc<String>,
    written: usize,
    /// Each with the end of the lines that are waited for.
    tokens: Vec<(usize, Token)>,
}

impl Batch {
    /// Takes all that waits, or what is enough for one write.
    fn new(first: Delivery, deliveries: &mut Receiver<Delivery>) -> Self {
        let Delivery { mut lines, token } = first;
        let mut tokens =
            Vec::from_iter(token.map(|token| (lines.len(), token)));
        while lines.len() < WRITE {
            let Some(Some(next)) = deliveries.next().now_or_never() else {
                break;
            };
            Arc::make_mut(&mut lines).push_str(&next.lines);
            tokens.extend(next.token.map(|token| (lines.len(), token)));
        }
        Batch { lines, written: 0, tokens }
    }

    fn rest(&self) -> &[u8] {
        &self.lines.as_bytes()[self.written..]
    }

    /// Counts what was written. Nobody waits for these lines any more.
    fn add_written(&mut self, bytes: usize) {
        self.written += bytes;
        self.tokens.retain(|(end, _)| *end > self.written);
    }

    /// What is left of the line that was begun.
    fn rest_of_line(&self) -> Vec<u8> {
        let (written, rest) = self.lines.as_bytes().split_at(self.written);
        let begun = written.last().is_some_and(|byte| *byte != b'\n');
        let line = rest.split_inclusive(|byte| *byte == b'\n').next();
        line.filter(|_| begun).unwrap_or_default().to_vec()
    }
}

/// How many messages are in some lines, of which so many bytes were written. A
/// message of which only the beginning was is one of them.
fn messages(lines: &str, written: usize) -> usize {
    let mut end = 0;
    let lines = lines.split_inclusive('\n').filter(|line| {
        end += line.len();
        // The other lines are errors and the notice, and nobody misses them now.
        end > written && line.starts_with("from ")
    });
    lines.count()
}

/// Writes the rest of a line and, after it, why the connection ends. Waits for
/// the client to close its half.
async fn say_too_slow(
    mut stream: &TcpStream,
    rest: &[u8],
    read: &mut oneshot::Receiver<Infallible>,
) -> Result<()> {
    stream.write_all(rest).await?;
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
