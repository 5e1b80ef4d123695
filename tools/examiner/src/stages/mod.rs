//! The programs of the book: the list of them, `code/stages.toml`, and building them.
//!
//! - `list`: what the list says of each
//! - `build`: their executables, and the libraries that they're linked with

mod build;
mod list;

pub use build::{Stages, build, build_release, cargo};
pub use list::{Kind, List, Program, Version, list, root};
