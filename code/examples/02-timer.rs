//! Chapter 02, exercise 3: one thread wakes the tasks of all delays.
//!
//! Run it with `cargo run --example 02-timer`.
//!
//! It differs from `02-futures` in `Delay`, which sends its waker to `timer`.

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
    let (to_timer, from_delays) = mpsc::channel();
    thread::spawn(|| timer(from_delays));
    let mut executor = Executor::new();
    executor.spawn(count("Alice", 200, start, to_timer.clone()));
    executor.spawn(count("Bob", 350, start, to_timer));
    let polls = executor.run();
    println!("{polls} polls");
}

/// Says 1, 2 and 3, each after a pause.
async fn count(name: &str, millis: u64, start: Instant, to_timer: ToTimer) {
    for n in 1..=3 {
        let deadline = Instant::now() + Duration::from_millis(millis);
        Delay { deadline, to_timer: &to_timer }.await;
        println!("{:4} ms  {name}: {n}", start.elapsed().as_millis());
    }
}

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

// ANCHOR: timer
/// Where a delay sends its deadline, and the waker to call then.
type ToTimer = mpsc::Sender<(Instant, Waker)>;

/// Owns the deadlines of all delays. Ends when no task is left to send one.
fn timer(from_delays: mpsc::Receiver<(Instant, Waker)>) {
    let mut waiting: Vec<(Instant, Waker)> = Vec::new();
    loop {
        let now = Instant::now();
        for (_, waker) in waiting.extract_if(.., |(when, _)| *when <= now) {
            waker.wake();
        }
        let received = match waiting.iter().map(|(when, _)| *when).min() {
            Some(next) => from_delays.recv_timeout(next - now),
            None => from_delays.recv().map_err(Into::into),
        };
        match received {
            Ok(delay) => waiting.push(delay),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}
// ANCHOR_END: timer

/// A future that's ready once its deadline has passed.
struct Delay<'a> {
    deadline: Instant,
    to_timer: &'a ToTimer,
}

impl Future for Delay<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.deadline {
            return Poll::Ready(());
        }
        self.to_timer
            .send((self.deadline, cx.waker().clone()))
            .expect("the timer lives as long as this sender");
        Poll::Pending
    }
}
