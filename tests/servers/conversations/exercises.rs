//! The exercises: a solution passes its conversation, its stage does not. And what a solution or an
//! alternative keeps of what its stage promises, which is all but what the list of programs excepts.

use std::process::Command;

use examiner::{
    conversation::{Action, Conversation, Promise},
    play::Outcome,
    stages::Program,
};

use super::{Player, Timed};
use crate::common::{Book, Result, executable};

pub(super) fn trials(book: Book) -> Result<Vec<Timed>> {
    let mut trials = Vec::new();
    for program in book.list.examples().filter(|program| program.is_server()) {
        let player = Player::new(book, program)?;
        let stage = book
            .list
            .get(program.follows.as_deref().unwrap_or_default())?;
        let its_own = Promise::Example(program.name.clone());
        let solved = book.conversations.iter().filter(|c| c.promise == its_own);
        let solved: Vec<&Conversation> = solved.collect();
        for conversation in &solved {
            trials.push(player.passes("solves", conversation));
            let stage = Player::new(book, stage)?;
            trials.push(stage.falls_short("leaves to an exercise", conversation));
        }
        let help = match program.options && solved.is_empty() {
            true => Some(help(program)?),
            false => None,
        };
        // Nobody has to install a language for our tests.
        let language = program.command.first();
        let missing = language.is_some_and(|l| Command::new(l).arg("--version").output().is_err());
        let ignored = missing || language.is_some() && !cfg!(unix);
        let kept = kept(program, &player, &book.promised(stage), help)?.into_iter();
        trials.extend(kept.map(|(time, trial)| {
            let ignored = ignored || trial.has_ignored_flag();
            (time, trial.with_ignored_flag(ignored))
        }));
    }
    Ok(trials)
}

/// What a program keeps of what its stage promises, and what it gives up. An alternative need not take what
/// its own chapter adds; so its help tells the options.
fn kept(
    program: &Program,
    player: &Player,
    promised: &[&'static Conversation],
    help: Option<String>,
) -> Result<Vec<Timed>> {
    let mut trials = Vec::new();
    for given_up in program.gives_up.keys() {
        if !promised
            .iter()
            .any(|conversation| conversation.name == *given_up)
        {
            let stage = program.follows.as_deref().unwrap_or_default();
            let name = &player.name;
            Err(format!(
                "code/stages.toml: {name} gives up {given_up}, which {stage} doesn't promise"
            ))?;
        }
    }
    for conversation in promised {
        let is = |is: fn(&Action) -> bool| conversation.steps.iter().any(|step| is(&step.action));
        let takes = |option: &String| {
            help.as_ref()
                .is_none_or(|help| !option.starts_with("--") || help.contains(option))
        };
        if program.gives_up.contains_key(&conversation.name) {
            let place = "code/stages.toml, `gives-up`";
            trials.push(player.clone().gives_up(conversation, place));
        } else if program.by_chance.is_some() || !conversation.conditions.options.iter().all(takes)
        {
            // Nobody knows what comes of it.
        } else if program.never_stops.is_some() && is(is_stop) {
            // A process that is killed closes its sockets too, in no order; its status is none.
            if is(|action| matches!(action, Action::Exits(_))) {
                let does = "never stops, so it doesn't keep";
                let judge = |outcome: Outcome| match outcome.shortfall {
                    Some(_) => Ok(()),
                    None => Err("it stops: remove `never-stops` from code/stages.toml".into()),
                };
                trials.push(player.impatient().trial(does, conversation, 1, judge));
            }
        } else {
            trials.push(player.passes("keeps", conversation));
        }
    }
    Ok(trials)
}

fn is_stop(action: &Action) -> bool {
    matches!(action, Action::GetsInterrupt | Action::GetsTerminate)
}

/// What a program says of its options.
fn help(program: &Program) -> Result<String> {
    let said = Command::new(executable(&program.name))
        .arg("--help")
        .output()?;
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}
