//! Which server a conversation is played with, starting it, and waiting until it listens.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    group::UnderWay,
    last_words::{ON_ITS_WAY, Output},
    port::{FreeAddr, here},
    server::Server,
};
use crate::{
    Error,
    conversation::{Conditions, Conversation},
};

/// How long a server may take until it listens: one in another language, on a busy machine.
const START: Duration = Duration::from_secs(30);

/// How long it may take to reach a server that runs already.
const REACHED: Duration = Duration::from_secs(4);

/// How long to wait after the first try to connect to a server that doesn't say when it listens; half as long
/// again after each further one, up to [`RARELY`], so that one that starts slowly isn't slowed down by tries.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// The longest wait between two such tries.
const RARELY: Duration = Duration::from_secs(1);

/// Stands for the address in a command.
pub const ADDR: &str = "{addr}";

/// Stands for the options that a conversation needs in a command.
const OPTIONS: &str = "{options}";

/// Which server conversations are played with.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A program with the interface of the book: it takes the address as its argument and prints
    /// `listening on IP:PORT`.
    Program(PathBuf),
    /// A command in whose arguments `{addr}` stands for the address, and `{options}` for the options that a
    /// conversation needs. It's tried until it listens.
    ///
    /// It may start the server as another process, as `npm start` or a script without `exec` does. Signals go to
    /// all of these processes, as Ctrl-C at a terminal does, and in the end all are killed. What is measured
    /// (memory, processor time, whether it's paused) and the exit status are those of the command's own process.
    Command(Vec<String>),
    /// A server that runs already.
    Addr(SocketAddr),
}

impl From<&Path> for Subject {
    fn from(program: &Path) -> Subject {
        Subject::Program(program.to_path_buf())
    }
}

impl Subject {
    /// Why this conversation can't be played with this server, if it can't.
    pub fn cannot_play(&self, conversation: &Conversation) -> Option<&'static str> {
        let conditions = &conversation.conditions;
        let needs_options = !conditions.options.is_empty();
        let mut actions = conversation.steps.iter().map(|step| &step.action);
        let needs_process = needs_options
            || conditions.descriptors.is_some()
            || actions.any(|action| action.needs_process());
        let takes_options = |words: &[String]| words.iter().any(|word| word.contains(OPTIONS));
        match self {
            _ if !conversation.platform.is_here() => {
                Some("this system does not offer what it needs")
            }
            Subject::Command(words) if needs_options && !takes_options(words) => {
                Some("it needs options, and the command has no {options}")
            }
            Subject::Addr(_) if needs_process => Some("it needs a server that is started for it"),
            _ => None,
        }
    }

    /// Starts the server for one conversation, under its conditions, and waits until it listens. One that runs
    /// already is only looked for.
    ///
    /// # Errors
    ///
    /// Says why it can't be started, or what it does instead of listening.
    pub fn start(&self, conditions: &Conditions) -> Result<Server, Error> {
        self.start_among(conditions, &UnderWay::default())
    }

    /// The same for one of several servers that may be ended together; then it fails, too.
    pub fn start_among(&self, conditions: &Conditions, all: &UnderWay) -> Result<Server, Error> {
        self.start_with(conditions, Stdio::piped(), all, START)
    }

    /// The same for a server whose stderr goes elsewhere, so that the value knows nothing of it.
    pub fn start_reporting_to(
        &self,
        conditions: &Conditions,
        stderr: Stdio,
    ) -> Result<Server, Error> {
        self.start_with(conditions, stderr, &UnderWay::default(), START)
    }

    fn start_with(
        &self,
        conditions: &Conditions,
        stderr: Stdio,
        under_way: &UnderWay,
        within: Duration,
    ) -> Result<Server, Error> {
        let Conditions {
            descriptors,
            options,
        } = conditions;
        match self {
            Subject::Program(program) => {
                let mut words = words(program, "127.0.0.1:0");
                words.extend_from_slice(options);
                let command = command(&words, *descriptors);
                spawn(command, None, stderr, under_way, within)
            }
            Subject::Command(words) => {
                let free = FreeAddr::find();
                let free = free.map_err(|error| Error::io("there is no free port", error))?;
                let fill = |word: &String| match word.as_str() {
                    OPTIONS => options.clone(),
                    word => {
                        let word = word.replace(ADDR, &free.addr().to_string());
                        vec![word.replace(OPTIONS, &options.join(" "))]
                    }
                };
                let words: Vec<String> = words.iter().flat_map(fill).collect();
                let command = command(&words, *descriptors);
                spawn(command, Some(free), stderr, under_way, within)
            }
            Subject::Addr(addr) => {
                let reached = TcpStream::connect_timeout(addr, REACHED);
                let what = || format!("cannot reach a server on {addr}");
                reached.map_err(|error| Error::io(what(), error))?;
                Ok(Server {
                    group: None,
                    addr: *addr,
                    free: None,
                    stderr: Output::of(None::<ChildStderr>),
                    memory_at_start: None,
                })
            }
        }
    }
}

fn words(program: &Path, addr: &str) -> Vec<String> {
    vec![program.to_string_lossy().into_owned(), addr.to_string()]
}

fn command(words: &[String], descriptors: Option<u32>) -> Command {
    let mut command = match descriptors {
        None => Command::new(&words[0]),
        Some(limit) => {
            // The standard library can't set a limit for a child; every Unix shell can.
            let mut shell = Command::new("sh");
            let script = format!("ulimit -n {limit} && exec \"$0\" \"$@\"");
            shell.arg("-c").arg(script).arg(&words[0]);
            shell
        }
    };
    command.args(&words[1..]);
    command
}

/// Starts a server and waits until it listens, at the address that was found for it or where it says.
fn spawn(
    mut command: Command,
    free: Option<FreeAddr>,
    stderr: Stdio,
    under_way: &UnderWay,
    within: Duration,
) -> Result<Server, Error> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr);
    let mut group = under_way.start(&mut command)?;
    let (stdout, stderr) = group.pipes();
    let stdout = Output::of(stdout);
    let found = free.as_ref().map(FreeAddr::addr);
    let mut server = Server {
        group: Some(group),
        addr: found.unwrap_or((Ipv4Addr::LOCALHOST, 0).into()),
        free,
        stderr: Output::of(stderr),
        memory_at_start: None,
    };
    match found {
        None => server.addr = server.announced(&stdout, within)?,
        Some(_) => server.wait_until_it_listens(within)?,
    }
    server.memory_at_start = server.process().most_memory();
    Ok(server)
}

impl Server {
    /// Starts a program of the book on this address; otherwise as [`Subject::start`].
    pub fn start_on(program: &Path, addr: &str) -> Result<Server, Error> {
        let command = command(&words(program, addr), None);
        spawn(command, None, Stdio::piped(), &UnderWay::default(), START)
    }

    /// The address that the server says it listens on.
    fn announced(&mut self, stdout: &Output, within: Duration) -> Result<SocketAddr, Error> {
        let addr = |line: &str| line.strip_prefix("listening on ")?.parse().ok();
        let ended = match stdout.find(Instant::now() + within, addr) {
            Ok(addr) => return here(addr),
            Err(lines) => lines.ended,
        };
        let said = stdout.first().map(|line| format!("; it printed `{line}`"));
        let said = said.unwrap_or_default();
        if ended {
            return Err(self.ended_early(&said));
        }
        Err(Error::Server(format!(
            "the server did not print `listening on IP:PORT` on stdout within {} s{said}",
            within.as_secs()
        )))
    }

    fn wait_until_it_listens(&mut self, within: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + within;
        let mut pause = TRY_AGAIN;
        while Instant::now() < deadline {
            if TcpStream::connect_timeout(&self.addr, within).is_ok() {
                return Ok(());
            }
            if self.wait(pause).is_ok() {
                return Err(self.ended_early(""));
            }
            pause = (pause * 3 / 2).min(RARELY);
        }
        Err(Error::Server(format!(
            "the command does not listen on {} within {} s; {ADDR} stands for the address in its arguments",
            self.addr,
            within.as_secs()
        )))
    }

    fn ended_early(&mut self, said: &str) -> Error {
        let Ok(status) = self.wait(ON_ITS_WAY) else {
            return Error::Server(format!(
                "the server closed its stdout before it said where it listens{said}"
            ));
        };
        let reported = match self.stderr.last() {
            Some(line) => format!("; it reported `{line}`"),
            // Everyone who learns async Rust has done it.
            None if status.success() && self.free.is_none() && said.is_empty() => {
                "; a future does nothing until it is awaited, or run with `block_on`".to_string()
            }
            None => String::new(),
        };
        Error::Server(format!(
            "the server ended before it listened ({status}){said}{reported}"
        ))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{io, sync::Arc, thread};

    use super::*;
    use crate::conversation;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| word.to_string()).collect()
    }

    /// A stderr for servers, and what comes to it.
    fn stderr() -> (Stdio, Arc<Output>) {
        let (reader, writer) = io::pipe().unwrap();
        (writer.into(), Output::of(Some(reader)))
    }

    /// Whether all that have this stderr end.
    fn all_end(stderr: &Output) -> bool {
        let none = stderr.find(Instant::now() + START, |_| None::<()>);
        none.unwrap_err().ended
    }

    #[test]
    fn a_command_without_a_place_for_options_gets_none() {
        let text = "conversation c since=\"14-limits\" options=\"--max-line 8\" { about \"…\"; }";
        let conversation = &conversation::parse("test.kdl", text).unwrap()[0];
        let cannot = |subject: Subject| subject.cannot_play(conversation).unwrap_or("it can");
        let command = |last| cannot(Subject::Command(words(&["chat", ADDR, last])));
        assert_eq!(command(OPTIONS), "it can");
        assert!(command("--fast").contains("the command has no {options}"));
        let addr = Subject::Addr(([127, 0, 0, 1], 1).into());
        assert_eq!(cannot(addr), "it needs a server that is started for it");
    }

    #[test]
    fn options_follow_the_address() {
        let script = r#"echo "$*" >&2; exit 3"#;
        let command = words(&["sh", "-c", script, "sh", "@", ADDR, OPTIONS]);
        for options in ["", " --max-line 8"] {
            let conditions = Conditions {
                options: options.split_whitespace().map(str::to_string).collect(),
                descriptors: Some(64),
            };
            let started = Subject::Command(command.clone()).start(&conditions);
            let error = started.unwrap_err().to_string();
            let (_, addr) = error.split_once("; it reported `@ 127.0.0.1:2").unwrap();
            assert_eq!(&addr[4..], format!("{options}`"));
        }
    }

    #[test]
    fn a_server_that_does_not_listen_ends_with_all_that_it_has_started() {
        // Whether its port is known, what it does, how long it's waited for, and what is said of it.
        let cases = "\
            true | sleep 1000 & exit 3 | 30 | ended before it listened (exit status: 3)
            true | sleep 1000; true | 1 | does not listen on 127.0.0.1:
            false | yes; true | 1 | `listening on IP:PORT` on stdout within 1 s; it printed `y`
            false | exec >&-; sleep 1000; true | 30 | closed its stdout before it said where
            false | echo listening on 192.0.2.7:80; sleep 1000 | 30 | nothing is sent there";
        for case in cases.lines() {
            let case: Vec<&str> = case.trim().split(" | ").collect();
            let free = (case[0] == "true").then(|| FreeAddr::find().unwrap());
            let command = command(&words(&["sh", "-c", case[1]]), None);
            let within = Duration::from_secs(case[2].parse().unwrap());
            let (stderr, output) = stderr();
            let started = spawn(command, free, stderr, &UnderWay::default(), within);
            let error = started.unwrap_err().to_string();
            assert!(error.contains(case[3]), "{error}");
            assert!(all_end(&output), "{case:?}");
        }
    }

    #[test]
    fn those_that_are_only_starting_are_ended_too() {
        let (stderr, output) = stderr();
        let (under_way, conditions) = (UnderWay::default(), Conditions::default());
        let script = "echo begun >&2; sleep 1000; true";
        let subject = Subject::Command(words(&["sh", "-c", script]));
        let error = thread::scope(|scope| {
            let start = || subject.start_with(&conditions, stderr, &under_way, START);
            let start = scope.spawn(start);
            let begun = |line: &str| (line == "begun").then_some(());
            assert!(output.find(Instant::now() + START, begun).is_ok());
            under_way.end();
            start.join().unwrap().unwrap_err().to_string()
        });
        assert!(error.ends_with("(signal: 9 (SIGKILL))"), "{error}");
        assert!(all_end(&output));
        let error = subject.start_among(&conditions, &under_way).unwrap_err();
        assert!(error.to_string().starts_with("nothing starts any more"));
    }
}
