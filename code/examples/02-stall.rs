//! Chapter 02, "Break it": one task blocks the thread, and every task waits.
//!
//! Run it with `cargo run --example 02-stall`.
//!
//! It's `02-futures` with one more task.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

fn main() {
    let start = Instant::now();
    let mut executor = Executor::new();
    executor.spawn(count("Alice", Duration::from_millis(200), start));
    executor.spawn(count("Bob", Duration::from_millis(350), start));
    // ANCHOR: carol
    executor.spawn(hash_password("Carol", start));
    // ANCHOR_END: carol
    let polls = executor.run();
    println!("{polls} polls");
}

/// Says 1, 2 and 3, each after a pause.
async fn count(name: &str, pause: Duration, start: Instant) {
    for n in 1..=3 {
        Delay::new(pause).await;
        println!("{:4} ms  {name}: {n}", start.elapsed().as_millis());
    }
}

// ANCHOR: hash_password
/// Blocks the thread for a second, without a single `.await`.
async fn hash_password(name: &str, start: Instant) {
    thread::sleep(Duration::from_secs(1));
    println!("{:4} ms  {name}: done", start.elapsed().as_millis());
}
// ANCHOR_END: hash_password

/// A future at a fixed address of its own.
type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Owns every task that hasn't finished, and a queue saying which to poll next.
struct Executor {
    tasks: HashMap<usize, Task>,
    next_id: usize,
    to_queue: mpsc::Sender<usize>,
    queue: mpsc::Receiver<usize>,
}

impl Executor {
    fn new() -> Executor {
        let (to_queue, queue) = mpsc::channel();
        Executor { tasks: HashMap::new(), next_id: 0, to_queue, queue }
    }

    /// Makes a task of the future, and queues its number for the first poll.
    fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        let id = self.next_id;
        self.next_id += 1;
        println!("task {id}: {} bytes", size_of_val(&future));
        self.tasks.insert(id, Box::pin(future));
        self.to_queue.send(id).expect("this executor holds the receiver");
    }

    /// Polls tasks until all of them have finished. Returns the number of polls.
    fn run(&mut self) -> usize {
        let mut polls = 0;
        while !self.tasks.is_empty() {
            let id = self.queue.recv().expect("this executor holds a sender");
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            let to_queue = self.to_queue.clone();
            let waker = Waker::from(Arc::new(TaskWaker { id, to_queue }));
            let mut cx = Context::from_waker(&waker);
            polls += 1;
            if task.as_mut().poll(&mut cx).is_ready() {
                self.tasks.remove(&id);
            }
        }
        polls
    }
}

/// Knows the number of one task, and the queue to put it in.
struct TaskWaker {
    id: usize,
    to_queue: mpsc::Sender<usize>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        // An error means that the executor is gone, and its tasks with it.
        let _ = self.to_queue.send(self.id);
    }
}

/// A future that's ready once its deadline has passed.
struct Delay {
    deadline: Instant,
}

impl Delay {
    fn new(pause: Duration) -> Delay {
        Delay { deadline: Instant::now() + pause }
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        thread::spawn(move || {
            thread::sleep(left);
            waker.wake();
        });
        Poll::Pending
    }
}
