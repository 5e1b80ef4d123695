//! The one type of error of this crate.

use std::{fmt::Display, io, sync::Arc};

/// Why something couldn't be done, as one line for people that says what is wrong and where.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A file of the repository can't be understood.
    #[error("{place}: {what}")]
    Malformed {
        /// The file, followed by the line where it's known: `07-broker.kdl:7`.
        place: String,
        /// What is wrong with it, or what was expected.
        what: String,
    },
    /// Nothing has this name.
    #[error("there is no {what} named {name}; there are: {}", known.join(", "))]
    Unknown {
        /// What was looked for: `program`, `conversation`.
        what: &'static str,
        /// The name.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// The operating system refused.
    #[error("{what}: {why}")]
    Io {
        /// What was tried: `cannot read FILE`.
        what: String,
        /// Why it failed. It's part of the line already, so it's no `source` to print after it.
        why: Arc<io::Error>,
    },
    /// The arguments of a command ask for what doesn't exist, or don't say enough.
    #[error("{0}")]
    Usage(String),
    /// Cargo didn't build a program.
    #[error("{0}")]
    Build(String),
    /// A server didn't do what an examination needs: start, listen, report, take a signal, end.
    #[error("{0}")]
    Server(String),
}

impl Error {
    pub(crate) fn malformed(place: impl Into<String>, what: impl Display) -> Error {
        let (place, what) = (place.into(), what.to_string());
        Error::Malformed { place, what }
    }

    pub(crate) fn unknown<'a>(
        what: &'static str,
        name: &str,
        known: impl Iterator<Item = &'a str>,
    ) -> Error {
        let (name, known) = (name.to_string(), known.map(str::to_string).collect());
        Error::Unknown { what, name, known }
    }

    pub(crate) fn io(what: impl Into<String>, why: io::Error) -> Error {
        let (what, why) = (what.into(), Arc::new(why));
        Error::Io { what, why }
    }
}
