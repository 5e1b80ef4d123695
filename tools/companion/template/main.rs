//! My chat server.
//!
//! It starts with chapter 01 of the book: replace everything in this file.

fn main() {
    println!("Nothing listens here yet. Chapter 01 shows what to write.");
}
