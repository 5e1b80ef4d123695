//! Examines a chat server: plays conversations with it, and says what fell short.

#![warn(missing_docs)]

pub mod check;
pub mod conversation;
mod error;
pub mod play;
pub mod process;
mod shown;
pub mod stages;

pub use error::Error;
