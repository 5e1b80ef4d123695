//! What the chapters show of conversations, `code/transcripts/PROGRAM/CONVERSATION.txt`, is how they go.

use examiner::{play::Outcome, stages};

use super::{FAULT_TRIES, Player, Timed};
use crate::common::{Book, Result, files, same_as_recorded, stem};

/// A transcript that is no conversation; [`crate::stages`] makes it.
const HELP: &str = "help";

pub(super) fn trials(book: Book) -> Result<Vec<Timed>> {
    let mut trials = Vec::new();
    for folder in files(&stages::root().join("code/transcripts"))? {
        let program = book.list.get(&stem(&folder))?;
        // The others are compared by `client` and `experiments`.
        if !program.is_server() {
            continue;
        }
        let player = Player::new(book, program)?;
        for file in files(&folder)?
            .into_iter()
            .filter(|file| stem(file) != HELP)
        {
            let conversation = book.conversation(&stem(&file))?;
            let (player, tries) = match conversation.is_promised_by(&program.name) {
                true => (player.clone(), 1),
                false => (player.impatient(), FAULT_TRIES),
            };
            let judge = move |outcome: Outcome| same_as_recorded(&file, &outcome.transcript);
            trials.push(player.trial("has a transcript of", conversation, tries, judge));
        }
    }
    Ok(trials)
}
