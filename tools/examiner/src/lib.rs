//! Examines a chat server: plays conversations with it, and explains where it falls short.
//!
//! | module | its job |
//! | --- | --- |
//! | [`stages`] | the programs of the book: the list in `code/stages.toml`, and building them |
//! | [`conversation`] | reads the conversations in `conversations/*.kdl` |
//! | [`process`] | starts a server, asks its process for what it does and needs, and ends it |
//! | [`play`] | plays one conversation with one server, and tells where they part |
//! | [`check`] | `cargo run -- check`: plays all that a chapter promises, and reports it |
//! | `shown` | makes bytes from a server readable for people |
//! | `error` | the one type of error, [`Error`] |
//!
//! Each module uses those above it and the last two, never those below it.

// `println!` and its like panic when the output cannot be written.
#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

pub mod check;
pub mod conversation;
mod error;
pub mod play;
pub mod process;
mod shown;
pub mod stages;

pub use error::Error;
