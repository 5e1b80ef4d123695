//! What the commands print.
//!
//! Output that can't be written ends a command, with an error that is told from all others: when the reader
//! of a pipe has gone, no message is needed.

use std::{
    error::Error,
    fmt,
    io::{self, Write as _},
};

/// Output that could not be written.
#[derive(Debug)]
pub(crate) struct Unwritten(pub(crate) io::Error);

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write the output: {}", self.0)
    }
}

impl Error for Unwritten {}

/// Prints results.
pub(crate) fn stdout(text: String) -> Result<(), Unwritten> {
    writeln!(io::stdout(), "{text}").map_err(Unwritten)
}

/// Prints progress, or an error.
pub(crate) fn stderr(text: String) -> Result<(), Unwritten> {
    writeln!(io::stderr(), "{text}").map_err(Unwritten)
}
