//! `cargo run -- check`: examines a server against what the book promises up to a chapter.
//!
//! - `subject`: finds a reader's own server
//! - `schedule`: decides which conversations are played at once
//! - `verdict`: plays one of them, and judges
//! - `report`, `json`: the results for people and for programs

mod json;
mod report;
mod schedule;
mod subject;
#[cfg(test)]
mod tests;
mod verdict;

use std::{
    fmt::Display,
    io::{self, Write},
    mem,
    path::PathBuf,
    sync::atomic::AtomicBool,
};

use serde_json::{Value, json};

use crate::{
    Error,
    conversation::{self, Conditions, Conversation, Traffic},
    process::{ADDR, Subject, UnderWay, raise_descriptor_limit},
    stages,
};
pub use report::{likely_causes, rule_in_words};
pub use subject::resolve;
pub use verdict::PATIENCE;
use verdict::{Examiner, Verdict};

/// What an examination may ask of a server, whatever the chapter.
pub const MOST: Traffic = Traffic {
    connections: 1_000,
    bytes: 64 * 1024 * 1024,
};

/// How many open descriptors an examination may need: one for each connection, and a few for each server. Most
/// systems give every program as many, so a server that works here works elsewhere.
const DESCRIPTORS: u64 = 1024;

/// What is examined, and how the results are printed.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Examination {
    /// The chapter, 07-broker for example; without one, lists what each demands
    pub stage: Option<String>,

    /// One conversation only, whether the chapter promises it or not
    pub conversation: Option<String>,

    /// Examine the server in this folder of yours, built with Cargo
    #[arg(long, conflicts_with_all = ["addr", "command"])]
    pub dir: Option<PathBuf>,

    /// Examine a server that runs already
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "command")]
    pub addr: Option<String>,

    /// Go on after the first failure
    #[arg(long)]
    pub all: bool,

    /// Say what to do about a failure
    #[arg(long)]
    pub hint: bool,

    /// How to print the results: text, or json
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    pub format: Format,

    /// Examine the server that this command starts; {addr} stands for the address
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// How results are printed.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// In words, as they come.
    #[default]
    Text,
    /// One JSON value at the end.
    Json,
}

/// Examines a server, or lists what there is to examine, and writes the results. Returns whether everything
/// that could be examined held.
///
/// # Errors
///
/// When nothing could be examined, because there is no such stage or conversation, or the program doesn't
/// build or doesn't listen; in JSON, the error is written, too. And when the results can't be written.
pub fn check(examination: &Examination, out: &mut dyn Write) -> Result<bool, Error> {
    let checked = match &examination.stage {
        Some(stage) => examine(examination, stage, out),
        None => list(examination, out),
    };
    if let (Format::Json, Err(error)) = (examination.format, &checked) {
        let error = json!({ "stage": examination.stage, "error": error.to_string() });
        print(out, format!("{error:#}"))?;
    }
    checked
}

fn print(out: &mut dyn Write, text: impl Display) -> Result<(), Error> {
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|error| Error::io("cannot write the results", error))
}

fn list(examination: &Examination, out: &mut dyn Write) -> Result<bool, Error> {
    let stages = stages::list()?;
    let Examination {
        dir, addr, command, ..
    } = examination;
    if dir.is_some() || addr.is_some() || !command.is_empty() {
        let names: Vec<&str> = stages.servers().map(|stage| stage.name.as_str()).collect();
        return Err(Error::Usage(format!(
            "up to which chapter? `cargo run -- check STAGE …`, where STAGE is one of {}",
            names.join(", ")
        )));
    }
    let conversations = conversation::all()?;
    let list = match examination.format {
        Format::Json => format!("{:#}", json::list(&conversations)),
        Format::Text => report::list(stages, &conversations),
    };
    print(out, list).map(|()| true)
}

/// What a stage must pass, in the order in which a learner meets it.
pub fn promised<'a>(stage: &str, conversations: &'a [Conversation]) -> Vec<&'a Conversation> {
    let promised = conversations.iter().filter(|c| c.is_promised_by(stage));
    let mut promised: Vec<_> = promised.collect();
    promised.sort_by_key(|conversation| conversation.since());
    promised
}

/// What is to be examined: the conversation that was asked for, or all that the stage promises.
fn requirements<'a>(
    examination: &Examination,
    stage: &str,
    conversations: &'a [Conversation],
) -> Result<Vec<&'a Conversation>, Error> {
    let stages = stages::list()?;
    let is_example = stages.examples().any(|example| example.name == stage);
    let is_known = stages.servers().any(|server| server.name == stage)
        || is_example && examination.conversation.is_some();
    if !is_known {
        let names = stages.servers().map(|server| server.name.as_str());
        return Err(Error::unknown("server", stage, names));
    }
    let Some(name) = &examination.conversation else {
        return Ok(promised(stage, conversations));
    };
    let found = conversations.iter().find(|c| c.name == *name);
    let unknown = format!("there is no conversation named {name}; `cargo run -- check` lists them");
    Ok(vec![found.ok_or(Error::Usage(unknown))?])
}

/// The server that the arguments name: one of the reader's, or the stage itself.
fn subject(examination: &Examination, stage: &str) -> Result<Subject, Error> {
    if let Some(addr) = &examination.addr {
        return Ok(Subject::Addr(resolve(addr)?));
    }
    if let Some(dir) = &examination.dir {
        return Ok(Subject::Program(subject::build(dir)?));
    }
    let command = &examination.command;
    if command.is_empty() {
        return Ok(Subject::from(stages::build()?.program(stage)?));
    }
    match command.iter().any(|word| word.contains(ADDR)) {
        true => Ok(Subject::Command(command.clone())),
        false => Err(Error::Usage(format!(
            "the command has no {ADDR}, which stands for the address to listen on, as in: check {stage} -- \
             python3 chat.py {ADDR}"
        ))),
    }
}

/// Makes sure that a server runs there, and warns of the traffic if that is another machine.
fn reach(subject: &Subject, requirements: &[&Conversation]) -> Result<(), Error> {
    let Subject::Addr(addr) = subject else {
        return Ok(());
    };
    if !addr.ip().is_loopback() {
        let playable = requirements
            .iter()
            .filter(|c| subject.cannot_play(c).is_none());
        let Traffic { connections, bytes } = playable.map(|c| c.traffic()).sum();
        // A note that can't be written is no reason not to examine.
        let _ = writeln!(
            io::stderr(),
            "note: {addr} isn't on this machine; this makes up to {connections} connections to it, and \
             sends up to {} MB",
            bytes.div_ceil(1_000_000)
        );
    }
    subject.start(&Conditions::default()).map(drop)
}

fn examine(examination: &Examination, stage: &str, out: &mut dyn Write) -> Result<bool, Error> {
    let conversations = conversation::all()?;
    let requirements = requirements(examination, stage, &conversations)?;
    let subject = subject(examination, stage)?;
    reach(&subject, &requirements)?;
    raise_descriptor_limit(Some(DESCRIPTORS));
    let examiner = Examiner {
        subject: &subject,
        stage,
        version: stages::list()?.get(stage)?.protocol,
        under_way: UnderWay::default(),
        was_there: AtomicBool::new(false),
    };
    let Examination {
        format,
        all,
        hint,
        conversation,
        ..
    } = examination;
    let single = conversation.is_some();
    let may_take: Vec<_> = requirements.iter().map(|c| c.may_take()).collect();
    let lanes = schedule::lanes(&may_take, matches!(subject, Subject::Addr(_)));
    let (mut counted, mut results, mut why_not) = (Vec::new(), Vec::new(), String::new());
    let play = |number: usize| examiner.examine(requirements[number], number);
    let show = |number: usize, mut verdict: Verdict| {
        let conversation = requirements[number];
        match format {
            Format::Json => results.push(json::requirement(conversation, &verdict)),
            Format::Text => {
                let transcript = verdict.transcript().filter(|_| single).map(mem::take);
                let shown = report::requirement(conversation, &verdict, *hint);
                print(out, transcript.unwrap_or_default() + &shown)?;
            }
        }
        counted.push(verdict.name());
        Ok(match verdict {
            Verdict::Held(_) => true,
            Verdict::NotExamined(why) => {
                why_not = why;
                true
            }
            Verdict::FellShort(_) => *all,
            // A server that is gone doesn't come back.
            Verdict::Gone(_) => false,
        })
    };
    schedule::in_order(&lanes, play, show, || examiner.under_way.end())?;
    let count = |name| counted.iter().filter(|counted| **counted == name).count();
    if count("not-examined") == counted.len() {
        return Err(Error::Server(format!(
            "nothing could be examined: {why_not}"
        )));
    }
    let counts = [
        ("held", count("held")),
        ("fell-short", count("fell-short")),
        ("not-examined", count("not-examined")),
        ("still-to-come", requirements.len() - counted.len()),
    ];
    let held = count("fell-short") == 0;
    match format {
        Format::Text if single => {}
        Format::Text => print(out, report::summary(stage, &counts))?,
        Format::Json => {
            let counts: Value = counts.into_iter().collect();
            let all =
                json!({ "stage": stage, "held": held, "counts": counts, "requirements": results });
            print(out, format!("{all:#}"))?;
        }
    }
    Ok(held)
}
