//! One connection: its login, its lines, its queue, and its end. Two tasks serve
//! it, one for each direction.

// ANCHOR: hidden
// ANCHOR_END: hidden

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::Shutdown,
    ops::RangeInclusive,
    pin::pin,
    result,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chat::{
    broker::{Event, Session},
    protocol::{
        Format, Line, LineBuffer, MAX_NAME, STOPPING, messages, parse_name,
    },
    server::{
        Common, Delivery, Options, Queue, Receiver, Request, Result, Running,
        Runtime, Socket, Stop, Token, Written, spawn_and_log_error,
    },
};
use futures::{
    AsyncRead, AsyncReadExt, AsyncWriteExt, FutureExt, SinkExt, StreamExt,
    channel::{mpsc, oneshot},
    future::{self, Either},
};

/// How long a login waits for a name to become free (8.4).
const NAME_WAIT: Duration = Duration::from_secs(1);
/// How long a client may take to close its half after we have closed ours.
const LINGER: Duration = Duration::from_secs(1);
/// How many bytes are still read of a client that has broken a limit (10.1).
const DISCARD: u64 = 64 * 1024;
/// How many bytes a reader asks for: few while its client is quiet, and more
/// when it is not.
const READ: RangeInclusive<usize> = 512..=32 * 1024;
/// When an event has this many bytes, its reader adds no further line.
const TAKE_UP: usize = 64 * 1024;
/// When a write has this many bytes, its writer adds no further lines.
const WRITE: usize = 64 * 1024;

/// What the two tasks of a connection have in common.
pub(crate) struct Connection<T> {
    pub common: Arc<Common<T>>,
    pub session: Session,
    pub broker: mpsc::Sender<Request>,
    pub held: Arc<Held>,
}

/// What both tasks of a connection hold while they run.
pub(crate) struct Held {
    pub running: Running,
    /// The server has so many seats, and this one is taken.
    pub _seat: Arc<()>,
}

impl<T> Clone for Connection<T> {
    fn clone(&self) -> Self {
        Connection {
            common: Arc::clone(&self.common),
            session: self.session,
            broker: self.broker.clone(),
            held: Arc::clone(&self.held),
        }
    }
}

/// Logs a client in and makes requests of its lines. Ends when the client has
/// finished sending, cannot be read from, breaks a limit or is not let in, or
/// when the server is told to stop.
pub(crate) async fn connection_loop<T: Runtime>(
    mut connection: Connection<T>,
    mut socket: Socket<T>,
) -> Result<()> {
    let common = Arc::clone(&connection.common);
    let Common { options, runtime, stop } = &*common;
    runtime.report(&format!("accepted {}", socket.peer));
    let mut input = Input::new(options.max_line);
    let first = unless(stop.clone(), input.ready(&mut socket.reader));
    match within(runtime, options.login_timeout, first).await {
        Some(Some(ready)) => ready?,
        Some(None) => return refuse(runtime, socket, STOPPING).await,
        None => {
            let error = "login-timeout the name did not come in time";
            return refuse(runtime, socket, error).await;
        }
    }
    let name = match input.take_line(&mut socket.reader) {
        Some(Line::Text(line)) => parse_name(line),
        Some(Line::NotUtf8) => None,
        Some(Line::TooLong) => {
            return refuse(runtime, socket, &too_long(options)).await;
        }
        None => return Err("a connection ended without a name".into()),
    };
    let Some(name) = name else {
        let error = format!(
            "bad-name a name is 1 to {MAX_NAME} letters, digits, _ or -"
        );
        return refuse(runtime, socket, &error).await;
    };
    let name = Arc::from(name);
    let queue = match log_in(&mut connection, &name).await {
        Ok(queue) => queue,
        Err(error) => return refuse(runtime, socket, &error).await,
    };
    let Socket { mut reader, writer, .. } = socket;
    let (reading, read) = oneshot::channel();
    let writer = connection_writer_loop(
        connection.clone(),
        Arc::clone(&name),
        queue,
        writer,
        read,
    );
    spawn_and_log_error(runtime, writer, Arc::clone(&connection.held));
    let (_, mut answered) = oneshot::channel();
    let result = read_messages(
        &mut connection,
        &name,
        input,
        &mut reader,
        &mut answered,
    )
    .await;
    log_out(&mut connection).await;
    let rest = if result.is_ok() { u64::MAX } else { DISCARD };
    discard(&mut reader, rest).await;
    drop((reading, reader));
    // This is a connection for as long as its last line waits.
    written(&mut answered).await;
    result
}

/// Tells a client that the server is full.
pub(crate) async fn turn_away<T: Runtime>(
    connection: Connection<T>,
    socket: Socket<T>,
) -> Result<()> {
    let error = "server-full try again later";
    refuse(&connection.common.runtime, socket, error).await
}

/// Tells a client why it is not let in, and closes its connection.
async fn refuse<T: Runtime>(
    runtime: &T,
    mut socket: Socket<T>,
    error: &str,
) -> Result<()> {
    let line = format!("error {error}\n");
    socket.writer.write_all(line.as_bytes()).await?;
    runtime.shutdown(&socket.writer, Shutdown::Write)?;
    // Too late or not: we have waited enough.
    let _ = within(runtime, LINGER, discard(&mut socket.reader, DISCARD)).await;
    // An error says that the client has closed the connection already.
    let _ = runtime.shutdown(&socket.writer, Shutdown::Both);
    Err(format!("refused a client: {error}").into())
}

/// Reads and throws away what still comes, up to so many bytes.
async fn discard(reader: &mut (impl AsyncRead + Unpin), bytes: u64) {
    // An error says that nothing more comes, which is all that we wait for.
    let _ =
        futures::io::copy(reader.take(bytes), &mut futures::io::sink()).await;
}

fn too_long(options: &Options) -> String {
    format!("line-too-long at most {} bytes", options.max_line)
}

/// The output of `future`, or `None` if `end` comes first.
async fn unless<O>(
    end: impl Future,
    future: impl Future<Output = O>,
) -> Option<O> {
    match future::select(pin!(end), pin!(future)).await {
        Either::Left(_) => None,
        Either::Right((output, _)) => Some(output),
    }
}

/// The output of `future`, or `None` if it takes longer than `limit`.
async fn within<O>(
    runtime: &impl Runtime,
    limit: Duration,
    future: impl Future<Output = O>,
) -> Option<O> {
    match future::select(pin!(future), pin!(runtime.sleep(limit))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// Asks the broker for a name. Returns the queue of messages if we get it in
/// time, or what to tell the client.
async fn log_in<T: Runtime>(
    connection: &mut Connection<T>,
    name: &Arc<str>,
) -> result::Result<Queue, String> {
    let (welcome, mut welcomed) = oneshot::channel();
    let (session, name) = (connection.session, Arc::clone(name));
    let taken = format!("name-taken somebody else is called {name}");
    let request = Request::LogIn { session, name, welcome };
    // An error says that the broker has ended, and there is no answer.
    let _ = connection.broker.send(request).await;
    let runtime = &connection.common.runtime;
    if let Some(answer) = within(runtime, NAME_WAIT, &mut welcomed).await {
        // The broker keeps a welcome that is still wanted until it ends.
        return answer.map_err(|_| STOPPING.to_string());
    }
    welcomed.close();
    // An error says that nothing was sent before we closed it.
    if let Some(queue) = welcomed.try_recv().unwrap_or(None) {
        return Ok(queue);
    }
    log_out(connection).await;
    Err(taken)
}

async fn log_out<T>(connection: &mut Connection<T>) {
    let event = Event::LogOut { session: connection.session };
    // An error says that the broker has ended, and no name is needed any more.
    let _ = connection.broker.send(Request::Event(event)).await;
}

/// What has come from a client and was not taken up yet.
struct Input {
    lines: LineBuffer,
    /// How many bytes to ask for.
    ask: usize,
    /// Whether the last read brought all that it asked for.
    more: bool,
    /// Why nothing more comes, until somebody waits for more.
    error: Option<io::Error>,
}

impl Input {
    fn new(max_line: usize) -> Self {
        let lines = LineBuffer::new(max_line);
        Input { lines, ask: *READ.start(), more: false, error: None }
    }

    /// Waits until [`take_line`](Self::take_line) has a line, or never will.
    async fn ready(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<()> {
        while !self.lines.is_ready() {
            if let Some(error) = self.error.take() {
                return Err(error);
            }
            let read = reader.read(self.lines.room(self.ask)).await?;
            self.lines.filled(read);
            self.more = read == self.ask;
            self.ask = (2 * read).clamp(*READ.start(), *READ.end());
        }
        Ok(())
    }

    /// Takes up the next line, if it is there.
    fn take_line(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
    ) -> Option<Line<'_>> {
        if self.more && !self.lines.is_ready() {
            let ready = self.ready(reader).now_or_never();
            self.error = ready.and_then(result::Result::err);
        }
        self.lines.take_line()
    }
}

/// Makes one request of all lines that have arrived, and takes up the next ones
/// when the last request was answered and none of its lines waits any more. Ends
/// with the input, on the first error, on a line that is too long, or when the
/// server is told to stop.
async fn read_messages<T: Runtime>(
    connection: &mut Connection<T>,
    name: &str,
    mut input: Input,
    reader: &mut T::Reader,
    answered: &mut oneshot::Receiver<Vec<Written>>,
) -> Result<()> {
    let Connection { common, session, broker, .. } = connection;
    let mut stop = common.stop.clone();
    let mut format = Format::new(name);
    loop {
        let next = async {
            input.ready(reader).await?;
            // Who has said goodbye does not have to wait with it.
            if !input.lines.is_at_end() {
                written(answered).await;
            }
            io::Result::Ok(())
        };
        match unless(&mut stop, next).await {
            Some(ready) => ready?,
            None => return Ok(()),
        }
        let mut result = Ok(());
        while format.length() < TAKE_UP {
            let Some(line) = input.take_line(reader) else {
                break;
            };
            match line {
                Line::Text(line) => format.message(line),
                Line::NotUtf8 => format.error("bad-utf8 the line is not UTF-8"),
                Line::TooLong => {
                    format.error(&too_long(&common.options));
                    result = Err(format!("{name} sent a line without end"));
                    break;
                }
            }
        }
        let parts = format.take();
        if parts.is_empty() {
            return Ok(());
        }
        let answer;
        (answer, *answered) = oneshot::channel();
        let request = Request::Lines { session: *session, parts, answer };
        // An error says that the broker has ended, and `stop` is next.
        let _ = broker.feed(request).await;
        result?;
    }
}

/// Waits for the answer, and until none of the lines waits that did not fit.
async fn written(answered: &mut oneshot::Receiver<Vec<Written>>) {
    // An error says that there is no answer to wait for.
    let lines = answered.await.unwrap_or_default();
    future::join_all(lines).await;
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

/// Owns the outgoing half of one connection: nobody else writes to it. Ends when
/// nobody can send to its queue any more and the queue is empty, when the client
/// cannot be written to, when somebody has waited for it for too long, or when
/// it has not read everything in time after the server was told to stop. Closes
/// the connection then, and tells `running` how many messages the stop has left
/// undelivered.
async fn connection_writer_loop<T: Runtime>(
    mut connection: Connection<T>,
    name: Arc<str>,
    queue: Queue,
    mut writer: T::Writer,
    mut read: oneshot::Receiver<Infallible>,
) -> Result<()> {
    let common = Arc::clone(&connection.common);
    let Common { options, runtime, stop } = &*common;
    let Queue { mut deliveries, queued, awaited } = queue;
    let mut batch = Batch::default();
    let mut too_slow =
        pin!(too_slow(runtime, awaited, options.grace, stop.clone()));
    let write = async {
        writer.write_all(format!("welcome {name}\n").as_bytes()).await?;
        while let Some(first) = deliveries.next().await {
            batch = Batch::new(first, &mut deliveries);
            while let rest @ [_, ..] = batch.rest() {
                let write = writer.write(rest);
                match future::select(&mut too_slow, write).await {
                    Either::Right((written, _)) => {
                        let written = written?;
                        if written == 0 {
                            return Err("nothing can be written".into());
                        }
                        queued.fetch_sub(written, Ordering::Relaxed);
                        batch.add_written(written);
                    }
                    Either::Left(((), _)) => {
                        let session = connection.session;
                        let event = Request::Event(Event::TooSlow { session });
                        // An error says that the broker has ended.
                        let _ = connection.broker.send(event).await;
                        deliveries.close();
                        while deliveries.next().await.is_some() {}
                        let rest = batch.rest_of_line();
                        batch = Batch::default();
                        let told = say_too_slow(
                            runtime,
                            &mut writer,
                            &rest,
                            &mut read,
                        );
                        // Too late, or an error: it cannot be told.
                        let _ = within(runtime, options.grace, told).await;
                        return Err(format!("{name} reads too slowly").into());
                    }
                }
            }
            batch = Batch::default();
        }
        runtime.shutdown(&writer, Shutdown::Write)?;
        Ok(())
    };
    let give_up = stop.clone().then(|_| runtime.sleep(options.drain_timeout));
    let result = match future::select(pin!(write), pin!(give_up)).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err("it does not read".into()),
    };
    if result.is_ok() {
        // The reader has ended, or the time is up: it is the same to us.
        let _ = within(runtime, LINGER, read).await;
    }
    // An error says that the client has closed the connection already.
    let _ = runtime.shutdown(&writer, Shutdown::Both);
    let stopped = stop.clone().now_or_never().is_some();
    match result {
        Err(error) if stopped => {
            let queued =
                deliveries.map(|delivery| messages(&delivery.lines, 0));
            let lost = queued.fold(0, async |sum, more| sum + more).await
                + messages(&batch.lines, batch.written);
            // An error says that nobody waits for the tasks any more.
            let _ = connection.held.running.unbounded_send(lost);
            let lost = format!("messages not delivered to {name}: {lost}");
            Err(format!("{lost}; {error}").into())
        }
        result => result,
    }
}

/// Writes the rest of a line and, after it, why the connection ends. Waits for
/// the client to close its half.
async fn say_too_slow<T: Runtime>(
    runtime: &T,
    writer: &mut T::Writer,
    rest: &[u8],
    read: &mut oneshot::Receiver<Infallible>,
) -> Result<()> {
    writer.write_all(rest).await?;
    let error = "error too-slow others have waited for you\n";
    writer.write_all(error.as_bytes()).await?;
    runtime.shutdown(writer, Shutdown::Write)?;
    // An error says that the reader has ended, which is what we wait for.
    let _ = read.await;
    Ok(())
}

/// Resolves when one of these lines has been waited for for `grace`. After the
/// stop nobody waits.
async fn too_slow(
    runtime: &impl Runtime,
    awaited: Receiver<Written>,
    grace: Duration,
    stop: Stop,
) {
    let waits = awaited.map(|written| within(runtime, grace, written));
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
