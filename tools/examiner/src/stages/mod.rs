//! The programs of the book: the list of them, `code/stages.toml`, and what Cargo makes of them.

mod build;
mod list;

use std::{path::Path, sync::OnceLock};

pub use build::{Stages, build, build_release, cargo};
pub use list::{Kind, List, Program, Version};

use crate::Error;

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the examiner is a folder in `tools`, which is one in the repository")
}

/// The list of this repository, read once.
///
/// # Errors
///
/// As [`List::read`].
pub fn list() -> Result<&'static List, Error> {
    static LIST: OnceLock<Result<List, Error>> = OnceLock::new();
    let list = LIST.get_or_init(|| List::read(root()));
    list.as_ref().map_err(Error::clone)
}
