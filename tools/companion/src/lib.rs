//! What `cargo run` starts. From the command line inwards:
//!
//! - [`cmd`]: the commands, each with its arguments and what it does in one file
//! - [`book`]: builds the two editions of the book, and lists what's wrong with them
//! - [`http`]: serves the newest pages on loopback and reloads the open ones
//! - [`watch`]: waits until files change and come to rest
//! - [`output`]: writes to stdout and stderr without ever panicking

// `println!` and its like panic when the output cannot be written.
#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

pub mod book;
pub mod cmd;
pub mod http;
pub mod output;
pub mod watch;
