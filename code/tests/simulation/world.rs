//! A world for the server in which nothing happens by itself: one thread, a
//! clock that stands still while anybody has something to do, pipes instead of
//! sockets, and a source of random numbers that decides everything that a real
//! system leaves open. The same seed gives the same run.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    future::Future,
    io,
    net::Shutdown,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use chat::server::{Runtime, Socket};
use futures::{AsyncRead, AsyncWrite, FutureExt, future::BoxFuture};

/// The world; each clone is the same one.
#[derive(Clone)]
pub struct World(Arc<Mutex<State>>);

struct State {
    random: fastrand::Rng,
    tasks: HashMap<usize, BoxFuture<'static, ()>>,
    /// Tasks that were woken, in the order in which they were.
    ready: Vec<usize>,
    spawned: usize,
    now: Duration,
    /// Who sleeps until when. The number keeps two with the same time apart.
    sleepers: BTreeMap<(Duration, usize), Waker>,
    reports: Vec<String>,
}

impl World {
    /// A world in which this number decides what happens.
    pub fn new(seed: u64) -> Self {
        World(Arc::new(Mutex::new(State {
            random: fastrand::Rng::with_seed(seed),
            tasks: HashMap::new(),
            ready: Vec::new(),
            spawned: 0,
            now: Duration::ZERO,
            sleepers: BTreeMap::new(),
            reports: Vec::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no task panics while it holds the world")
    }

    /// A random number below `end`.
    pub fn below(&self, end: usize) -> usize {
        self.state().random.usize(..end)
    }

    /// What the server has reported.
    pub fn reports(&self) -> Vec<String> {
        self.state().reports.clone()
    }

    // ANCHOR: run
    /// Runs until nobody has anything to do any more: always some task that was
    /// woken, no matter which. If none was, time passes. Returns how many tasks
    /// have not ended, and how often a task was run.
    pub fn run(&self) -> (usize, usize) {
        let mut steps = 0;
        while let Some(id) = self.next_task() {
            let Some(mut task) = self.state().tasks.remove(&id) else {
                continue;
            };
            steps += 1;
            let waker =
                Waker::from(Arc::new(Awake { id, world: self.clone() }));
            if task.poll_unpin(&mut Context::from_waker(&waker)).is_pending() {
                self.state().tasks.insert(id, task);
            }
        }
        (self.state().tasks.len(), steps)
    }

    fn next_task(&self) -> Option<usize> {
        loop {
            let mut state = self.state();
            if !state.ready.is_empty() {
                let ready = state.ready.len();
                let which = state.random.usize(..ready);
                return Some(state.ready.swap_remove(which));
            }
            let ((time, _), sleeper) = state.sleepers.pop_first()?;
            state.now = time;
            drop(state);
            sleeper.wake();
        }
    }
    // ANCHOR_END: run

    /// A connection: the server's end and the client's. Each direction holds up
    /// to `capacity` bytes.
    pub fn connect(&self, capacity: usize) -> (End, End) {
        let (there, back) = (self.pipe(capacity), self.pipe(capacity));
        let end = |from: &Arc<Mutex<Pipe>>, to: &Arc<Mutex<Pipe>>| Socket {
            peer: "a pipe".to_string(),
            reader: Reader { pipe: Arc::clone(from), world: self.clone() },
            writer: Writer {
                pipe: Arc::clone(to),
                back: Arc::clone(from),
                world: self.clone(),
            },
        };
        (end(&there, &back), end(&back, &there))
    }

    fn pipe(&self, capacity: usize) -> Arc<Mutex<Pipe>> {
        Arc::new(Mutex::new(Pipe {
            bytes: VecDeque::new(),
            capacity,
            is_closed: false,
            is_broken: false,
            reader: None,
            writer: None,
        }))
    }
}

impl Runtime for World {
    type Reader = Reader;
    type Writer = Writer;

    fn shutdown(&self, writer: &Writer, how: Shutdown) -> io::Result<()> {
        close(&writer.pipe);
        if how == Shutdown::Both {
            close(&writer.back);
        }
        Ok(())
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.state();
        let id = state.spawned;
        state.spawned += 1;
        state.tasks.insert(id, task.boxed());
        state.ready.push(id);
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        let until = self.state().now + time;
        Sleep { until, world: self.clone() }
    }

    fn report(&self, line: &str) {
        self.state().reports.push(line.to_string());
    }
}

/// Wakes one task.
struct Awake {
    id: usize,
    world: World,
}

impl Wake for Awake {
    fn wake(self: Arc<Self>) {
        let mut state = self.world.state();
        if !state.ready.contains(&self.id) {
            state.ready.push(self.id);
        }
    }
}

struct Sleep {
    until: Duration,
    world: World,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.world.state();
        if state.now >= self.until {
            return Poll::Ready(());
        }
        let number = state.spawned;
        state.spawned += 1;
        state.sleepers.insert((self.until, number), context.waker().clone());
        Poll::Pending
    }
}

/// One end of a connection.
pub type End = Socket<World>;

/// One direction of a connection.
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// Nothing more is written.
    is_closed: bool,
    /// Nothing more is read.
    is_broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The end of a pipe that is read from.
pub struct Reader {
    pipe: Arc<Mutex<Pipe>>,
    world: World,
}

/// The end of a pipe that is written to.
pub struct Writer {
    pipe: Arc<Mutex<Pipe>>,
    /// The other direction.
    back: Arc<Mutex<Pipe>>,
    world: World,
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().expect("no task panics while it holds a pipe")
}

/// Nothing more is written; what was is still read.
fn close(pipe: &Mutex<Pipe>) {
    let mut pipe = lock(pipe);
    pipe.is_closed = true;
    wake(&mut pipe.reader);
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

// ANCHOR: read
impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.pipe);
        let most = pipe.bytes.len().min(into.len());
        if most == 0 {
            if pipe.is_closed {
                return Poll::Ready(Ok(0));
            }
            pipe.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let read = 1 + self.world.below(most);
        for (to, from) in into.iter_mut().zip(pipe.bytes.drain(..read)) {
            *to = from;
        }
        wake(&mut pipe.writer);
        Poll::Ready(Ok(read))
    }
}
// ANCHOR_END: read

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.pipe);
        if pipe.is_broken || pipe.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let most = bytes.len().min(pipe.capacity - pipe.bytes.len());
        if most == 0 {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let written = 1 + self.world.below(most);
        pipe.bytes.extend(&bytes[..written]);
        wake(&mut pipe.reader);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        close(&self.pipe);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut pipe = lock(&self.pipe);
        pipe.is_broken = true;
        wake(&mut pipe.writer);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        close(&self.pipe);
    }
}
