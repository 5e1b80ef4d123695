//! The mistakes that learners make, and what `cargo run -- check` says of each.
//!
//! A file `tests/servers/mistakes/STAGE/NAME.patch` turns a stage of the book into a server with one
//! mistake. Before its first `---` it says what the mistake is, which conversation catches it, and how the
//! cause begins that the conversation names for it:
//!
//! ```text
//! mistake: The reply is sent without its line feed.
//! caught by: a-message-to-yourself-comes-back
//! cause: The line is written without its line feed
//! ```
//!
//! A race may be caught by one of several conversations, `A or B`, and `tries: 20` plays those that often.
//!
//! - [`patch`] reads the patches and applies them;
//! - [`build`] makes the servers;
//! - [`examine`] examines a server as `check` examines a reader's: what its stage promises is played in
//!   order until the first shortfall. All that comes before the conversation that catches it must hold.
//!
//! Servers and successful examinations are kept in `target/mistakes` as long as all that they were made of
//! stays the same; `FRESH=1` examines all again.

use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Trial};

use crate::{
    common::{Book, Result},
    conversations::Timed,
};
use build::Servers;
use patch::Patch;

mod build;
mod examine;
mod patch;

/// Of how many in ten the first cause is the mistake.
const NAMED_IN_TEN: usize = 9;

struct Mistake {
    patch: Patch,
    servers: Arc<Servers>,
    examined: OnceLock<Result<String>>,
}

impl Mistake {
    /// What was seen when the mistake was caught; nothing, if the first cause that a reader is told is it.
    fn examined(&self) -> Result<String> {
        let examine = || examine::examine(&self.patch, &self.servers);
        self.examined.get_or_init(examine).clone()
    }
}

pub(crate) fn trials(book: Book, arguments: &Arguments) -> Result<Vec<Timed>> {
    let (mut mistakes, mut all_servers) = (Vec::new(), Vec::new());
    for stage in book.list.servers() {
        let patches = Patch::all(book, stage)?;
        let servers = Arc::new(Servers::new(book, stage, &patches));
        let with_servers = patches.into_iter().map(|patch| {
            let (servers, examined) = (Arc::clone(&servers), OnceLock::new());
            Arc::new(Mistake {
                patch,
                servers,
                examined,
            })
        });
        mistakes.extend(with_servers);
        all_servers.push(servers);
    }
    if arguments.filter.is_none() && !arguments.list {
        // A compiler leaves the servers little of the processors, so all of them come first.
        build::all(&all_servers);
    }
    let trials = mistakes.iter().map(|mistake: &Arc<Mistake>| {
        let mistake = Arc::clone(mistake);
        let Patch {
            place,
            played,
            is_caught_here,
            ..
        } = &mistake.patch;
        let may_take = played.iter().map(|c| c.may_take()).sum();
        let (name, ignored) = (place.replace("tests/servers/", ""), !is_caught_here);
        let trial = Trial::test(name, move || mistake.examined().map(drop));
        (may_take, trial.with_ignored_flag(ignored))
    });
    let mut trials: Vec<Timed> = trials.collect();
    let table = Trial::test("mistakes: the first cause is the mistake", move || {
        table(&mistakes)
    });
    // Where some conversations can't be played, some mistakes aren't caught.
    let elsewhere = !cfg!(target_os = "linux");
    trials.push((Default::default(), table.with_ignored_flag(elsewhere)));
    Ok(trials)
}

/// Demands that the first cause is the mistake for enough of them, and prints the others.
fn table(mistakes: &[Arc<Mistake>]) -> Result<()> {
    let mut named = 0;
    for mistake in mistakes {
        match mistake.examined() {
            Ok(none) if none.is_empty() => named += 1,
            Ok(seen) => println!("{}: another cause comes first: {seen}", mistake.patch.place),
            // Its own trial says why.
            Err(_) => {}
        }
    }
    let all = mistakes.len();
    match named * 10 >= all * NAMED_IN_TEN {
        true => Ok(()),
        false => Err(format!(
            "the first cause is the mistake for {named} of {all} only; expected {NAMED_IN_TEN} of 10: improve \
             the causes in tools/examiner/conversations"
        )
        .into()),
    }
}
