//! `cargo run -- check`: holds the conversations of the book with one of its servers.

use std::{process::ExitCode, time::Duration};

use anyhow::anyhow;

use crate::{
    conversation::{self, Conversation, Promise},
    play::{self, Outcome, Rules},
    server::Subject,
    stages::{self, Stages},
};

/// The exit status of an examination that could not be held.
pub const NOT_EXAMINED: u8 = 2;

/// How long a server that does not promise something is waited for until it has not done it.
const UNPROMISED: Duration = Duration::from_secs(2);

/// Lists the chapters and what each promises; with a stage, holds every conversation that the stage
/// promises, and stops at the first that it falls short of; with a conversation too, holds that one.
///
/// # Errors
///
/// Says why nothing could be examined: no such stage, no such conversation, a program that does not
/// start.
pub fn check(stage: Option<&str>, conversation: Option<&str>) -> anyhow::Result<ExitCode> {
    let conversations = conversation::all()?;
    let Some(stage) = stage else {
        list(&conversations);
        return Ok(ExitCode::SUCCESS);
    };
    let stages = stages::build().map_err(|error| anyhow!(error))?;
    let held = match conversation {
        None => all(stages, stage, &conversations)?,
        Some(name) => one(stages, stage, find(&conversations, name)?)?,
    };
    Ok(match held {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn list(conversations: &[Conversation]) {
    let mut chapter = "";
    for conversation in conversations {
        let (Promise::Since(stage) | Promise::Only(stage)) = &conversation.promise else {
            continue;
        };
        if chapter != conversation.file() {
            chapter = conversation.file();
            println!("\n{chapter}");
        }
        let later = match stage == chapter {
            true => String::new(),
            false => format!("  (from {stage} on)"),
        };
        println!(
            "  {}{later}\n      {}",
            conversation.name, conversation.about
        );
    }
    println!("\nHold them with a server: cargo run -- check 04-broker");
    println!("or one of them:          cargo run -- check 04-broker two-people-chat");
}

fn find<'a>(conversations: &'a [Conversation], name: &str) -> anyhow::Result<&'a Conversation> {
    conversations
        .iter()
        .find(|c| c.name == name)
        .ok_or_else(|| {
            anyhow!("there is no conversation named {name}; `cargo run -- check` lists them")
        })
}

/// Holds all that a stage promises. Says whether all held.
fn all(stages: &Stages, stage: &str, conversations: &[Conversation]) -> anyhow::Result<bool> {
    stages.program(stage).map_err(|error| anyhow!(error))?;
    let promised: Vec<_> = conversations
        .iter()
        .filter(|c| c.is_promised_by(stage))
        .collect();
    for conversation in &promised {
        if !conversation.platform.is_here() {
            println!(
                "-  {}: cannot be examined on this system",
                conversation.about
            );
            continue;
        }
        let outcome = hold(stages, stage, conversation, Rules::default())?;
        match outcome.shortfall {
            None => println!("✓  {}", conversation.about),
            Some(_) => {
                println!("✗  {}\n", conversation.about);
                explain(&outcome);
                return Ok(false);
            }
        }
    }
    println!("\n{stage} keeps its {} promises.", promised.len());
    Ok(true)
}

/// Holds one conversation, promised or not. Says whether it held.
fn one(stages: &Stages, stage: &str, conversation: &Conversation) -> anyhow::Result<bool> {
    if !conversation.platform.is_here() {
        return Err(anyhow!(
            "{} cannot be examined on this system",
            conversation.name
        ));
    }
    let rules = match conversation.is_promised_by(stage) {
        true => Rules::default(),
        false => Rules {
            patience: Some(UNPROMISED),
            ..Rules::default()
        },
    };
    println!("{}\n", conversation.about);
    let outcome = hold(stages, stage, conversation, rules)?;
    explain(&outcome);
    Ok(outcome.shortfall.is_none())
}

fn hold(
    stages: &Stages,
    stage: &str,
    conversation: &Conversation,
    rules: Rules,
) -> anyhow::Result<Outcome> {
    let program = stages
        .program(stage)
        .or_else(|error| stages.example(stage).map_err(|_| error))
        .map_err(|error| anyhow!(error))?;
    let mut server = Subject::Program(program.to_path_buf())
        .start(conversation.descriptors)
        .map_err(|error| anyhow!(error))?;
    Ok(play::play(conversation, &mut server, rules))
}

fn explain(outcome: &Outcome) {
    print!("{}", outcome.transcript);
    if let Some(shortfall) = &outcome.shortfall {
        println!(
            "\nexpected: {}\nbut:      {}",
            shortfall.expected, shortfall.seen
        );
    }
}
