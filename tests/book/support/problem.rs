//! What is wrong with the book, and how a test reports it.

use std::{fmt, panic};

/// What is wrong, where, and what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub path: String,
    /// Counted from 1; 0 means the whole file.
    pub line: usize,
    pub what: String,
}

impl Problem {
    pub(crate) fn new(path: impl Into<String>, line: usize, what: impl Into<String>) -> Problem {
        Problem {
            path: path.into(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Fails with every problem, each on a line that an editor can jump to, and nothing else: a panic would add
/// the line of this file, which doesn't help the author of a chapter.
pub(crate) fn assert_none(problems: &[Problem]) {
    let lines = problems.iter().map(|problem| format!("{problem}\n"));
    let report: String = lines.collect();
    if !report.is_empty() {
        eprint!("{report}");
        panic::resume_unwind(Box::new(report));
    }
}
