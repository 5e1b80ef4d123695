//! The server: connections that come in, the task of the broker, and the end.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    error,
    future::Future,
    io,
    net::Shutdown,
    pin::pin,
    result,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chat::{
    broker::{Action, Broker, Event, Session},
    connection::{Connection, Held, connection_loop, turn_away},
    protocol::Part,
};
use clap::Args;
use futures::{
    AsyncRead, AsyncWrite, FutureExt, SinkExt, Stream, StreamExt,
    channel::{mpsc, oneshot},
    future::Shared,
};

/// What can go wrong at run time is reported to a person, so any error will do.
pub type Result<T> = result::Result<T, Box<dyn error::Error + Send + Sync>>;
pub(crate) type Sender<T> = mpsc::UnboundedSender<T>;
pub(crate) type Receiver<T> = mpsc::UnboundedReceiver<T>;
/// Resolves when the server is to stop. Every clone of it does.
pub(crate) type Stop = Shared<oneshot::Receiver<()>>;
/// Held by every task while it runs. A writer sends how many messages a stop
/// has left undelivered. When the last one is dropped, every task has ended.
pub(crate) type Running = Sender<usize>;
/// Resolves when a line has been written, or never will be.
pub(crate) type Written = Shared<oneshot::Receiver<Infallible>>;
/// Is dropped when a line has been written, or never will be.
pub(crate) type Token = oneshot::Sender<Infallible>;

/// What a client may take of the server.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Longest line
    #[arg(long, value_name = "BYTES", default_value_t = 8192)]
    pub max_line: usize,
    /// Longest wait for a name
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    #[arg(value_parser = seconds)]
    pub login_timeout: Duration,
    /// Most connections at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 16384)]
    pub max_connections: usize,
    /// What may wait for a client until those who write to it wait too
    #[arg(long, value_name = "BYTES", default_value_t = 65536)]
    pub max_queue: usize,
    /// Longest wait for a client that reads slowly
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    #[arg(value_parser = seconds)]
    pub grace: Duration,
    /// Longest wait for clients that read slowly when the server stops
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    #[arg(value_parser = seconds)]
    pub drain_timeout: Duration,
}

fn seconds(text: &str) -> Result<Duration> {
    Ok(Duration::try_from_secs_f64(text.parse()?)?)
}

/// How many clients at a time are told that the server is full.
const REFUSALS: usize = 100;
/// How long the server rests when the system has nothing left to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

// ANCHOR: runtime
/// What the server needs of its surroundings.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// What a client sends.
    type Reader: AsyncRead + Unpin + Send + 'static;
    /// What a client receives.
    type Writer: AsyncWrite + Unpin + Send + 'static;
    /// Ends the half that the client receives, and with `Shutdown::Both` the
    /// other one too: what was written still arrives, and the reader finds the
    /// end.
    fn shutdown(&self, writer: &Self::Writer, how: Shutdown) -> io::Result<()>;
    /// Runs a task until it ends.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
    /// Resolves when so much time has passed.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;
    /// Tells whoever runs the server.
    fn report(&self, line: &str);
}

/// The two halves of a connection that has come in. When both are dropped, the
/// connection is closed.
pub struct Socket<T: Runtime> {
    /// Who it is, for whoever runs the server.
    pub peer: String,
    /// What the client sends.
    pub reader: T::Reader,
    /// What the client receives.
    pub writer: T::Writer,
}
// ANCHOR_END: runtime

/// What is the same for all connections of a server.
pub(crate) struct Common<T> {
    pub options: Options,
    pub runtime: T,
    pub stop: Stop,
}

/// What the tasks tell that of the broker.
pub(crate) enum Request {
    /// A client asks for a name. If it gets it, its queue comes back. Whoever
    /// does not want it any more logs out.
    LogIn { session: Session, name: Arc<str>, welcome: oneshot::Sender<Queue> },
    /// A client has sent lines. What did not fit into its queue comes back.
    Lines {
        session: Session,
        parts: Vec<Part>,
        answer: oneshot::Sender<Vec<Written>>,
    },
    /// The server is to stop. All others learn of it when `stopping` is dropped.
    Stop { stopping: oneshot::Sender<()> },
    /// Anything else.
    Event(Event),
}

/// The writer's end of a client's queue.
pub(crate) struct Queue {
    pub deliveries: Receiver<Delivery>,
    pub queued: Arc<AtomicUsize>,
    pub awaited: Receiver<Written>,
}

/// Lines on their way to a client. Whoever waits for them does so until the
/// token is dropped.
pub(crate) struct Delivery {
    pub lines: Arc<String>,
    pub token: Option<Token>,
}

// ANCHOR: serve
/// Serves the connections that come in until `stop` resolves and every task has
/// ended, and returns how many messages were not delivered. No error of
/// `incoming` ends it; its end is a stop.
pub async fn serve<T: Runtime>(
    incoming: impl Stream<Item = io::Result<Socket<T>>>,
    stop: impl Future,
    options: Options,
    runtime: T,
) -> usize {
    let mut broker = Broker::new();
    let decide = move |event, actions: &mut Vec<Action>| {
        broker.handle(event, actions);
    };
    serve_with(incoming, stop, options, runtime, decide).await
}

/// The same with another broker: `decide` appends to the actions what is to be
/// done after an event.
pub async fn serve_with<T: Runtime>(
    incoming: impl Stream<Item = io::Result<Socket<T>>>,
    stop: impl Future,
    options: Options,
    runtime: T,
    decide: impl FnMut(Event, &mut Vec<Action>) + Send + 'static,
) -> usize {
    // ANCHOR_END: serve
    let (stopping, stopped) = oneshot::channel();
    let (running, all_tasks) = mpsc::unbounded();
    let (mut broker, requests) = mpsc::channel(0);
    let broker_loop = broker_loop(requests, options.max_queue, decide);
    spawn_and_log_error(&runtime, broker_loop.map(Ok), running.clone());
    let common = Arc::new(Common { options, runtime, stop: stopped.shared() });
    let seats = Arc::new(());
    let mut sessions = (0..).map(Session);
    let mut accepting = true;
    {
        let mut incoming = pin!(incoming.take_until(stop));
        while let Some(socket) = incoming.next().await {
            let socket = match socket {
                Ok(socket) => socket,
                Err(error) if is_of_one_client(&error) => continue,
                Err(error) => {
                    if accepting {
                        common.runtime.report(&format!(
                            "error: cannot accept for now: {error}"
                        ));
                    }
                    accepting = false;
                    common.runtime.sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            accepting = true;
            let taken = Arc::strong_count(&seats) - 1;
            let connection = Connection {
                common: Arc::clone(&common),
                session: sessions.next().expect("there are 2^64 of them"),
                broker: broker.clone(),
                held: Arc::new(Held {
                    running: running.clone(),
                    _seat: Arc::clone(&seats),
                }),
            };
            let held = Arc::clone(&connection.held);
            let Common { options, runtime, .. } = &*common;
            if taken < options.max_connections {
                let connection = connection_loop(connection, socket);
                spawn_and_log_error(runtime, connection, held);
            } else if taken - options.max_connections < REFUSALS {
                let connection = turn_away(connection, socket);
                spawn_and_log_error(runtime, connection, held);
            }
        }
    }
    // An error says that the broker has ended, and it ends only after us.
    let _ = broker.send(Request::Stop { stopping }).await;
    drop((broker, running));
    all_tasks.fold(0, async |lost, more| lost + more).await
}

/// Whether an error of the listener concerns a client that has gone already.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionReset)
}

/// Spawns a task that reports its own error. The task has `held` until it has
/// ended.
pub(crate) fn spawn_and_log_error<T: Runtime>(
    runtime: &T,
    future: impl Future<Output = Result<()>> + Send + 'static,
    held: impl Send + 'static,
) {
    let reporter = runtime.clone();
    // An `async` block that awaits a future it was given keeps it twice.
    runtime.spawn(future.map(move |result| {
        if let Err(error) = result {
            reporter.report(&format!("error: {error}"));
        }
        drop(held);
    }));
}

/// What the task of the broker has of a client.
struct Peer {
    welcome: Option<(oneshot::Sender<Queue>, Queue)>,
    sender: Sender<Delivery>,
    queued: Arc<AtomicUsize>,
    awaited: Sender<Written>,
}

impl Peer {
    fn new(welcome: oneshot::Sender<Queue>) -> Self {
        let (sender, deliveries) = mpsc::unbounded();
        let (awaited, is_awaited) = mpsc::unbounded();
        let queued = Arc::new(AtomicUsize::new(0));
        let queue = Queue {
            deliveries,
            queued: Arc::clone(&queued),
            awaited: is_awaited,
        };
        Peer { welcome: Some((welcome, queue)), sender, queued, awaited }
    }

    /// Returns whether the client still wants to be let in.
    fn welcome(&mut self) -> bool {
        let welcome = self.welcome.take();
        welcome.is_some_and(|(welcome, queue)| welcome.send(queue).is_ok())
    }

    /// Queues lines, and returns what to wait for if more waits then than may.
    fn send(&self, lines: Arc<String>, max_queue: usize) -> Option<Written> {
        let length = lines.len();
        let queued = length + self.queued.fetch_add(length, Ordering::Relaxed);
        let (token, written) =
            (queued > max_queue).then(oneshot::channel).unzip();
        let written = written.map(FutureExt::shared);
        if let Some(written) = &written {
            // An error says that the writer has ended, and so has the waiting.
            let _ = self.awaited.unbounded_send(written.clone());
        }
        // An error says that the writer has ended, and the goodbye is on its way.
        let _ = self.sender.unbounded_send(Delivery { lines, token });
        written
    }
}

// ANCHOR: broker_loop
/// Does what the broker says. Never waits for a client. Ends when the server is
/// to stop. The queues end with it.
async fn broker_loop(
    mut requests: mpsc::Receiver<Request>,
    max_queue: usize,
    mut decide: impl FnMut(Event, &mut Vec<Action>),
) {
    let mut peers: HashMap<Session, Peer> = HashMap::new();
    let mut actions = Vec::new();
    let mut events = VecDeque::new();
    let mut stopped = false;
    while !stopped {
        let Some(request) = requests.next().await else {
            break;
        };
        let mut answer = None;
        let event = match request {
            Request::LogIn { session, name, welcome } => {
                peers.insert(session, Peer::new(welcome));
                Event::LogIn { session, name }
            }
            Request::Lines { session, parts, answer: sender } => {
                answer = Some(sender);
                Event::Lines { session, parts }
            }
            Request::Stop { stopping } => {
                drop(stopping);
                stopped = true;
                Event::Stop
            }
            Request::Event(event) => event,
        };
        let mut awaited = Vec::new();
        events.push_back(event);
        while let Some(event) = events.pop_front() {
            decide(event, &mut actions);
            for action in actions.drain(..) {
                match action {
                    Action::Welcome { session } => {
                        let peer = peers.get_mut(&session);
                        if !peer.is_some_and(Peer::welcome) {
                            // Nobody may write to a client that waits no longer.
                            events.push_back(Event::LogOut { session });
                        }
                    }
                    Action::Deliver { session, lines } => {
                        let peer = peers.get(&session);
                        awaited.extend(
                            peer.and_then(|peer| peer.send(lines, max_queue)),
                        );
                    }
                    Action::Finish { session } => drop(peers.remove(&session)),
                }
            }
        }
        if let Some(answer) = answer {
            // An error says that the reader has ended.
            let _ = answer.send(awaited);
        }
    }
}
// ANCHOR_END: broker_loop
