//! My chat server.
//!
//! It starts with chapter 04 of the book: replace everything in this file.

fn main() {
    println!("Nothing listens here yet. Chapter 04 shows what to write.");
}
