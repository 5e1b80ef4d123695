//! The commands: each file has the arguments of one, and what it does.

pub mod build;
pub mod check;
pub mod new;
pub mod serve;
