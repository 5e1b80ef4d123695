//! The transcript of a conversation, and the addresses that it shows for those of the clients.

use std::fmt::Write as _;

use crate::conversation::Conversation;

/// Stands for the rounds of `repeat` after the first.
const ELLIPSIS: &str = "…\n";

/// What a step adds to the transcript: a mark that tells what kind of event it is, and the event.
pub(super) type Note = (char, String);

/// An event that is not a line of text.
pub(super) fn did(what: impl Into<String>) -> Note {
    ('*', what.into())
}

pub(super) fn counted(text: &str, times: usize) -> String {
    match times {
        1 => text.to_string(),
        times => format!("{text}  ({times} times)"),
    }
}

pub(super) struct Transcript {
    pub(super) text: String,
    width: usize,
    round: usize,
    /// The clients' addresses, in the order in which they connected.
    pub(super) addrs: Vec<String>,
}

impl Transcript {
    pub(super) fn new(conversation: &Conversation) -> Transcript {
        let names = conversation.steps.iter().map(|step| step.who.len());
        let mut transcript = Transcript {
            text: String::new(),
            width: names.chain(["server".len()]).max().unwrap_or(0),
            round: 1,
            addrs: Vec::new(),
        };
        let listening = "listening on 127.0.0.1:8080".to_string();
        transcript.note("server", &('|', listening));
        transcript
    }

    pub(super) fn begin_round(&mut self, round: usize) {
        self.round = round;
        if round > 1 && !self.text.ends_with(ELLIPSIS) {
            self.text.push_str(ELLIPSIS);
        }
    }

    /// Adds a line. Of rounds that repeat, the first stands for all.
    pub(super) fn note(&mut self, who: &str, (mark, text): &Note) {
        if self.round > 1 {
            return;
        }
        let width = self.width;
        let line = format!("{who:width$} {mark} {}", self.with_shown_addrs(text));
        // Writing to a string can't fail.
        let _ = writeln!(self.text, "{}", line.trim_end());
    }

    /// Adds what was seen instead of what was expected, in whatever round.
    pub(super) fn fell_short(&mut self, who: &str, seen: &str) {
        self.round = 1;
        self.note(who, &('!', seen.to_string()));
    }

    /// `text` with made-up ports instead of the clients' real ones, the same in every run.
    pub(super) fn with_shown_addrs(&self, text: &str) -> String {
        // In two steps, because a port that is made up for one client may be the real one of another.
        let placeholder = |number: usize| format!("\0{number}\0");
        let mut text = text.to_string();
        for (number, addr) in self.addrs.iter().enumerate() {
            text = text.replace(addr, &placeholder(number));
        }
        for number in 0..self.addrs.len() {
            let shown = format!("127.0.0.1:{}", 50_001 + number);
            text = text.replace(&placeholder(number), &shown);
        }
        text
    }
}
