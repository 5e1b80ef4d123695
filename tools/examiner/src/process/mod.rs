//! The server that a conversation is played with: a program that is started for it, or one that runs already.
//!
//! - `start`: which server it is, starting it, and waiting until it listens
//! - `server`: what is asked of it while it runs
//! - `last_words`: the lines that it writes to stderr, and the last of them
//! - `group`: starting a command in a process group, and ending it with all that it has started
//! - `port`: addresses to listen on, and where they are reached
//! - `usage`: what the system lets a process have, and what it has had

mod group;
mod last_words;
mod port;
mod server;
mod start;
mod usage;

pub use group::{Signal, UnderWay};
pub use port::FreeAddr;
pub(crate) use port::reached_at;
pub use server::Server;
pub use start::{ADDR, Subject};
pub use usage::{Process, Threads, raise_descriptor_limit};
