//! Every program of the book keeps what it promises, and has the faults that the book says it has.
//!
//! - [`promises`]: a conversation holds with the first stage that promises it and with every later one, and
//!   a stage falls short of the next chapter in the words that the examiner has for it;
//! - [`ledger`]: each fault in `src/en/faults.md` is in the stages that the ledger says, and in no other;
//! - [`exercises`]: a solution passes its conversation, its stage does not, and the solution still keeps
//!   what the stage promises;
//! - [`transcripts`]: what the chapters show is how these conversations go.

use std::time::Duration;

use examiner::{
    conversation::{Action, Conversation},
    play::{self, Outcome, Rules},
    process::Subject,
    stages::Program,
};
use libtest_mimic::Trial;

use crate::common::{Book, Result, message};

mod exercises;
mod ledger;
mod promises;
mod transcripts;

/// How long to wait for what a server with a fault doesn't do. Any time would do for the fault; a server
/// without it must not need longer.
const IMPATIENCE: Duration = Duration::from_secs(2);

/// How often a conversation is played with a server that has the fault, until it shows.
const FAULT_TRIES: usize = 5;

/// How often a race is tried until it shows.
const RACE_TRIES: usize = 50;

/// How the lines begin in which a solution says more than its stage.
const SERVER_SAYS: &str = "from server: ";

/// A trial, and how long it may wait.
pub(crate) type Timed = (Duration, Trial);

pub(crate) fn trials(book: Book) -> Result<Vec<Timed>> {
    let mut trials = promises::trials(book)?;
    trials.extend(ledger::trials(book)?);
    trials.extend(exercises::trials(book)?);
    trials.extend(transcripts::trials(book)?);
    Ok(trials)
}

/// A program of the book that conversations are played with, and how.
#[derive(Clone)]
struct Player {
    name: String,
    subject: Subject,
    rules: Rules,
}

impl Player {
    fn new(book: Book, program: &Program) -> Result<Player> {
        let rules = Rules {
            version: program.protocol,
            passed_over: (!program.is_stage()).then_some(SERVER_SAYS),
            ..Rules::default()
        };
        Ok(Player {
            name: program.name.clone(),
            subject: book.subject(program)?,
            rules,
        })
    }

    /// Doesn't wait long for what it must not do.
    fn impatient(&self) -> Player {
        let mut player = self.clone();
        player.rules.proof = Some(IMPATIENCE);
        player
    }

    fn play(&self, conversation: &Conversation) -> Result<Outcome> {
        let mut server = self.subject.start(&conversation.conditions)?;
        Ok(play::play(conversation, &mut server, self.rules))
    }

    /// A trial that plays the conversation until an outcome is as it should be, but only so often.
    fn trial(
        self,
        does: &str,
        conversation: &'static Conversation,
        tries: usize,
        judge: impl Fn(Outcome) -> Result<()> + Send + 'static,
    ) -> Timed {
        let name = format!("conversations::{} {does} {}", self.name, conversation.name);
        let ignored = self.subject.cannot_play(conversation).is_some();
        let trial = Trial::test(name, move || {
            let mut judgement = Ok(());
            for _ in 0..tries {
                judgement = judge(self.play(conversation)?);
                if judgement.is_ok() {
                    break;
                }
            }
            let place = format!("tools/examiner/conversations/{}", conversation.place);
            judgement.map_err(|error| format!("{place}: {}", message(&error)).into())
        });
        (conversation.may_take(), trial.with_ignored_flag(ignored))
    }

    /// It must pass the conversation, and at once.
    fn passes(&self, does: &str, conversation: &'static Conversation) -> Timed {
        let judge = |outcome: Outcome| match outcome.shortfall {
            None => Ok(()),
            Some(_) => Err(how_it_went(&outcome).into()),
        };
        self.clone().trial(does, conversation, 1, judge)
    }

    /// It has the fault that the conversation shows.
    fn falls_short(&self, does: &str, conversation: &'static Conversation) -> Timed {
        let judge = |outcome: Outcome| match &outcome.shortfall {
            Some(shortfall) if shortfall.step.proves => Ok(()),
            _ => Err(format!(
                "it should fall short at the step marked `proves`; if the fault is gone, correct \
                 src/en/faults.md or the conversation; {}",
                how_it_went(&outcome)
            )
            .into()),
        };
        self.impatient()
            .trial(does, conversation, FAULT_TRIES, judge)
    }

    /// It gives up what the conversation demands, as this place says.
    fn gives_up(self, conversation: &'static Conversation, place: &str) -> Timed {
        let unneeded = format!("{RACE_TRIES} tries show no need for the exception in {place}");
        let judge = move |outcome: Outcome| match outcome.shortfall {
            Some(shortfall) if is_about_messages(&shortfall.step.action) => Ok(()),
            _ => Err(unneeded.as_str().into()),
        };
        self.impatient()
            .trial("gives up", conversation, RACE_TRIES, judge)
    }
}

fn how_it_went(outcome: &Outcome) -> String {
    let seen = outcome.shortfall.as_ref().map_or_else(
        || "all of it held".to_string(),
        |s| format!("line {}: expected {}; {}", s.step.line, s.expected, s.seen),
    );
    format!("{seen}\n\n{}", outcome.transcript)
}

/// A server that doesn't even run gives up nothing on purpose.
fn is_about_messages(action: &Action) -> bool {
    use Action::{IsTold, Joins, Receives, SeesEnd, Sends};
    matches!(
        action,
        Sends { .. } | Receives { .. } | IsTold { .. } | SeesEnd | Joins
    )
}
