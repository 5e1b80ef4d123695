//! What a conversation is, who must pass it, and what it asks of a server.

use std::{iter::Sum, time::Duration};

use regex::Regex;

use crate::stages::Version;

/// How long a step waits unless it says otherwise: long enough for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The most tries to connect while a client waits to be refused.
pub const TRIES_TO_CONNECT: usize = 20;

/// The name of the server in a conversation.
pub(super) const SERVER: &str = "server";

/// One conversation, as its file has it.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// Unique among all conversations, in kebab-case.
    pub name: String,
    /// What it shows, in one sentence.
    pub about: String,
    /// The rule of the specification that it examines, for example `4.2`, if there is one.
    pub rule: Option<String>,
    /// Which programs must pass it.
    pub promise: Promise,
    /// Where the promise ends, if the specification changed.
    pub until: Option<Until>,
    /// Where it can be played.
    pub platform: Platform,
    /// How the server is started for it.
    pub conditions: Conditions,
    /// What is likely wrong with a server that falls short of it, the likeliest first.
    pub causes: Vec<Cause>,
    /// The step to take, for readers who ask for it.
    pub hint: Option<String>,
    /// The section of the book that it belongs to, `07-broker#the-code` for example.
    pub section: Option<String>,
    /// The version of the protocol that it's written in: that of the first program that must pass it.
    pub version: Version,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// The file and the line where it begins.
    pub place: String,
}

/// Which programs must pass a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promise {
    /// This stage and every later one.
    Since(String),
    /// This stage alone: it reports on stderr what the next stages do.
    Only(String),
    /// The solution of this name in `code/examples`; the stage of its chapter must fall short.
    Example(String),
}

/// The end of a promise: the specification changed, so later stages behave differently.
#[derive(Clone, Debug)]
pub struct Until {
    /// The last stage that must keep it.
    pub stage: String,
    /// What the specification says since then, in a sentence.
    pub because: String,
}

/// How a server is started for a conversation.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The limit on its open descriptors, if there is one.
    pub descriptors: Option<u32>,
    /// The options that follow the address, `--max-line` and `8192` for example.
    pub options: Vec<String>,
}

/// The most that a conversation asks of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many connections it makes.
    pub connections: usize,
    /// How many bytes of payload it sends.
    pub bytes: usize,
}

impl Sum for Traffic {
    fn sum<I: Iterator<Item = Traffic>>(all: I) -> Traffic {
        all.fold(Traffic::default(), |sum, one| Traffic {
            connections: sum.connections + one.connections,
            bytes: sum.bytes + one.bytes,
        })
    }
}

/// What may be wrong with a server.
#[derive(Clone, Debug)]
pub struct Cause {
    /// In a sentence.
    pub text: String,
    /// What must have been seen for it to be likely, if that matters.
    pub when: Option<Regex>,
    /// Whether it's the first cause given to a reader who examines the server of the chapter before.
    pub next: bool,
}

/// Where a conversation can be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Everywhere.
    Any,
    /// Where a process can be sent SIGINT and SIGTERM.
    Unix,
    /// Where `/proc` tells about a process, and sockets behave as on Linux.
    Linux,
}

impl Platform {
    /// Whether this machine is one of them.
    pub fn is_here(self) -> bool {
        match self {
            Platform::Any => true,
            Platform::Unix => cfg!(unix),
            Platform::Linux => cfg!(target_os = "linux"),
        }
    }
}

/// One step: who does what.
#[derive(Clone, Debug)]
pub struct Step {
    /// A client's name in this conversation, or `server`.
    pub who: String,
    /// What is done or expected.
    pub action: Action,
    /// How long the step may take, if it says so; otherwise [`PATIENCE`].
    pub within: Option<Duration>,
    /// Whether a server with the fault falls short at this step.
    pub proves: bool,
    /// Which round of `repeat` it belongs to, counted from 1, if it belongs to any.
    pub round: Option<usize>,
    /// The line in the file.
    pub line: usize,
}

impl Step {
    /// What a client sends to join: its name, and a line to itself.
    pub fn login(&self) -> String {
        let name = &self.who;
        format!("{name}\n{name}: am I in?\n")
    }
}

/// What a step does or expects.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The client connects.
    Connects,
    /// The client connects, sends its name, and writes to itself. The server knows it when that line arrives.
    Joins,
    /// The client sends bytes: a line, or what `writes` says.
    Sends {
        /// The bytes.
        bytes: Vec<u8>,
        /// How many times they are sent.
        times: usize,
        /// Whether every byte is a packet of its own.
        each_byte: bool,
        /// Whether the server may close the connection meanwhile.
        may_fail: bool,
    },
    /// The client's next lines are all this one.
    Receives {
        /// The line.
        line: String,
        /// How many times it comes.
        times: usize,
    },
    /// The client's next lines begin with these words; the rest of each is up to the server.
    IsTold {
        /// The words.
        words: String,
        /// How many such lines come.
        times: usize,
    },
    /// From here on, the client ignores lines that begin with this, however many there are.
    PassesOver(String),
    /// The client's next lines are those of several series. Each series is in order; they may be interleaved.
    ReceivesMixed(Vec<Vec<String>>),
    /// The client has finished sending and closes its outgoing half.
    Finishes,
    /// The client closes its connection.
    Leaves,
    /// The client resets its connection: no goodbye, and whatever was under way is lost.
    Resets,
    /// The client sees the end of the connection, and no line before it.
    SeesEnd,
    /// The server writes this line to stderr; `{alice}` stands for the address of alice.
    Reports(String),
    /// The server gets SIGINT, as from Ctrl-C.
    GetsInterrupt,
    /// The server gets SIGTERM.
    GetsTerminate,
    /// The server is stopped (SIGSTOP), so that several things reach it at once.
    IsPaused,
    /// The server continues (SIGCONT).
    IsResumed,
    /// The server no longer accepts connections.
    RefusesConnections,
    /// The server's memory has always been less than this many megabytes above what it was at the start.
    HasGrownLessThan(u64),
    /// The server doesn't end in the time that the step may take.
    KeepsRunning,
    /// Nor does it use more than a twentieth of a processor, had it had one for all of that time.
    Idles,
    /// Waits until the server has done all that it can do now, but no longer than the step may take.
    CatchesUp,
    /// The server ends with this status.
    Exits(i32),
}

impl Action {
    /// Whether it needs the server's process, because it isn't done over a socket.
    pub(crate) fn needs_process(&self) -> bool {
        matches!(
            self,
            Action::GetsInterrupt
                | Action::GetsTerminate
                | Action::IsPaused
                | Action::IsResumed
                | Action::HasGrownLessThan(_)
                | Action::KeepsRunning
                | Action::Idles
                | Action::Exits(_)
        )
    }
}

impl Conversation {
    /// The first stage that must pass it, if any stage must.
    pub fn since(&self) -> Option<&str> {
        match &self.promise {
            Promise::Since(stage) | Promise::Only(stage) => Some(stage),
            Promise::Example(_) => None,
        }
    }

    /// Whether this stage, `07-broker` for example, must pass it.
    pub fn is_promised_by(&self, stage: &str) -> bool {
        let ended = |until: &Until| until.stage.as_str() < stage;
        match &self.promise {
            Promise::Since(first) => {
                first.as_str() <= stage && !self.until.as_ref().is_some_and(ended)
            }
            Promise::Only(one) => one == stage,
            Promise::Example(_) => false,
        }
    }

    /// The most that it asks of a server.
    pub fn traffic(&self) -> Traffic {
        let steps = self.steps.iter().map(|step| match &step.action {
            Action::Connects => (1, 0),
            Action::Joins => (1, step.login().len()),
            Action::Sends { bytes, times, .. } => (0, bytes.len() * times),
            Action::RefusesConnections => (TRIES_TO_CONNECT, 0),
            _ => (0, 0),
        });
        // One more connection may be made to see whether the server listens.
        let all = steps.chain([(1, 0)]);
        all.map(|(connections, bytes)| Traffic { connections, bytes })
            .sum()
    }

    /// The sum of the times that its steps ask for: those that wait for seconds say so.
    pub fn may_take(&self) -> Duration {
        self.steps.iter().filter_map(|step| step.within).sum()
    }
}
