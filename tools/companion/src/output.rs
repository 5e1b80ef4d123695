//! What the commands write: results to stdout, everything else to stderr. `println!` and `eprintln!`
//! panic when that fails; these don't.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

use anyhow::{Context as _, Result};

/// Prints a line of a result. Returns whether anything still reads stdout: a closed pipe is no error,
/// because its reader has seen enough.
///
/// # Errors
///
/// When stdout can't be written to, a full disk for example.
pub fn print(line: impl Display) -> Result<bool> {
    match io::stdout().write_all(format!("{line}\n").as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("cannot write to stdout"),
    }
}

/// Tells something that isn't a result, on stderr.
pub fn tell(line: impl Display) {
    // There's no other place to report that this failed.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// An error with all its causes, in one line.
pub fn one_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
