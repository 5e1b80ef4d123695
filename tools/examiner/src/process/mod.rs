//! The servers that conversations are played with: programs that are started for it, or one that runs.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, BufRead, BufReader, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    ops::Range,
    path::{Path, PathBuf},
    process::{self, Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::{
    conversation::{Action, Conditions, Conversation},
    shown::shown_up_to,
};
use socket2::{Domain, Socket, Type};

mod usage;

pub use usage::{Process, Threads, raise_descriptor_limit};

/// How long a server may take until it listens: one in another language, on a machine that is busy.
const START: Duration = Duration::from_secs(30);

/// How long a server may take to be reached that runs already.
const REACHED: Duration = Duration::from_secs(4);

/// How long to wait after the first try to connect to a server that does not say when it listens. It is
/// half as long again after each further one, up to [`RARELY`]: one that starts slowly is not asked often.
const TRY_AGAIN: Duration = Duration::from_millis(10);
/// The longest wait between two such tries.
const RARELY: Duration = Duration::from_secs(1);

/// How long to wait between two looks whether a server has ended. Every way to be told of it takes the
/// number of the process away as well, or is known to one system only.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What stands for the address in a command.
pub const ADDR: &str = "{addr}";

/// What stands in a command for the options that a conversation needs.
const OPTIONS: &str = "{options}";

/// How many of the last lines that a server has written are shown to people.
const LAST_WORDS: usize = 5;

/// How long the last line of a server that has ended may be on its way to us.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// How many characters of a line of a server's output are shown to people, at most.
const LONGEST_SHOWN: usize = 400;

/// The longest line of a server's output that is kept whole, in bytes.
const LONGEST_LINE: u64 = 16 * 1024;

/// How much of a server's stderr is kept, in bytes: the latest.
const MOST_KEPT: usize = 1024 * 1024;

/// Which server conversations are played with.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A program with the interface of the book: it takes the address as its argument and prints
    /// `listening on IP:PORT`.
    Program(PathBuf),
    /// A command in whose arguments `{addr}` stands for the address, and `{options}` for the options
    /// that a conversation needs. When it listens is found out.
    ///
    /// It may start the server as another process, as `npm start` or a script without `exec` does: a signal
    /// goes to the command and to what it has started, as Ctrl-C at a terminal would, and all of them are
    /// killed in the end. What is measured (memory, processor time, whether it is paused) is the process
    /// of the command alone, and its exit status is the one that counts.
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
    /// Why this conversation cannot be played with this server, if it cannot.
    pub fn cannot_play(&self, conversation: &Conversation) -> Option<&'static str> {
        if !conversation.platform.is_here() {
            return Some("this system does not offer what it needs");
        }
        let Conditions {
            descriptors,
            options,
        } = &conversation.conditions;
        let needs_process = conversation
            .steps
            .iter()
            .any(|step| step.action.needs_process());
        match self {
            Subject::Program(_) => None,
            Subject::Command(words) => {
                let takes_options = words.iter().any(|word| word.contains(OPTIONS));
                (!options.is_empty() && !takes_options)
                    .then_some("it needs options, and the command has no {options}")
            }
            Subject::Addr(_) => (needs_process || descriptors.is_some() || !options.is_empty())
                .then_some("it needs a server that is started for it"),
        }
    }

    /// Starts the server for one conversation, under its conditions, and waits until it listens. One
    /// that runs already is only looked for.
    ///
    /// # Errors
    ///
    /// Says why it cannot be started, or what it does instead of listening.
    pub fn start(&self, conditions: &Conditions) -> Result<Server, String> {
        self.start_among(conditions, &UnderWay::default())
    }

    /// The same, and the server is one of those that are under way together.
    ///
    /// # Errors
    ///
    /// As [`Subject::start`]; and when those that are under way have been ended.
    pub fn start_among(
        &self,
        conditions: &Conditions,
        under_way: &UnderWay,
    ) -> Result<Server, String> {
        self.start_with(conditions, Stdio::piped(), under_way, START)
    }

    /// The same, but what the server writes to stderr goes there, and the value knows nothing of it.
    ///
    /// # Errors
    ///
    /// As [`Subject::start`].
    pub fn start_reporting_to(
        &self,
        conditions: &Conditions,
        stderr: Stdio,
    ) -> Result<Server, String> {
        self.start_with(conditions, stderr, &UnderWay::default(), START)
    }

    /// The same for a server that may take so long until it listens.
    fn start_with(
        &self,
        conditions: &Conditions,
        stderr: Stdio,
        under_way: &UnderWay,
        within: Duration,
    ) -> Result<Server, String> {
        let Conditions {
            descriptors,
            options,
        } = conditions;
        match self {
            Subject::Program(program) => {
                let program = program.to_string_lossy().into_owned();
                let mut words = vec![program, "127.0.0.1:0".to_string()];
                words.extend_from_slice(options);
                let command = command(&words, *descriptors);
                Server::spawn(command, stderr, None, under_way, within)
            }
            Subject::Command(words) => {
                let free =
                    FreeAddr::find().map_err(|error| format!("there is no free port: {error}"))?;
                let words: Vec<String> = words
                    .iter()
                    .flat_map(|word| match word.as_str() {
                        OPTIONS => options.clone(),
                        word => vec![
                            word.replace(ADDR, &free.addr.to_string())
                                .replace(OPTIONS, &options.join(" ")),
                        ],
                    })
                    .collect();
                let command = command(&words, *descriptors);
                Server::spawn(command, stderr, Some(free), under_way, within)
            }
            Subject::Addr(addr) => {
                TcpStream::connect_timeout(addr, REACHED.min(within))
                    .map_err(|error| format!("cannot reach a server on {addr}: {error}"))?;
                let reports = Arc::<Reports>::default();
                // What it writes goes elsewhere, and nobody is to wait for it here.
                reports.add(None);
                Ok(Server {
                    child: None,
                    addr: *addr,
                    free: None,
                    reports,
                    memory_at_start: None,
                })
            }
        }
    }
}

impl Action {
    /// Whether it is done to the process of the server, or seen of it, and not over a socket.
    fn needs_process(&self) -> bool {
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

fn command(words: &[String], descriptors: Option<u32>) -> Command {
    let mut command = match descriptors {
        None => Command::new(&words[0]),
        Some(limit) => {
            // The standard library cannot set a limit for a child; every Unix shell can.
            let mut shell = Command::new("sh");
            shell.arg("-c");
            shell.arg(format!("ulimit -n {limit} && exec \"$0\" \"$@\""));
            shell.arg(&words[0]);
            shell
        }
    };
    command.args(&words[1..]);
    command
}

/// An address of loopback that is free, and that no other process which asks for one gets as long as this
/// value lives.
#[derive(Debug)]
pub struct FreeAddr {
    addr: SocketAddr,
    /// The port of UDP with the same number, which only one process can have. A server needs that of TCP.
    _taken: UdpSocket,
}

impl FreeAddr {
    /// Finds one. Its port is below those that systems hand out by themselves.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn find() -> io::Result<FreeAddr> {
        const PORTS: Range<u32> = 20_000..30_000;
        static GIVEN_AWAY: AtomicU32 = AtomicU32::new(0);
        for _ in PORTS {
            // Two processes start at different ports, and one does not use a port again at once.
            let number = GIVEN_AWAY
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_add(process::id().wrapping_mul(97));
            let port = PORTS.start + number % (PORTS.end - PORTS.start);
            let addr =
                SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap_or_default()));
            // Whoever holds the first may be about to listen, so the second is not even tried then.
            if let Ok(_taken) = UdpSocket::bind(addr)
                && can_be_listened_on(addr)?
            {
                return Ok(FreeAddr { addr, _taken });
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Whether nobody listens there. Does not listen itself: a process that is just being started would have a
/// copy of the listener for a moment, and whoever waits for the server would be let in there.
fn can_be_listened_on(addr: SocketAddr) -> io::Result<bool> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    // As those who listen say, so that neither is in the way of the other.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    Ok(socket.bind(&addr.into()).is_ok())
}

/// A server that was started for one conversation, and is ended with this value; or one that runs
/// already, and goes on.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    addr: SocketAddr,
    /// Where it listens, if that was found for it: nobody else is to find the same.
    free: Option<FreeAddr>,
    reports: Arc<Reports>,
    /// Of memory, in kilobytes, when it had started.
    memory_at_start: Option<u64>,
}

/// The lines that a server has written to stderr.
#[derive(Debug, Default)]
struct Reports {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    /// The latest; older ones make room for them.
    kept: VecDeque<String>,
    /// What they need, in bytes.
    size: usize,
    /// How many are kept no more.
    dropped: usize,
    /// Whether no more can come.
    ended: bool,
    /// How many of all lines, kept or not, a conversation has been through.
    seen: usize,
}

impl Lines {
    fn add(&mut self, line: String) {
        // A short line needs more than its text.
        let size = |line: &String| line.len() + size_of::<String>();
        self.size += size(&line);
        self.kept.push_back(line);
        while self.size > MOST_KEPT
            && let Some(oldest) = self.kept.pop_front()
        {
            self.size -= size(&oldest);
            self.dropped += 1;
        }
    }

    /// How many there were, kept or not.
    fn count(&self) -> usize {
        self.dropped + self.kept.len()
    }

    /// Those that are kept and come after so many of all, each with its place among all.
    fn after(&self, count: usize) -> impl Iterator<Item = (usize, &str)> {
        let skipped = count.saturating_sub(self.dropped);
        (self.dropped + skipped..).zip(self.kept.range(skipped..).map(String::as_str))
    }
}

impl Reports {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        // A panic elsewhere cannot leave a list of lines half-changed.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of a server that has ended, with the last ones, which may still be on their way.
    fn all(&self) -> MutexGuard<'_, Lines> {
        self.changed
            .wait_timeout_while(self.lock(), ON_ITS_WAY, |lines| !lines.ended)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn add(&self, line: Option<String>) {
        let mut lines = self.lock();
        match line {
            Some(line) => lines.add(line),
            None => lines.ended = true,
        }
        self.changed.notify_all();
    }
}

impl Server {
    /// Starts a program of the book on this address, and waits until it listens.
    ///
    /// # Errors
    ///
    /// As [`Subject::start`].
    pub fn start_on(program: &Path, addr: &str) -> Result<Server, String> {
        let words = [program.to_string_lossy().into_owned(), addr.to_string()];
        let (command, under_way) = (command(&words, None), UnderWay::default());
        Server::spawn(command, Stdio::piped(), None, &under_way, START)
    }

    /// Starts a server. It says where it listens, unless that is known.
    fn spawn(
        mut command: Command,
        stderr: Stdio,
        free: Option<FreeAddr>,
        under_way: &UnderWay,
        within: Duration,
    ) -> Result<Server, String> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr);
        let mut child = under_way.start(&mut command)?;
        let reports = Arc::new(Reports::default());
        match child.stderr.take() {
            Some(stderr) => {
                let reports = Arc::clone(&reports);
                each_line(stderr, move |line| reports.add(line));
            }
            None => reports.add(None),
        }
        // What a server prints without end must not pile up here.
        let (sender, stdout) = mpsc::sync_channel(1);
        if let Some(pipe) = child.stdout.take() {
            // Nobody waits for these lines any more once the server has started.
            each_line(pipe, move |line| drop(sender.send(line)));
        }
        let mut server = Server {
            child: Some(child),
            addr: SocketAddr::from((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)),
            free,
            reports,
            memory_at_start: None,
        };
        server.addr = match server.free.as_ref().map(FreeAddr::addr) {
            None => server.announced(&stdout, within)?,
            Some(addr) => {
                drop(stdout);
                server.found_at(addr, within)?
            }
        };
        server.memory_at_start = server.memory();
        Ok(server)
    }

    /// The address that the server says it listens on.
    fn announced(
        &mut self,
        stdout: &mpsc::Receiver<Option<String>>,
        within: Duration,
    ) -> Result<SocketAddr, String> {
        let deadline = Instant::now() + within;
        let mut said = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // There may always be one more line.
            let line = match left.is_zero() {
                true => Err(mpsc::RecvTimeoutError::Timeout),
                false => stdout.recv_timeout(left),
            };
            match line {
                Ok(Some(line)) => {
                    let addr = line.strip_prefix("listening on ").map(str::parse);
                    match addr {
                        Some(Ok(addr)) => return here(addr),
                        _ if said.is_empty() => said = format!("; it printed `{}`", shown(&line)),
                        _ => {}
                    }
                }
                Ok(None) | Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(self.ended_early(&said));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(format!(
                        "the server did not print `listening on IP:PORT` on stdout within {} s{said}",
                        within.as_secs()
                    ));
                }
            }
        }
    }

    /// Waits until somebody listens there.
    fn found_at(&mut self, addr: SocketAddr, within: Duration) -> Result<SocketAddr, String> {
        let deadline = Instant::now() + within;
        let mut pause = TRY_AGAIN;
        while Instant::now() < deadline {
            if TcpStream::connect_timeout(&addr, within).is_ok() {
                return Ok(addr);
            }
            if self.wait(pause).is_ok() {
                return Err(self.ended_early(""));
            }
            pause = (pause * 3 / 2).min(RARELY);
        }
        Err(format!(
            "the command does not listen on {addr} within {} s; {ADDR} stands for the address in its \
             arguments",
            within.as_secs()
        ))
    }

    fn ended_early(&mut self, said: &str) -> String {
        let Ok(status) = self.wait(ON_ITS_WAY) else {
            return format!("the server closed its stdout before it said where it listens{said}");
        };
        let reported = match self.reports.all().kept.back() {
            Some(line) => format!("; it reported `{}`", shown(line)),
            // Those who learn async Rust have all done it.
            None if status.success() && self.free.is_none() && said.is_empty() => {
                "; a future does nothing until it is awaited, or run with `block_on`".to_string()
            }
            None => String::new(),
        };
        format!("the server ended before it listened ({status}){said}{reported}")
    }

    /// Ends the server, and returns what it wrote to stderr at last: where it panicked, if it did, or a
    /// few lines, but not those that every server of the book writes for each connection.
    pub fn last_words(mut self) -> Vec<String> {
        if let Some(child) = &mut self.child {
            // What it wrote is there, whether it can be ended or not.
            let _ = end(child);
        }
        let lines = self.reports.all();
        let special = |line: &&String| !line.is_empty() && !line.starts_with("accepted ");
        let words: Vec<&String> = lines.kept.iter().filter(special).collect();
        // How it came to a panic may be long, and follows it.
        let panic = words
            .iter()
            .rposition(|line| line.contains(" panicked at "));
        let start = panic.unwrap_or(words.len().saturating_sub(LAST_WORDS));
        let last = words[start..].iter().take(LAST_WORDS);
        last.map(|line| shown(line)).collect()
    }

    /// The number of its process, if it was started for this.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How much more memory the server has needed at any time than it had at its start, in
    /// megabytes; known on Linux only, and while it runs.
    pub fn grown(&self) -> Option<u64> {
        Some(self.memory()?.saturating_sub(self.memory_at_start?) / 1024)
    }

    /// How many files and sockets the server has open; known on Linux only, and while it runs.
    pub fn descriptors(&self) -> Option<usize> {
        let id = self.child.as_ref()?.id();
        Some(std::fs::read_dir(format!("/proc/{id}/fd")).ok()?.count())
    }

    /// The most memory that the server ever had, in kilobytes.
    fn memory(&self) -> Option<u64> {
        let id = self.child.as_ref()?.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    }

    /// Sends the server a signal.
    ///
    /// # Errors
    ///
    /// Says so where there are no signals, or the server has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        #[cfg(unix)]
        {
            use rustix::process::Signal as Unix;
            let signal = match signal {
                Signal::Interrupt => Unix::INT,
                Signal::Terminate => Unix::TERM,
                Signal::Pause => Unix::STOP,
                Signal::Resume => Unix::CONT,
            };
            // Nobody waits for the server meanwhile, so the number stays its own.
            let started = started();
            match self.id().filter(|id| started.contains_key(id)) {
                Some(id) => send(id, signal).map_err(|error| error.to_string()),
                None => Err("it has ended".to_string()),
            }
        }
        #[cfg(not(unix))]
        {
            let _ = signal;
            Err("this system has no signals".into())
        }
    }

    /// Waits until the server stands still, after [`Signal::Pause`]; known on Linux only.
    pub fn wait_until_paused(&self, deadline: Instant) {
        let Some(child) = &self.child else { return };
        let threads = format!("/proc/{}/task", child.id());
        // The state is the first field after the name, which ends in the last bracket. Each thread
        // stops for itself. A thread that is gone, or a system without these files, is not waited for.
        let paused = || {
            let threads = std::fs::read_dir(&threads).into_iter().flatten().flatten();
            threads.into_iter().all(|thread| {
                let stat = std::fs::read_to_string(thread.path().join("stat"));
                let stat = stat.unwrap_or_default();
                stat.rsplit_once(") ")
                    .is_none_or(|(_, state)| state.starts_with('T'))
            })
        };
        while !paused() && Instant::now() < deadline {
            thread::yield_now();
        }
    }

    /// Waits until the server has ended.
    ///
    /// # Errors
    ///
    /// Says so if it has not in that time.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus, String> {
        let child = self
            .child
            .as_mut()
            .ok_or("the server was not started for this")?;
        let deadline = Instant::now() + within;
        loop {
            match ended(child) {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) => return Err(format!("cannot wait for it: {error}")),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("it still runs after {} s", within.as_secs()));
            }
            thread::sleep(left.min(LOOK_AGAIN));
        }
    }

    /// Whether the server has shown that it follows the stages of the book: it reports the connections that
    /// it accepts as they do, `accepted IP:PORT`.
    pub fn follows_our_stages(&mut self) -> bool {
        let has_ended = self.wait(Duration::ZERO).is_ok();
        let lines = if has_ended {
            self.reports.all()
        } else {
            self.reports.lock()
        };
        let mut accepted = lines
            .kept
            .iter()
            .filter_map(|line| line.strip_prefix("accepted "));
        accepted.any(|addr| addr.parse::<SocketAddr>().is_ok())
    }

    /// Waits until the server has written this line to stderr, after those that were seen before.
    ///
    /// # Errors
    ///
    /// Says what it has written instead.
    pub fn reports(&self, wanted: &str, deadline: Instant) -> Result<(), String> {
        let mut lines = self.reports.lock();
        let mut looked_at = lines.seen;
        loop {
            let found = lines.after(looked_at).find(|(_, line)| *line == wanted);
            let found = found.map(|(place, _)| place);
            if let Some(place) = found {
                lines.seen = place + 1;
                return Ok(());
            }
            looked_at = lines.count();
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.ended || left.is_zero() {
                let new: Vec<&str> = lines.after(lines.seen).map(|(_, line)| line).collect();
                return Err(match new.as_slice() {
                    [] if lines.ended => "it reports nothing, and ends".to_string(),
                    [] => "it reports nothing".to_string(),
                    [.., last] if new.len() > 5 => {
                        let others = lines.count() - lines.seen;
                        format!(
                            "it reports {others} other lines, the last `{}`",
                            shown(last)
                        )
                    }
                    new => {
                        let new: Vec<String> = new.iter().map(|line| shown(line)).collect();
                        format!("it reports `{}`", new.join("`, `"))
                    }
                });
            }
            lines = self
                .reports
                .changed
                .wait_timeout(lines, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Nobody asks any more how it ended.
            let _ = end(child);
        }
    }
}

/// The servers that this process has started and not yet waited for, by the number of their process, each
/// with those that it is under way with. As long as one is here, its number is its own, and so is that of
/// its process group, which is the same.
static STARTED: Mutex<BTreeMap<u32, UnderWay>> = Mutex::new(BTreeMap::new());

fn started() -> MutexGuard<'static, BTreeMap<u32, UnderWay>> {
    // A panic elsewhere cannot leave a map half-changed.
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Servers that can be ended together, wherever they are: those that run, those that are only starting,
/// and those that would start later.
#[derive(Clone, Debug, Default)]
pub struct UnderWay {
    ended: Arc<AtomicBool>,
}

impl UnderWay {
    /// Starts a server in a process group of its own, with whatever it starts itself.
    fn start(&self, command: &mut Command) -> Result<Child, String> {
        #[cfg(unix)]
        {
            end_all_with_this_process();
            std::os::unix::process::CommandExt::process_group(command, 0);
        }
        // Kept until the server is known, so that whoever ends all of them misses none.
        let mut started = started();
        if self.ended.load(Ordering::Relaxed) {
            return Err("nobody waits for it any more".to_string());
        }
        let child = command.spawn().map_err(|error| {
            let program = command.get_program().display();
            format!("cannot start {program}: {error}")
        })?;
        started.insert(child.id(), self.clone());
        Ok(child)
    }

    /// Ends all of them, and lets no other start; then their conversations do not take long. Where that
    /// takes more than the number of a process, those that run go on.
    pub fn end(&self) {
        let started = started();
        self.ended.store(true, Ordering::Relaxed);
        for (id, under_way) in started.iter() {
            if Arc::ptr_eq(&under_way.ended, &self.ended) {
                kill(*id);
            }
        }
    }
}

/// From the first call on, whatever tells this process to end ends the servers first: they have groups of
/// their own, so Ctrl-C at the terminal does not reach them, nor do they notice when it is closed.
#[cfg(unix)]
fn end_all_with_this_process() {
    use signal_hook::{
        consts::{SIGHUP, TERM_SIGNALS},
        iterator::Signals,
        low_level::emulate_default_handler,
    };
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let hang_up = (!ignores_hang_up()).then_some(SIGHUP);
        // Without a handler this process ends as it did before; that is no reason to start nothing.
        let Ok(mut signals) = Signals::new(TERM_SIGNALS.iter().copied().chain(hang_up)) else {
            return;
        };
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // Kept to the end, so that no other server starts.
                let started = started();
                started.keys().copied().for_each(kill);
                // It ends by the signal itself, so that a shell with more to do stops, too; where that fails,
                // the status says the same.
                let _ = emulate_default_handler(signal);
                process::exit(128 + signal);
            }
        });
    });
}

/// Whether whoever started this process wants it to outlive the terminal, as `nohup` does; known on Linux
/// only.
#[cfg(unix)]
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // A mask, in which the first bit stands for the first signal.
    ignored
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << (signal_hook::consts::SIGHUP - 1)) != 0)
}

/// Sends a signal to a server and to what it has started.
#[cfg(unix)]
fn send(id: u32, signal: rustix::process::Signal) -> rustix::io::Result<()> {
    let group = i32::try_from(id)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .ok_or(rustix::io::Errno::SRCH)?;
    rustix::process::kill_process_group(group, signal)
}

/// Ends a server and what it has started, where its number is enough for that.
fn kill(id: u32) {
    #[cfg(unix)]
    // They may have ended by themselves.
    let _ = send(id, rustix::process::Signal::KILL);
    #[cfg(not(unix))]
    let _ = id;
}

/// How a server has ended, if it has; then it leaves nothing behind that runs.
fn ended(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    #[cfg(unix)]
    if started().contains_key(&child.id()) {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
        // Leaves it there to be waited for, since what it has started is found by its number.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if waitid(WaitId::Pid(Pid::from_child(child)), look)?.is_none() {
            return Ok(None);
        }
    }
    #[cfg(not(unix))]
    if child.try_wait()?.is_none() {
        return Ok(None);
    }
    end(child).map(Some)
}

/// Ends a server and what it has started, and waits for it.
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    // In this order: once it has been waited for, its number may be another's.
    let mut started = started();
    if started.contains_key(&child.id()) {
        kill(child.id());
        started.remove(&child.id());
    }
    drop(started);
    #[cfg(not(unix))]
    // It may have ended by itself; there is nothing to kill then.
    let _ = child.kill();
    child.wait()
}

/// Where a server is reached that says that it listens there: on this machine, or nowhere, since what a
/// conversation sends is for nobody else.
fn here(addr: SocketAddr) -> Result<SocketAddr, String> {
    if addr.port() == 0 {
        return Err(format!(
            "the server says that it listens on {addr}; port 0 is what it was asked for, and the listener's \
             `local_addr` tells which port it got"
        ));
    }
    let reached = reached_at(addr);
    match reached.ip().to_canonical().is_loopback() {
        true => Ok(reached),
        false => Err(format!(
            "the server says that it listens on {addr}, which is not the loopback address that it was \
             given, so nothing is sent there"
        )),
    }
}

/// Where a server is reached that listens there: one that listens everywhere, on loopback, since not every
/// system connects to everywhere.
pub(crate) fn reached_at(mut addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    addr
}

/// What a server has written, for people.
fn shown(line: &str) -> String {
    shown_up_to(LONGEST_SHOWN, line.as_bytes())
}

/// Calls `with` for each line, in a thread of its own, and with `None` at the end. A line that is too
/// long comes in pieces; bytes that are not UTF-8 come as replacement characters.
fn each_line(pipe: impl Read + Send + 'static, with: impl Fn(Option<String>) + Send + 'static) {
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        loop {
            let mut line = Vec::new();
            match pipe
                .by_ref()
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut line)
            {
                Ok(0) | Err(_) => break with(None),
                Ok(_) => {
                    let line = String::from_utf8_lossy(&line);
                    with(Some(line.trim_end_matches(['\n', '\r']).to_string()));
                }
            }
        }
    });
}

/// A signal to a server.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// As from Ctrl-C.
    Interrupt,
    /// As from a service manager.
    Terminate,
    /// Stop in its tracks.
    Pause,
    /// Go on.
    Resume,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn options_follow_the_address() {
        let says_and_ends = r#"shift; echo "$*" >&2; exit 3"#;
        let words = ["sh", "-c", says_and_ends, "sh", ADDR, OPTIONS].map(str::to_string);
        let subject = Subject::Command(words.to_vec());
        for (options, reported) in [
            (vec![], "it reported ``"),
            (vec!["--max-line", "8192"], "it reported `--max-line 8192`"),
        ] {
            let conditions = Conditions {
                options: options.into_iter().map(str::to_string).collect(),
                ..Conditions::default()
            };
            let error = subject.start(&conditions).unwrap_err();
            assert!(error.ends_with(reported), "{error}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_server_that_never_listens_is_waited_for_no_longer_than_that() {
        let short = Duration::from_secs(1);
        let start = |subject: Subject| {
            subject
                .start_with(
                    &Conditions::default(),
                    Stdio::piped(),
                    &UnderWay::default(),
                    short,
                )
                .unwrap_err()
        };
        let silent = start(Subject::Command(
            ["sleep", "1000"].map(str::to_string).to_vec(),
        ));
        assert!(
            silent.starts_with("the command does not listen on 127.0.0.1:"),
            "{silent}"
        );
        assert!(
            silent.contains(" within 1 s; {addr} stands for"),
            "{silent}"
        );
        let closed = ["sh", "-c", "exec >&-; exec sleep 1000"].map(str::to_string);
        let silent = Server::spawn(
            command(&closed, None),
            Stdio::piped(),
            None,
            &UnderWay::default(),
            START,
        );
        assert_eq!(
            silent.unwrap_err(),
            "the server closed its stdout before it said where it listens"
        );
        // It prints its argument without end.
        let talks = start(Subject::Program("yes".into()));
        assert_eq!(
            talks,
            "the server did not print `listening on IP:PORT` on stdout within 1 s; it printed `127.0.0.1:0`"
        );
    }

    /// A stderr for servers, and what tells when all that have it have ended.
    #[cfg(unix)]
    fn stderr() -> (Stdio, mpsc::Receiver<Option<String>>) {
        let (reader, writer) = io::pipe().unwrap();
        let (sender, lines) = mpsc::channel();
        each_line(reader, move |line| sender.send(line).unwrap());
        (writer.into(), lines)
    }

    #[test]
    #[cfg(unix)]
    fn what_a_command_has_started_ends_with_it() {
        for (script, says) in [
            ("sleep 1000 & exit 3", "the server ended before it listened"),
            ("sleep 1000; true", "the command does not listen on"),
        ] {
            let (stderr, lines) = stderr();
            let subject = Subject::Command(["sh", "-c", script].map(str::to_string).to_vec());
            let error = subject
                .start_with(
                    &Conditions::default(),
                    stderr,
                    &UnderWay::default(),
                    Duration::from_secs(1),
                )
                .unwrap_err();
            assert!(error.starts_with(says), "{error}");
            assert_eq!(lines.recv_timeout(START), Ok(None), "{script}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn those_that_are_only_starting_are_ended_too() {
        let (stderr, lines) = stderr();
        let script = "echo begun >&2; sleep 1000; true";
        let subject = Subject::Command(["sh", "-c", script].map(str::to_string).to_vec());
        let (under_way, conditions) = (UnderWay::default(), Conditions::default());
        let error = thread::scope(|scope| {
            let start = scope.spawn(|| subject.start_with(&conditions, stderr, &under_way, START));
            assert_eq!(lines.recv_timeout(START), Ok(Some("begun".to_string())));
            under_way.end();
            start.join().unwrap().unwrap_err()
        });
        assert_eq!(
            error,
            "the server ended before it listened (signal: 9 (SIGKILL))"
        );
        assert_eq!(lines.recv_timeout(START), Ok(None));
        let error = subject.start_among(&conditions, &under_way).unwrap_err();
        assert_eq!(error, "nobody waits for it any more");
    }

    #[test]
    #[cfg(unix)]
    fn a_server_is_looked_for_on_this_machine_only() {
        for (said, reached) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("127.1.2.3:80", "127.1.2.3:80"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("[::]:80", "[::1]:80"),
            ("[::ffff:127.0.0.1]:80", "[::ffff:127.0.0.1]:80"),
        ] {
            assert_eq!(
                here(said.parse().unwrap()).unwrap(),
                reached.parse().unwrap()
            );
        }
        for elsewhere in ["192.0.2.7:80", "[2001:db8::7]:80", "[::ffff:192.0.2.7]:80"] {
            let error = here(elsewhere.parse().unwrap()).unwrap_err();
            let says = format!("the server says that it listens on {elsewhere}, which is not");
            assert!(error.starts_with(&says), "{error}");
        }
        let asked_for = here("127.0.0.1:0".parse().unwrap()).unwrap_err();
        assert!(asked_for.contains("; port 0 is what it was asked for"));
        // What it says is judged wherever it is said.
        let says = "echo listening on 192.0.2.7:80; exec sleep 1000";
        let error = Server::spawn(
            command(&["sh", "-c", says].map(str::to_string), None),
            Stdio::piped(),
            None,
            &UnderWay::default(),
            START,
        )
        .unwrap_err();
        assert!(error.ends_with("so nothing is sent there"), "{error}");
    }

    fn reporting(reports: &Arc<Reports>) -> Server {
        Server {
            child: None,
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            free: None,
            reports: Arc::clone(reports),
            memory_at_start: None,
        }
    }

    #[test]
    fn the_latest_reports_are_kept_and_no_more_than_fit() {
        let reports = Arc::default();
        let server = reporting(&reports);
        reports.add(Some("first".to_string()));
        server.reports("first", Instant::now()).unwrap();
        let long = "x".repeat(LONGEST_LINE as usize);
        for (line, times) in [("", MOST_KEPT / 10), (&long, 1000)] {
            for _ in 0..times {
                reports.add(Some(line.to_string()));
            }
            let lines = reports.lock();
            let needed = lines
                .kept
                .iter()
                .map(|line| line.len() + size_of::<String>());
            assert!((MOST_KEPT / 2..=MOST_KEPT).contains(&needed.sum()));
        }
        let error = server.reports("last", Instant::now()).unwrap_err();
        let others = format!(
            "it reports {} other lines, the last `x",
            MOST_KEPT / 10 + 1000
        );
        assert!(error.starts_with(&others), "{:.100}", error);
        reports.add(Some("last".to_string()));
        reports.add(Some("more".to_string()));
        server.reports("last", Instant::now()).unwrap();
        let error = server.reports("last", Instant::now()).unwrap_err();
        assert_eq!(error, "it reports `more`");
    }

    #[test]
    fn no_other_process_finds_the_same_address() {
        let free = FreeAddr::find().unwrap();
        // What another process does first when it comes to this port.
        let error = UdpSocket::bind(free.addr).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        // The server itself is not kept from it.
        std::net::TcpListener::bind(free.addr).unwrap();
    }

    #[test]
    fn a_command_without_a_place_for_options_gets_none() {
        let text =
            "conversation c since=\"09-limits\" options=\"--max-line 8192\" { about \"…\"; }";
        let conversation = &crate::conversation::parse("test.kdl", text).unwrap()[0];
        let command =
            |words: &[&str]| Subject::Command(words.iter().map(|word| word.to_string()).collect());
        let why = command(&["chat", ADDR]).cannot_play(conversation);
        assert_eq!(
            why,
            Some("it needs options, and the command has no {options}")
        );
        let why = command(&["chat", ADDR, OPTIONS]).cannot_play(conversation);
        assert_eq!(why, None);
        let addr = Subject::Addr(FreeAddr::find().unwrap().addr).cannot_play(conversation);
        assert!(addr.is_some());
    }
}
