//! What `cargo run` starts: serves the book, builds it, and starts a project of the reader's own.

#![warn(missing_docs)]

pub mod book;
pub mod new;
pub mod serve;
