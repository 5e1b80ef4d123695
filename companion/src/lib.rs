//! What the programs and the tests of this repository share.

pub mod stages;
