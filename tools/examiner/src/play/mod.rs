//! Plays a [`Conversation`] against a real server over real sockets.
//!
//! Here, each step is handed to the one who takes it: a client, in `client`, or the server, in `server`. What
//! happened goes to the `transcript`.

mod client;
mod server;
#[cfg(test)]
mod tests;
mod transcript;

use std::{collections::HashMap, time::Duration};

use crate::{
    conversation::{Action, Conversation, PATIENCE, Step},
    process::{Server, Signal},
    shown::shown,
    stages::Version,
};
pub use client::reset;
use client::{Client, Missed, Wait, missed, not_sent};
use server::Examined;
use transcript::{Note, Transcript, counted, did};

/// How a conversation went.
#[derive(Debug)]
pub struct Outcome {
    /// The conversation as it went, line by line, with made-up port numbers so that two runs compare.
    pub transcript: String,
    /// Where and how the server fell short of it, if it did.
    pub shortfall: Option<Shortfall>,
}

/// The step at which a server did not do what a conversation expects.
#[derive(Debug)]
pub struct Shortfall {
    /// The step.
    pub step: Step,
    /// What should have been seen.
    pub expected: String,
    /// What was seen instead.
    pub seen: String,
}

/// How a conversation is played.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// How long a step may take that doesn't say; [`PATIENCE`], if this doesn't say either.
    pub patience: Option<Duration>,
    /// The same for a step marked `proves`.
    pub proof: Option<Duration>,
    /// The version of the protocol that the server speaks. In a conversation of version 1, clients of a
    /// server of version 2 ignore all lines that aren't `from NAME: TEXT`.
    pub version: Version,
    /// Clients ignore lines that begin with this, unless such a line is expected: the server says more than
    /// the conversation knows.
    pub passed_over: Option<&'static str>,
    /// Whether the server may be anyone's. Then what no rule of the specification asks for is demanded only
    /// once the server has shown that it follows our stages: the words of a log line, an idle processor, and
    /// an exit status, which version 1 leaves open and rule 12.2 of version 2 fixes.
    pub stranger: bool,
}

/// Plays a conversation against a server that was started for it.
pub fn play(conversation: &Conversation, server: &mut Server, rules: Rules) -> Outcome {
    let speaks_2 = rules.version == Version::Two;
    let knows_2 = conversation.version == Version::Two;
    let mut scene = Scene {
        server: Examined {
            server,
            stranger: rules.stranger,
            fixes_status: knows_2,
        },
        clients: HashMap::new(),
        passed_over: rules.passed_over,
        hears_messages_only: speaks_2 && !knows_2,
        welcomes: speaks_2 && knows_2,
        transcript: Transcript::new(conversation),
    };
    let shortfall = conversation.steps.iter().find_map(|step| {
        let proof = rules.proof.filter(|_| step.proves);
        let within = step.within.or(proof).or(rules.patience);
        scene.transcript.begin_round(step.round.unwrap_or(1));
        let taken = scene.take(step, Wait::of(within.unwrap_or(PATIENCE)));
        let Missed { expected, seen } = taken.err()?;
        scene.transcript.fell_short(&step.who, &seen);
        Some(Shortfall {
            step: step.clone(),
            expected: scene.transcript.with_shown_addrs(&expected),
            seen: scene.transcript.with_shown_addrs(&seen),
        })
    });
    Outcome {
        transcript: scene.transcript.text,
        shortfall,
    }
}

/// A conversation that is being played.
struct Scene<'a> {
    server: Examined<'a>,
    clients: HashMap<String, Client>,
    passed_over: Option<&'static str>,
    /// Whether the server says more than the conversation knows of.
    hears_messages_only: bool,
    /// Whether the server answers a login, and the conversation knows it.
    welcomes: bool,
    transcript: Transcript,
}

impl Scene<'_> {
    fn take(&mut self, step: &Step, wait: Wait) -> Result<(), Missed> {
        let who = step.who.as_str();
        let note = match &step.action {
            Action::Connects => self.connects(who, wait)?,
            Action::Joins => self.joins(step, wait)?,
            Action::Leaves => self.leaves(who).map(|_| did("closes the connection"))?,
            Action::Resets => {
                let reset = self.leaves(who)?.resets();
                reset.map_err(|error| missed("to reset", error))?;
                did("resets the connection")
            }
            Action::SeesEnd => {
                // Like most programs, the client closes its half, too.
                let mut client = self.leaves(who)?;
                client.expect("the end of the connection", wait, |next| next.is_none())?;
                did("sees the end of the connection")
            }
            Action::Finishes => {
                self.client(who)?.finishes(wait).map_err(not_sent)?;
                did("finishes sending")
            }
            Action::Sends {
                bytes,
                times,
                each_byte,
                may_fail,
            } => {
                let packet = if *each_byte { 1 } else { bytes.len() };
                // Whoever may be cut off meanwhile must have sent all that the server takes first.
                let must_end = *each_byte || *may_fail || step.within.is_some();
                let (client, all) = (self.client(who)?, bytes.repeat(*times));
                let sent = client.sends(&all, packet, wait, must_end);
                if let (Err(error), false) = (sent, may_fail) {
                    return Err(not_sent(error));
                }
                ('>', counted(&shown(bytes), *times))
            }
            Action::Receives { line, times } => {
                let words = shown(line.as_bytes());
                self.hears(who, &words, *times, wait, |next| next == line)?
            }
            Action::IsTold { words, times } => {
                let begins = |next: &str| format!("{next} ").starts_with(&format!("{words} "));
                self.hears(who, &format!("{words} …"), *times, wait, begins)?
            }
            Action::ReceivesMixed(series) => self.hears_mixed(who, series, wait)?,
            Action::PassesOver(start) => {
                self.client(who)?.passes_over.push(start.clone());
                did(format!("passes over `{start}…`"))
            }
            Action::Reports(line) => {
                let mut line = line.clone();
                for (name, client) in &self.clients {
                    line = line.replace(&format!("{{{name}}}"), &client.addr);
                }
                self.server.reports(&line, wait)?
            }
            Action::GetsInterrupt => self.server.gets(Signal::Interrupt, "gets Ctrl-C", wait)?,
            Action::GetsTerminate => self.server.gets(Signal::Terminate, "gets SIGTERM", wait)?,
            Action::IsPaused => self.server.gets(Signal::Pause, "is paused", wait)?,
            Action::IsResumed => self.server.gets(Signal::Resume, "goes on", wait)?,
            Action::RefusesConnections => self.server.refuses_connections(wait)?,
            Action::HasGrownLessThan(limit) => self.server.has_grown_less_than(*limit)?,
            Action::KeepsRunning => self.server.keeps_running(wait.within)?,
            Action::Idles => self.server.idles(wait.within)?,
            Action::CatchesUp => self.server.catches_up(wait)?,
            Action::Exits(status) => self.server.exits(*status, wait)?,
        };
        self.transcript.note(who, &note);
        Ok(())
    }

    fn client(&mut self, who: &str) -> Result<&mut Client, Missed> {
        self.clients.get_mut(who).ok_or_else(|| not_there(who))
    }

    fn leaves(&mut self, who: &str) -> Result<Client, Missed> {
        self.clients.remove(who).ok_or_else(|| not_there(who))
    }

    fn connects(&mut self, who: &str, wait: Wait) -> Result<Note, Missed> {
        let addr = self.server.server.addr();
        let client = Client::connect(addr, wait.within);
        let mut client = client.map_err(|error| missed("to connect", error))?;
        client
            .passes_over
            .extend(self.passed_over.map(String::from));
        client.hears_messages_only = self.hears_messages_only;
        self.transcript.addrs.push(client.addr.clone());
        self.clients.insert(who.to_string(), client);
        Ok(did("connects"))
    }

    /// Connects, logs in, and waits until the server knows the client.
    fn joins(&mut self, step: &Step, wait: Wait) -> Result<Note, Missed> {
        let who = step.who.as_str();
        let note = self.connects(who, wait)?;
        self.transcript.note(who, &note);
        let login = step.login();
        let (client, bytes) = (self.client(who)?, login.as_bytes());
        client
            .sends(bytes, bytes.len(), wait, true)
            .map_err(not_sent)?;
        for line in login.lines() {
            self.transcript.note(who, &('>', line.to_string()));
        }
        if self.welcomes {
            let (welcome, wait) = (format!("welcome {who}"), Wait::of(wait.within));
            let note = self.hears(who, &welcome, 1, wait, |next| next == welcome)?;
            self.transcript.note(who, &note);
        }
        let (greeting, wait) = (format!("from {who}: am I in?"), Wait::of(wait.within));
        self.hears(who, &greeting, 1, wait, |next| next == greeting)
    }

    /// Expects lines that fit, of which people are told in these words.
    fn hears(
        &mut self,
        who: &str,
        words: &str,
        times: usize,
        wait: Wait,
        fits: impl Fn(&str) -> bool,
    ) -> Result<Note, Missed> {
        let client = self.client(who)?;
        let expected = format!("`{words}`");
        let mut line = String::new();
        for _ in 0..times {
            line = client.expect(&expected, wait, |next| next.is_some_and(&fits))?;
        }
        Ok(match times {
            1 => ('<', shown(line.as_bytes())),
            times => ('<', counted(words, times)),
        })
    }

    /// Expects the lines of several senders, those of each in their order.
    fn hears_mixed(
        &mut self,
        who: &str,
        series: &[Vec<String>],
        wait: Wait,
    ) -> Result<Note, Missed> {
        let client = self.client(who)?;
        let mut rest: Vec<&[String]> = series.iter().map(Vec::as_slice).collect();
        let total = rest.concat().len();
        for _ in 0..total {
            let next = rest.iter().filter_map(|rest| rest.first());
            let next: Vec<&str> = next.map(String::as_str).collect();
            let expected = format!("one of `{}`", next.join("`, `"));
            let fits = |line: &str| next.contains(&line);
            let line = client.expect(&expected, wait, |line| line.is_some_and(fits))?;
            if let Some(rest) = rest.iter_mut().find(|rest| rest.first() == Some(&line)) {
                *rest = &rest[1..];
            }
        }
        Ok(('<', format!("{total} lines, those of each sender in order")))
    }
}

fn not_there(who: &str) -> Missed {
    missed("a client", format!("{who} has not connected"))
}
