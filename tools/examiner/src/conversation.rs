//! Conversations: what clients and a server say to each other, written as data and played for real.
//!
//! The files are `tools/examiner/conversations/NN-name.kdl`; the notation is explained at the top of the
//! first of them. One engine plays them, against the programs of the book in `cargo test` and against
//! a reader's own server in `cargo run -- check`.

use std::{
    collections::HashSet,
    fmt::{self, Write as _},
    fs, io,
    iter::Sum,
    path::Path,
    time::Duration,
};

use kdl::{KdlDocument, KdlNode, KdlValue};
use regex::{Regex, bytes};

use crate::stages::{self, Version};

/// How long a step waits when it does not say: long enough for a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often a client tries to connect, at most, until it is refused.
pub const TRIES_TO_CONNECT: usize = 20;

/// From how many on the letters in a row are those with which `padded-to` makes a text longer.
const PADDING: &str = "x{100,}";

/// Who the server is in a conversation.
const SERVER: &str = "server";

/// One conversation, as it stands in its file.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// Unique among all conversations, in kebab-case.
    pub name: String,
    /// What it shows, in one sentence.
    pub about: String,
    /// The rule of the specification that it examines, for example `4.2`, if there is one.
    pub rule: Option<String>,
    /// Who must pass it.
    pub promise: Promise,
    /// Where the promise ends, if the specification changed.
    pub until: Option<Until>,
    /// Where it can be played.
    pub platform: Platform,
    /// How the server is started for it.
    pub conditions: Conditions,
    /// What is likely wrong with a server that falls short of it, the likeliest first.
    pub causes: Vec<Cause>,
    /// The step to take, for who asks.
    pub hint: Option<String>,
    /// The section of the book that it belongs to, `04-broker#the-code` for example.
    pub section: Option<String>,
    /// The version of the protocol that it is written in: that of the stage, or of the solution, that
    /// must pass it first.
    pub version: Version,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// The file and the line where it begins, for people who look for it.
    pub place: String,
}

/// Who must pass a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promise {
    /// This stage and every later one.
    Since(String),
    /// This stage and no other: it reports on stderr what the next stages do.
    Only(String),
    /// The solution of this name in `code/examples`; the stage of its chapter must not.
    Example(String),
}

/// The end of a promise: the specification changed, so later stages do something else.
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

/// What a conversation asks of a server, at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many connections are made to it.
    pub connections: usize,
    /// How many bytes are sent to it, without the headers of their packets.
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
}

/// Where a conversation can be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Everywhere.
    Any,
    /// Where a process can be sent SIGINT and SIGTERM.
    Unix,
    /// Where a process can be looked at in `/proc`, and sockets behave as in Linux.
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
    /// How long the step may take; [`PATIENCE`] where it does not say.
    pub within: Option<Duration>,
    /// Whether this is the step at which a server with the fault falls short.
    pub proves: bool,
    /// Which round of `repeat` it belongs to, from 1, if it belongs to any.
    pub round: Option<usize>,
    /// The line in the file.
    pub line: usize,
}

impl Step {
    /// What a client sends that joins.
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
    /// The client connects, sends its name, and writes to itself until that arrives: then the server
    /// knows it.
    Joins,
    /// The client sends bytes: a line, or what `writes` says. `each_byte` gives every byte a packet
    /// of its own; `may_fail` accepts that the server closes meanwhile.
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
    /// The client's next line is this one, as many times as it says.
    Receives {
        /// The line.
        line: String,
        /// How many times it comes.
        times: usize,
    },
    /// The client's next line begins with these words; the others are the server's own. As many such
    /// lines come as it says.
    IsTold {
        /// The words.
        words: String,
        /// How many times.
        times: usize,
    },
    /// The client's next line is any at all.
    ReceivesAnything,
    /// From here on, the client does not care for lines that begin so, and for how many there are.
    PassesOver(String),
    /// The client's next lines are those of several series, each in its own order, however mixed.
    ReceivesMixed(Vec<Vec<String>>),
    /// The client says that it has finished sending: it closes its outgoing half.
    Finishes,
    /// The client closes its connection.
    Leaves,
    /// The client resets its connection: no goodbye, and what was under way is lost.
    Resets,
    /// The client sees the end of the connection, and no line before it.
    SeesEnd,
    /// The server writes this line to stderr; `{alice}` stands for the address of alice.
    Reports(String),
    /// The server gets SIGINT, as from Ctrl-C.
    GetsInterrupt,
    /// The server gets SIGTERM.
    GetsTerminate,
    /// The server is stopped in its tracks (SIGSTOP), so that several things reach it at once.
    IsPaused,
    /// The server goes on (SIGCONT).
    IsResumed,
    /// Nobody can connect to the server any more.
    RefusesConnections,
    /// The server's memory never was more than this many megabytes above what it was at the start.
    HasGrownLessThan(u64),
    /// The server does not end in the time that the step may take.
    KeepsRunning,
    /// Nor does it use more than a twentieth of one processor in this time, or would if it had it.
    Idles,
    /// The server is waited for until it has done all that it can do now, but no longer than the step
    /// may take.
    CatchesUp,
    /// The server ends with this status.
    Exits(i32),
}

impl Conversation {
    /// The first stage that must pass it, if it is promised at all.
    pub fn since(&self) -> Option<&str> {
        match &self.promise {
            Promise::Since(stage) | Promise::Only(stage) => Some(stage),
            Promise::Example(_) => None,
        }
    }

    /// The same conversation between clients with other names: each gets `suffix` at its end. For a
    /// server that runs on from one conversation to the next, and may not forget a name. A text that was
    /// made longer loses as much of that as a name gains, so a line with one name keeps its length.
    pub fn with_names(&self, suffix: &str) -> Conversation {
        let names: HashSet<&str> = self
            .steps
            .iter()
            .map(|step| step.who.as_str())
            .filter(|who| *who != SERVER)
            .collect();
        let names: Vec<String> = names.into_iter().map(regex::escape).collect();
        let word = bytes::Regex::new(&format!(r"\b(?:{})\b", names.join("|")))
            .expect("escaped names make a pattern");
        let padding = bytes::Regex::new(PADDING).expect("it is a pattern");
        let replace_bytes = |text: &[u8]| {
            let renamed = word.replace_all(text, format!("${{0}}{suffix}").into_bytes());
            let gained = suffix.len().min(renamed.len() - text.len());
            let shorter = |padding: &bytes::Captures| padding[0][gained..].to_vec();
            padding.replace(&renamed, shorter).into_owned()
        };
        let replace =
            |text: &str| String::from_utf8_lossy(&replace_bytes(text.as_bytes())).into_owned();
        let mut renamed = self.clone();
        for step in &mut renamed.steps {
            if step.who != SERVER {
                step.who = replace(&step.who);
            }
            match &mut step.action {
                Action::Sends { bytes, .. } => *bytes = replace_bytes(bytes),
                Action::Receives { line, .. }
                | Action::IsTold { words: line, .. }
                | Action::PassesOver(line)
                | Action::Reports(line) => *line = replace(line),
                Action::ReceivesMixed(series) => {
                    series
                        .iter_mut()
                        .flatten()
                        .for_each(|line| *line = replace(line));
                }
                _ => {}
            }
        }
        renamed
    }

    /// What it asks of a server, at most.
    pub fn traffic(&self) -> Traffic {
        let steps = self.steps.iter().map(|step| match &step.action {
            Action::Connects => (1, 0),
            Action::Joins => (1, step.login().len()),
            Action::Sends { bytes, times, .. } => (0, bytes.len() * times),
            Action::RefusesConnections => (TRIES_TO_CONNECT, 0),
            _ => (0, 0),
        });
        // Whether the server listens may have to be tried.
        [(1, 0)]
            .into_iter()
            .chain(steps)
            .map(|(connections, bytes)| Traffic { connections, bytes })
            .sum()
    }

    /// How long its steps may take that say so: those that wait for seconds do.
    pub fn may_take(&self) -> Duration {
        self.steps.iter().filter_map(|step| step.within).sum()
    }


    /// Whether this stage, `04-broker` for example, must pass it.
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
}

/// A file of conversations that cannot be understood.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Reads all conversations of the book, in the order of their files and in each file from the top.
///
/// # Errors
///
/// Says which file and line cannot be understood and what would be.
pub fn all() -> Result<Vec<Conversation>, Error> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conversations");
    let unreadable = |error: io::Error| Error(format!("cannot read {}: {error}", folder.display()));
    let mut files = fs::read_dir(&folder)
        .map_err(unreadable)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    files.sort();
    let mut conversations: Vec<Conversation> = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(unreadable)?;
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for conversation in parse(&name, &text)? {
            if let Some(twin) = conversations.iter().find(|c| c.name == conversation.name) {
                return Err(Error(format!(
                    "{}: the name {} is taken by the conversation at {}",
                    conversation.place, conversation.name, twin.place
                )));
            }
            conversations.push(conversation);
        }
    }
    Ok(conversations)
}

/// Reads the conversations of one file, whose name is for messages.
///
/// # Errors
///
/// Says which line cannot be understood and what would be.
pub fn parse(file: &str, text: &str) -> Result<Vec<Conversation>, Error> {
    let starts = text.match_indices('\n').map(|(end, _)| end + 1);
    let lines: Vec<usize> = starts.collect();
    let document: KdlDocument = text.parse().map_err(|error: kdl::KdlError| {
        let mut message = format!("{file}: not valid KDL");
        for diagnostic in &error.diagnostics {
            let line = line_of(&lines, diagnostic.span.offset());
            let what = diagnostic.message.as_deref().unwrap_or("unexpected text");
            // Writing to a string cannot fail.
            let _ = write!(message, "; line {line}: {what}");
        }
        Error(message)
    })?;
    document
        .nodes()
        .iter()
        .map(|node| {
            conversation(
                node,
                &Source {
                    file,
                    lines: &lines,
                },
            )
        })
        .collect()
}

/// The number of the line, of those that start at these offsets after the first.
fn line_of(lines: &[usize], offset: usize) -> usize {
    lines.partition_point(|start| *start <= offset) + 1
}

struct Source<'a> {
    file: &'a str,
    /// Where its lines begin, but for the first. A step of `repeat` asks for its line in each round.
    lines: &'a [usize],
}

impl Source<'_> {
    fn line(&self, node: &KdlNode) -> usize {
        line_of(self.lines, node.name().span().offset())
    }

    fn error(&self, node: &KdlNode, what: impl fmt::Display) -> Error {
        Error(format!("{}:{}: {what}", self.file, self.line(node)))
    }
}

fn conversation(node: &KdlNode, source: &Source) -> Result<Conversation, Error> {
    if node.name().value() != "conversation" {
        return Err(source.error(node, "expected `conversation NAME since=\"NN-name\" { … }`"));
    }
    check_properties(
        node,
        &[
            "since",
            "only",
            "example",
            "rule",
            "on",
            "descriptors",
            "options",
        ],
        source,
    )?;
    let text = |key: &str| node.get(key).and_then(KdlValue::as_string);
    let name = text_arguments(node)
        .first()
        .map(|name| name.to_string())
        .ok_or_else(|| source.error(node, "a conversation needs a name"))?;
    let promise = match (text("since"), text("only"), text("example")) {
        (Some(stage), None, None) => Promise::Since(stage.to_string()),
        (None, Some(stage), None) => Promise::Only(stage.to_string()),
        (None, None, Some(example)) => Promise::Example(example.to_string()),
        _ => {
            return Err(source.error(
                node,
                "a conversation needs one of since=\"NN-name\", only=\"NN-name\" and example=\"NN-name\"",
            ));
        }
    };
    let (Promise::Since(first) | Promise::Only(first) | Promise::Example(first)) = &promise;
    let version = stages::list()
        .and_then(|list| Ok(list.get(first)?.protocol))
        .map_err(|error| source.error(node, error))?;
    let platform = match text("on") {
        None => Platform::Any,
        Some("unix") => Platform::Unix,
        Some("linux") => Platform::Linux,
        Some(other) => {
            return Err(source.error(node, format!("on={other}: expected unix or linux")));
        }
    };
    let options = text("options").unwrap_or_default().split_whitespace();
    let conditions = Conditions {
        descriptors: number(node, "descriptors", source)?.map(|n| n as u32),
        options: options.map(str::to_string).collect(),
    };
    let mut children = node.iter_children();
    let about = children
        .next()
        .filter(|child| child.name().value() == "about")
        .and_then(|child| text_arguments(child).first().map(|text| text.to_string()))
        .ok_or_else(|| source.error(node, "a conversation begins with `about \"…\"`"))?;
    let (mut until, mut causes, mut hint, mut section) = (None, Vec::new(), None, None);
    let mut steps = Vec::new();
    for child in children {
        let text = || {
            text_arguments(child)
                .first()
                .map(|text| text.to_string())
                .ok_or_else(|| source.error(child, "expected a text in quotes"))
        };
        match child.name().value() {
            "until" => {
                check_properties(child, &["because"], source)?;
                let because = child.get("because").and_then(KdlValue::as_string);
                let (Promise::Since(first), Some(because)) = (&promise, because) else {
                    return Err(source.error(
                        child,
                        "expected since=\"NN-name\" before, and because=\"…\" in `until \"NN-name\"`",
                    ));
                };
                let stage = text()?;
                if stage < *first {
                    return Err(source.error(child, format!("{stage} comes before {first}")));
                }
                until = Some(Until {
                    stage,
                    because: because.to_string(),
                });
            }
            "cause" => {
                check_properties(child, &["when"], source)?;
                let when = child.get("when").and_then(KdlValue::as_string);
                causes.push(Cause {
                    text: text()?,
                    when: when
                        .map(Regex::new)
                        .transpose()
                        .map_err(|error| source.error(child, error))?,
                });
            }
            "hint" => hint = Some(text()?),
            "section" => section = Some(text()?),
            _ => push_steps(child, source, &[], &mut steps)?,
        }
    }
    Ok(Conversation {
        name,
        about,
        rule: text("rule").map(str::to_string),
        promise,
        until,
        platform,
        conditions,
        causes,
        hint,
        section,
        version,
        steps,
        place: format!("{}:{}", source.file, source.line(node)),
    })
}

/// The arguments that are strings, without the properties.
fn text_arguments(node: &KdlNode) -> Vec<&str> {
    node.entries()
        .iter()
        .filter(|entry| entry.name().is_none())
        .filter_map(|entry| entry.value().as_string())
        .collect()
}

fn number(node: &KdlNode, key: &str, source: &Source) -> Result<Option<u64>, Error> {
    let Some(value) = node.get(key) else {
        return Ok(None);
    };
    let number = value
        .as_integer()
        .and_then(|number| u64::try_from(number).ok());
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(source.error(node, format!("{key}: expected a number"))),
    }
}

fn check_properties(node: &KdlNode, known: &[&str], source: &Source) -> Result<(), Error> {
    for entry in node.entries() {
        if let Some(name) = entry.name()
            && !known.contains(&name.value())
        {
            let known = if known.is_empty() {
                "none".into()
            } else {
                known.join(", ")
            };
            return Err(source.error(
                node,
                format!(
                    "unknown property {}; here there can be: {known}",
                    name.value()
                ),
            ));
        }
    }
    Ok(())
}

/// Writes out `c{1..3}` as `c1, c2, c3`.
fn series(text: &str) -> String {
    let written_out = || {
        let (before, rest) = text.split_once('{')?;
        let (range, after) = rest.split_once('}')?;
        let (first, last) = range.split_once("..")?;
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        let start = before.rfind([' ', ',']).map_or(0, |space| space + 1);
        let (before, prefix) = before.split_at(start);
        let names: Vec<String> = (first..=last).map(|n| format!("{prefix}{n}")).collect();
        Some(format!("{before}{}{after}", names.join(", ")))
    };
    written_out().unwrap_or_else(|| text.to_string())
}

/// Appends the steps of a node: one, or with `repeat` as many as it asks for.
fn push_steps(
    node: &KdlNode,
    source: &Source,
    counts: &[usize],
    steps: &mut Vec<Step>,
) -> Result<(), Error> {
    if node.name().value() == "repeat" {
        let times = node
            .get(0)
            .and_then(KdlValue::as_integer)
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| source.error(node, "expected `repeat NUMBER { … }`"))?;
        for n in 1..=times {
            for child in node.iter_children() {
                push_steps(child, source, &[counts, &[n]].concat(), steps)?;
            }
        }
        return Ok(());
    }
    let fill = |text: &str| match counts.last() {
        Some(n) => series(&text.replace("{n}", &n.to_string())),
        None => series(text),
    };
    let who = fill(node.name().value());
    let arguments = text_arguments(node);
    let Some((&verb, arguments)) = arguments.split_first() else {
        return Err(source.error(node, "expected `NAME VERB …`, for example `alice connects`"));
    };
    let known: &[&str] = match verb {
        "sends" | "writes" => &["times", "padded-to", "each-byte", "may-fail", "within"],
        "receives" => &["times", "padded-to", "within", "proves"],
        "receives-mixed" | "is-told" => &["times", "within", "proves"],
        "has-grown" => &["less-than", "proves"],
        _ => &["within", "proves"],
    };
    check_properties(node, known, source)?;
    let argument = || {
        arguments
            .first()
            .map(|text| fill(text))
            .ok_or_else(|| source.error(node, format!("{verb} what? expected a text in quotes")))
    };
    let flag = |key: &str| node.get(key).and_then(KdlValue::as_bool).unwrap_or(false);
    let times = number(node, "times", source)?.unwrap_or(1) as usize;
    let length = number(node, "padded-to", source)?.unwrap_or(0) as usize;
    let padded = |text: String| {
        let padding = "x".repeat(length.saturating_sub(text.len()));
        text + &padding
    };
    let sends = |bytes| Action::Sends {
        bytes,
        times,
        each_byte: flag("each-byte"),
        may_fail: flag("may-fail"),
    };
    let integers = || {
        node.entries()
            .iter()
            .filter(|entry| entry.name().is_none())
            .filter_map(|entry| entry.value().as_integer())
    };
    let action = if who == SERVER {
        match verb {
            "reports" => Action::Reports(argument()?),
            "gets-interrupt" => Action::GetsInterrupt,
            "gets-terminate" => Action::GetsTerminate,
            "is-paused" => Action::IsPaused,
            "is-resumed" => Action::IsResumed,
            "refuses-connections" => Action::RefusesConnections,
            "keeps-running" => Action::KeepsRunning,
            "idles" => Action::Idles,
            "catches-up" => Action::CatchesUp,
            "has-grown" => {
                Action::HasGrownLessThan(number(node, "less-than", source)?.ok_or_else(|| {
                    source.error(node, "expected `has-grown less-than=MEGABYTES`")
                })?)
            }
            "exits" => Action::Exits(
                integers()
                    .next()
                    .and_then(|status| i32::try_from(status).ok())
                    .ok_or_else(|| source.error(node, "expected `server exits STATUS`"))?,
            ),
            _ => {
                return Err(source.error(
                    node,
                    format!(
                        "the server cannot be told to `{verb}`; it reports, gets-interrupt, \
                         gets-terminate, is-paused, is-resumed, refuses-connections, keeps-running, idles, \
                         catches-up, has-grown, exits"
                    ),
                ));
            }
        }
    } else {
        match verb {
            "connects" => Action::Connects,
            "joins" => Action::Joins,
            "sends" => sends((padded(argument()?) + "\n").into_bytes()),
            "writes" => {
                let text = arguments.first().map(|text| fill(text)).unwrap_or_default();
                let mut bytes = padded(text).into_bytes();
                for byte in integers() {
                    bytes.push(u8::try_from(byte).map_err(|_| {
                        source.error(node, format!("{byte} is no byte; expected 0x00 to 0xff"))
                    })?);
                }
                sends(bytes)
            }
            "receives" => Action::Receives {
                line: padded(argument()?),
                times,
            },
            "is-told" => Action::IsTold {
                words: argument()?,
                times,
            },
            "receives-anything" => Action::ReceivesAnything,
            "passes-over" => Action::PassesOver(argument()?),
            "receives-mixed" => Action::ReceivesMixed(
                arguments
                    .iter()
                    .map(|text| {
                        (1..=times)
                            .map(|n| text.replace("{n}", &n.to_string()))
                            .collect()
                    })
                    .collect(),
            ),
            "finishes" => Action::Finishes,
            "leaves" => Action::Leaves,
            "resets" => Action::Resets,
            "sees-end" => Action::SeesEnd,
            _ => {
                return Err(source.error(
                    node,
                    format!(
                        "a client cannot `{verb}`; it connects, joins, sends, writes, receives, is-told, \
                         receives-anything, receives-mixed, passes-over, finishes, leaves, resets, sees-end"
                    ),
                ));
            }
        }
    };
    steps.push(Step {
        who,
        action,
        within: number(node, "within", source)?.map(Duration::from_secs),
        proves: flag("proves"),
        round: counts.last().copied(),
        line: source.line(node),
    });
    Ok(())
}
