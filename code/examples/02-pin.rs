//! Chapter 02: a future that holds a reference into itself.
//!
//! Run it with `cargo run --example 02-pin`.

use std::{
    future::{Future, ready},
    pin::pin,
    task::{Context, Waker},
};

fn main() {
    let mut cx = Context::from_waker(Waker::noop());
    let mut delivery = pin!(deliver());
    let done = delivery.as_mut().poll(&mut cx).is_ready();
    println!("done: {done}");
}

// ANCHOR: deliver
async fn deliver() {
    let line = *b"bob: hi";
    let name = &line[..3];
    ready(()).await;
    println!("to {}", name.escape_ascii());
}
// ANCHOR_END: deliver
