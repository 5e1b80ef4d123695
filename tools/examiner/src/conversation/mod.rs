//! Conversations: what clients and a server say to each other, written as data and played for real.
//!
//! The files are `tools/examiner/conversations/NN-name.kdl`; the head of the first one explains the notation.
//! The same engine plays them with the book's programs in `cargo test` and with a reader's own server in
//! `cargo run -- check`.
//!
//! - `model`: what a conversation is, who must pass it, and what it asks of a server
//! - `read`: reads the files, and everything in them but the steps
//! - `step`: reads the steps
//! - `kdl`: reads the notation
//! - `rename`: the same conversation between clients with other names

mod kdl;
mod model;
mod read;
mod rename;
mod step;

pub use model::{
    Action, Cause, Conditions, Conversation, PATIENCE, Platform, Promise, Step, TRIES_TO_CONNECT,
    Traffic, Until,
};
pub use read::{all, parse};
