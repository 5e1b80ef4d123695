//! The programs of the book, played with over real sockets.
//!
//! All of it is one program with one pool of threads, so that whatever waits does so at the same time:
//!
//! - [`conversations`]: every program keeps what it promises, and has the faults that the book says it has;
//! - [`mistake`]: a server with a learner's mistake is caught, and the examiner names the mistake;
//! - [`limits`]: what strangers do to a server, where no conversation can show it;
//! - [`client`]: the clients, in a pipe and in a terminal;
//! - [`experiments`]: what chapters 01 to 03 run before there is a server;
//! - [`stages`]: the arguments and the output that all servers have in common;
//! - [`common`]: what these share.
//!
//! `cargo test --test servers client::` runs the trials whose names contain these words.

use std::{
    cmp::Reverse,
    hash::{DefaultHasher, Hash, Hasher},
    process::ExitCode,
};

use examiner::process::raise_descriptor_limit;
use libtest_mimic::{Arguments, Trial};

use common::{Book, Result, message};
use conversations::Timed;

mod client;
mod common;
mod conversations;
mod experiments;
#[cfg(target_os = "linux")]
mod limits;
mod mistake;
mod stages;

/// How many trials run at once. They wait for sockets more than they compute.
const THREADS: usize = 48;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    // A trial may have a thousand connections.
    raise_descriptor_limit(None);
    match trials(&arguments) {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("error: {}", message(&error));
            ExitCode::FAILURE
        }
    }
}

fn trials(arguments: &Arguments) -> Result<Vec<Trial>> {
    let book = Book::read()?;
    let mut trials = client::trials(book)?;
    #[cfg(target_os = "linux")]
    trials.extend(limits::trials(book)?);
    trials.extend(stages::trials(book));
    trials.extend(experiments::trials(book));
    let mut timed = conversations::trials(book)?;
    timed.extend(mistake::trials(book, arguments)?);
    trials.extend(spread(timed));
    Ok(trials)
}

/// Spreads the trials that wait evenly among those that compute, and the longest first, so that the processors
/// always have work and nothing is waited for at the end. The others are shuffled: neighbours do the same,
/// and a crowd of servers in a language that starts slowly, or of floods, would be too much at once.
fn spread(trials: Vec<Timed>) -> impl Iterator<Item = Trial> {
    let (mut waiting, mut others): (Vec<_>, Vec<_>) = trials
        .into_iter()
        .partition(|(may_take, _)| !may_take.is_zero());
    waiting.sort_by_key(|(may_take, _)| Reverse(*may_take));
    others.sort_by_cached_key(|(_, trial)| {
        let mut hasher = DefaultHasher::new();
        trial.name().hash(&mut hasher);
        hasher.finish()
    });
    let all = [waiting, others].map(|trials| {
        let count = trials.len() as f64;
        { trials.into_iter().enumerate() }.map(move |(n, (_, trial))| (n as f64 / count, trial))
    });
    let mut all: Vec<_> = all.into_iter().flatten().collect();
    all.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    all.into_iter().map(|(_, trial)| trial)
}
