//! Starting a command in a process group, and ending it with all that it has started.
//!
//! `process-wrap` would do most of it. But in a process that adopts orphans, like process 1 of a container, it
//! loses the exit status of a command that leaves children behind.

use std::{
    collections::BTreeMap,
    io,
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::Error;

/// How long to wait between two looks whether a command has ended. Whatever would tell us also frees the
/// command's number, or is known to one system only.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The commands that were started and not yet waited for, by the number of their process. Until then no other
/// process, and no other process group, can have the same number.
static STARTED: Mutex<BTreeMap<u32, UnderWay>> = Mutex::new(BTreeMap::new());

fn started() -> MutexGuard<'static, BTreeMap<u32, UnderWay>> {
    // A panic elsewhere cannot leave a map half-changed.
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Servers that can be ended together from anywhere: those that run, those that are only starting, and those
/// that would start later.
#[derive(Clone, Debug, Default)]
pub struct UnderWay {
    ended: Arc<AtomicBool>,
}

impl UnderWay {
    /// Starts a command in a process group of its own.
    pub(super) fn start(&self, command: &mut Command) -> Result<Group, Error> {
        #[cfg(unix)]
        {
            end_all_with_this_process();
            std::os::unix::process::CommandExt::process_group(command, 0);
        }
        // Held until the command is in the map, so that ending all of them misses none.
        let mut started = started();
        if self.ended.load(Ordering::Relaxed) {
            let why = "nothing starts any more: all that was under way has been ended";
            return Err(Error::Server(why.to_string()));
        }
        let program = command.get_program().display().to_string();
        let child = command.spawn();
        let child = child.map_err(|error| Error::io(format!("cannot start {program}"), error))?;
        started.insert(child.id(), self.clone());
        Ok(Group { child })
    }

    /// Ends all of them at once and lets no other start, so their conversations end soon, too.
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

/// A command and whatever it has started; dropping it ends all of them.
///
/// Windows has no process groups. There, what a command has started ends with it unless the command itself has
/// ended before.
#[derive(Debug)]
pub(super) struct Group {
    child: Child,
}

impl Group {
    /// The number of the command's process, and of its group.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the command writes, where that was asked for; only once.
    pub(super) fn pipes(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Sends a signal to all of them.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Error> {
        // Held meanwhile, so that the number stays the command's own.
        let started = started();
        let sent = match started.contains_key(&self.id()) {
            true => send(self.id(), signal),
            false => Err(io::Error::other("it has ended")),
        };
        sent.map_err(|error| Error::Server(error.to_string()))
    }

    /// Waits until the command has ended, and ends what it has left behind.
    pub(super) fn wait(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        let deadline = Instant::now() + within;
        loop {
            let ended = self.ended();
            if let Some(status) = ended.map_err(|error| Error::io("cannot wait for it", error))? {
                return Ok(status);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let still = format!("it still runs after {} s", within.as_secs());
                return Err(Error::Server(still));
            }
            thread::sleep(left.min(LOOK_AGAIN));
        }
    }

    fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        #[cfg(unix)]
        if started().contains_key(&self.id()) {
            use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
            // Looks without reaping the process: the rest of its group is found by its number.
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            if waitid(WaitId::Pid(Pid::from_child(&self.child)), look)?.is_none() {
                return Ok(None);
            }
        }
        #[cfg(not(unix))]
        if self.child.try_wait()?.is_none() {
            return Ok(None);
        }
        self.end().map(Some)
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        // In this order: once it has been waited for, its number may be another's.
        let mut started = started();
        if started.remove(&self.id()).is_some() {
            kill(self.id());
            // Waiting must not take forever, even if that failed.
            let _ = self.child.kill();
        }
        drop(started);
        self.child.wait()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Nothing asks how it ended any more.
        let _ = self.end();
    }
}

/// A signal to a server.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// As from Ctrl-C.
    Interrupt,
    /// As from a service manager.
    Terminate,
    /// Stop running until [`Signal::Resume`].
    Pause,
    /// Continue.
    Resume,
    /// End at once.
    Kill,
}

#[cfg(unix)]
fn send(group: u32, signal: Signal) -> io::Result<()> {
    use rustix::process::{Pid, Signal as Unix, kill_process_group};
    let signal = match signal {
        Signal::Interrupt => Unix::INT,
        Signal::Terminate => Unix::TERM,
        Signal::Pause => Unix::STOP,
        Signal::Resume => Unix::CONT,
        Signal::Kill => Unix::KILL,
    };
    let group = i32::try_from(group).ok().and_then(Pid::from_raw);
    let group = group.ok_or(io::ErrorKind::NotFound)?;
    Ok(kill_process_group(group, signal)?)
}

#[cfg(not(unix))]
fn send(process: u32, signal: Signal) -> io::Result<()> {
    if !matches!(signal, Signal::Kill) {
        return Err(io::Error::other("this system has no signals"));
    }
    // It kills the children, too, and theirs.
    let arguments = ["/f", "/t", "/pid", &process.to_string()];
    let killed = Command::new("taskkill").args(arguments).output();
    killed.map(|_| ())
}

fn kill(group: u32) {
    // They may have ended by themselves.
    let _ = send(group, Signal::Kill);
}

/// From the first call on, whatever tells this process to end ends the servers first: they have groups of their
/// own, so they get no Ctrl-C from the terminal, and don't notice when it's closed.
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
        // Without a handler, this process ends as it did before; that's no reason to start nothing.
        let Ok(mut signals) = Signals::new(TERM_SIGNALS.iter().copied().chain(hang_up)) else {
            return;
        };
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // Held to the end, so that no other server starts.
                let started = started();
                started.keys().copied().for_each(kill);
                // A process that a signal has ended stops the shell script that runs it. Where that fails, the
                // status says the same.
                let _ = emulate_default_handler(signal);
                std::process::exit(128 + signal);
            }
        });
    });
}

/// Whether this process is meant to outlive the terminal, as with `nohup`; known on Linux only.
#[cfg(unix)]
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // A mask, whose first bit stands for the first signal.
    ignored
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << (signal_hook::consts::SIGHUP - 1)) != 0)
}
