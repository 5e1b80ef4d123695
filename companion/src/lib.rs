//! What the programs and the tests of this repository share.

pub mod conversation;
pub mod play;
pub mod stages;
