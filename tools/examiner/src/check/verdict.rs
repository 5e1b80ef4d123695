//! Examines a server against one requirement, and comes to a verdict.

use std::{
    process,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::{
    Error,
    conversation::Conversation,
    play::{Outcome, Rules, Shortfall, play},
    process::{Subject, UnderWay},
    stages::Version,
};

/// How long a step may take that doesn't say. A server on loopback answers in milliseconds, and when it doesn't
/// answer, the examination of a chapter must not take minutes.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// The same for a step that the chapter doesn't promise, and so isn't expected to succeed.
const UNPROMISED: Duration = Duration::from_secs(2);

/// How one requirement was met.
pub(super) enum Verdict {
    /// With this transcript.
    Held(String),
    FellShort(FellShort),
    /// A server that ran already accepts no connection any more; with the reason.
    Gone(String),
    /// With the reason.
    NotExamined(String),
}

pub(super) struct FellShort {
    pub(super) transcript: String,
    pub(super) shortfall: Shortfall,
    /// The end of what the server wrote to stderr.
    pub(super) last_words: Vec<String>,
}

impl Verdict {
    /// What it is counted as.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Verdict::Held(_) => "held",
            Verdict::FellShort(_) | Verdict::Gone(_) => "fell-short",
            Verdict::NotExamined(_) => "not-examined",
        }
    }

    pub(super) fn transcript(&mut self) -> Option<&mut String> {
        match self {
            Verdict::Held(transcript) => Some(transcript),
            Verdict::FellShort(fell_short) => Some(&mut fell_short.transcript),
            Verdict::Gone(_) | Verdict::NotExamined(_) => None,
        }
    }
}

/// Examines one server; shared by the threads that play conversations with it.
pub(super) struct Examiner<'a> {
    pub(super) subject: &'a Subject,
    pub(super) stage: &'a str,
    /// The version of the protocol that the stage speaks.
    pub(super) version: Version,
    /// The servers that were started for conversations under way.
    pub(super) under_way: UnderWay,
    /// Whether the server has been reached yet.
    pub(super) was_there: AtomicBool,
}

impl Examiner<'_> {
    /// Plays a conversation; its `number` is unique in this examination.
    pub(super) fn examine(
        &self,
        conversation: &Conversation,
        number: usize,
    ) -> Result<Verdict, Error> {
        let shared = matches!(self.subject, Subject::Addr(_));
        let stranger = !matches!(self.subject, Subject::Program(_));
        let no_rule = stranger && conversation.rule.is_none();
        let not_asked_for = || {
            let why = "no rule of the specification asks for this";
            Ok(Verdict::NotExamined(why.to_string()))
        };
        if let Some(why) = self.subject.cannot_play(conversation) {
            return Ok(Verdict::NotExamined(why.to_string()));
        }
        if no_rule && shared {
            return not_asked_for();
        }
        let started = self
            .subject
            .start_among(&conversation.conditions, &self.under_way);
        let mut server = match started {
            Ok(server) => server,
            Err(error) => return self.not_started(conversation, error),
        };
        self.was_there.store(true, Ordering::Relaxed);
        let rules = Rules {
            patience: Some(PATIENCE),
            proof: (!conversation.is_promised_by(self.stage)).then_some(UNPROMISED),
            version: self.version,
            stranger,
            ..Rules::default()
        };
        // Where conversations share the server, perhaps with another examination, their names must differ.
        let suffix = format!("-{:x}-{}", process::id() & 0xfff, number + 1);
        let renamed = shared.then(|| conversation.with_names(&suffix));
        let outcome = play(renamed.as_ref().unwrap_or(conversation), &mut server, rules);
        if no_rule && !server.follows_our_stages() {
            return not_asked_for();
        }
        let Outcome {
            transcript,
            shortfall,
        } = outcome;
        Ok(match shortfall {
            None => Verdict::Held(transcript),
            Some(shortfall) => Verdict::FellShort(FellShort {
                transcript,
                shortfall,
                last_words: server.last_words(),
            }),
        })
    }

    /// What it means that the server did not start for this conversation.
    fn not_started(&self, conversation: &Conversation, error: Error) -> Result<Verdict, Error> {
        // A reader's own server need not take our options, nor make do with as few files.
        let conditions = &conversation.conditions;
        let condition = match conditions.descriptors {
            Some(limit) => format!("{limit} descriptors"),
            None => conditions.options.join(" "),
        };
        if !condition.is_empty() {
            let why = format!("it doesn't start with {condition}: {error}");
            return Ok(Verdict::NotExamined(why));
        }
        match self.subject {
            _ if !self.was_there.load(Ordering::Relaxed) => Err(error),
            Subject::Addr(_) => Ok(Verdict::Gone(error.to_string())),
            _ => Err(Error::Server(format!(
                "{error}; several run at once, so each has to listen on the address that it is given"
            ))),
        }
    }
}
