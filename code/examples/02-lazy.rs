//! Chapter 02: calls an async function, and runs none of it.
//!
//! Run it with `cargo run --example 02-lazy`.

// ANCHOR: lazy
fn main() {
    println!("calling");
    let greeting = greet("Bob");
    println!("called, and got {} bytes", size_of_val(&greeting));
}

async fn greet(name: &str) {
    println!("hello, {name}");
}
// ANCHOR_END: lazy
