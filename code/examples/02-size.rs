//! Chapter 02, exercise 1: what is kept across an `.await` takes up room.
//!
//! Run it with `cargo run --example 02-size`.

use std::future::ready;

fn main() {
    println!("before: {:4} bytes", size_of_val(&before()));
    println!("across: {:4} bytes", size_of_val(&across()));
}

// ANCHOR: functions
/// Is done with its buffer before it pauses.
async fn before() {
    let length = {
        let buffer = [0_u8; 1024];
        buffer.len()
    };
    ready(()).await;
    println!("{length}");
}

/// Still needs its buffer after the pause.
async fn across() {
    let buffer = [0_u8; 1024];
    ready(()).await;
    println!("{}", buffer.len());
}
// ANCHOR_END: functions
