//! The commands: the arguments of each, and what it does with them.

pub(crate) mod measure;
pub(crate) mod soak;
