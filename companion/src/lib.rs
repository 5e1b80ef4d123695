//! What the programs and the tests of this repository share.

pub mod bench;
pub mod book;
pub mod check;
pub mod conversation;
pub mod new;
pub mod play;
pub mod serve;
pub mod server;
pub mod soak;
pub mod stages;
