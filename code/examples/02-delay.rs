//! Chapter 02: a future written by hand, polled in a loop.
//!
//! Run it with `cargo run --example 02-delay`.
//!
//! It keeps one processor core busy until the delay is over.

// ANCHOR: imports
use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
// ANCHOR_END: imports

// ANCHOR: main
fn main() {
    let mut delay = pin!(Delay::new(Duration::from_secs(1)));
    let mut cx = Context::from_waker(Waker::noop());
    let mut polls = 1;
    while delay.as_mut().poll(&mut cx).is_pending() {
        polls += 1;
    }
    println!("ready, after {polls} polls");
}
// ANCHOR_END: main

/// A future that's ready once its deadline has passed.
struct Delay {
    deadline: Instant,
}

impl Delay {
    fn new(pause: Duration) -> Delay {
        Delay { deadline: Instant::now() + pause }
    }
}

// ANCHOR: poll
impl Future for Delay {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() < self.deadline {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}
// ANCHOR_END: poll
