//! Why something could not be done, in words for people.

use std::{error, fmt, io, sync::Arc};

/// Why something could not be done. Each shows as one line that says what was wrong and where.
#[derive(Clone, Debug)]
pub enum Error {
    /// A file of the book says what cannot be understood.
    Malformed {
        /// The file, and the line, if that is known.
        place: String,
        /// What is wrong with it, and what would be right.
        what: String,
    },
    /// There is nothing of that name.
    Unknown {
        /// What was looked for: `stage`, `conversation`.
        what: &'static str,
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The system refused.
    Io {
        /// What was tried: `cannot read FILE`.
        what: String,
        /// Its reason.
        source: Arc<io::Error>,
    },
    /// What was asked for doesn't make sense, or names something that isn't there.
    Usage(String),
    /// Cargo did not build a program.
    Build(String),
    /// A server did not do what it must do to be examined: start, listen, take a signal, end.
    Server(String),
}

impl Error {
    pub(crate) fn malformed(place: impl Into<String>, what: impl fmt::Display) -> Error {
        Error::Malformed {
            place: place.into(),
            what: what.to_string(),
        }
    }

    pub(crate) fn unknown<'a>(
        what: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Error {
        Error::Unknown {
            what,
            name: name.to_string(),
            known: known.into_iter().map(str::to_string).collect(),
        }
    }

    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Error {
        Error::Io {
            what: what.into(),
            source: Arc::new(source),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Malformed { place, what } => write!(f, "{place}: {what}"),
            Error::Unknown { what, name, known } => {
                let known = known.join(", ");
                write!(f, "there is no {what} named {name}; there are: {known}")
            }
            Error::Io { what, source } => write!(f, "{what}: {source}"),
            Error::Usage(why) | Error::Build(why) | Error::Server(why) => f.write_str(why),
        }
    }
}

impl error::Error for Error {}

impl From<String> for Error {
    fn from(why: String) -> Error {
        Error::Server(why)
    }
}

impl From<crate::conversation::Error> for Error {
    fn from(error: crate::conversation::Error) -> Error {
        Error::Build(error.to_string())
    }
}
