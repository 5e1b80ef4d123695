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

// Its tests are files of their own, so that a chapter can show them; but they are no programs of their own:
// for such tests Cargo would build the servers again, in place of those that may be running.
#[cfg(test)]
#[path = "../tests/broker.rs"]
mod broker_properties;
#[cfg(test)]
#[path = "../tests/protocol.rs"]
mod protocol_properties;
#[cfg(test)]
#[path = "../tests/simulation/main.rs"]
mod simulation;
