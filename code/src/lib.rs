//! The chat server as a library: what bytes, names and lines mean ([`protocol`]),
//! who gets what ([`broker`]), what a connection does ([`connection`]), and how
//! all of it begins and ends ([`server`]).
//!
//! The first two know of no I/O, no task and no clock. The last two know of
//! streams of bytes, and leave everything else to a [`Runtime`](server::Runtime).

// So that a module can be read, and compiled, outside of this crate too.
extern crate self as chat;

pub mod broker;
pub mod protocol;

#[cfg(not(target_family = "wasm"))]
pub mod connection;
#[cfg(not(target_family = "wasm"))]
pub mod server;
