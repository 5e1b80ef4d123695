//! What the server of a conversation is put through, and what it must do.

use std::{
    io::{ErrorKind, Read as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use super::{
    client::{Missed, Wait, is_timeout, missed},
    transcript::{Note, did},
};
use crate::{
    conversation::TRIES_TO_CONNECT,
    process::{Process, Server, Signal, Threads},
};

/// How long a connection attempt may take once the time is up: a refusal comes at once.
const LAST_TRY: Duration = Duration::from_millis(100);

/// How long the first connection may stay open before the next attempt; it doubles with each attempt.
const STILL_OPEN: Duration = Duration::from_millis(20);

/// The most that an idle server may use of one processor.
const IDLE_PERCENT: f64 = 5.0;

/// A server is at rest when none of its threads has run for this long.
const AT_REST: Duration = Duration::from_millis(50);

/// How long to wait instead where the system doesn't say what the threads do.
const UNKNOWN_REST: Duration = Duration::from_secs(1);

/// A server, and what is demanded of it.
pub(super) struct Examined<'a> {
    pub(super) server: &'a mut Server,
    /// Whether it may be anyone's, see [`super::Rules::stranger`].
    pub(super) stranger: bool,
    /// Whether the specification says with which status it ends.
    pub(super) fixes_status: bool,
}

impl Examined<'_> {
    /// Whether to demand what no rule of the specification asks for.
    fn is_ours(&mut self) -> bool {
        !self.stranger || self.server.follows_our_stages()
    }

    /// Expects this line on stderr, unless the server is a stranger's.
    pub(super) fn reports(&mut self, line: &str, wait: Wait) -> Result<Note, Missed> {
        if !self.is_ours() {
            // What comes next may need what the line stands for. A server that has ended needs no time.
            let _ = self.catches_up(wait);
        }
        let is_ours = self.is_ours();
        let deadline = if is_ours {
            wait.deadline
        } else {
            Instant::now()
        };
        match self.server.reports(line, deadline) {
            Ok(()) => Ok(('|', line.to_string())),
            Err(_) if !is_ours => Ok(did(format!("need not report `{line}`"))),
            Err(seen) => Err(missed(format!("the server reports `{line}`"), seen)),
        }
    }

    pub(super) fn gets(&mut self, signal: Signal, note: &str, wait: Wait) -> Result<Note, Missed> {
        let stops = matches!(signal, Signal::Interrupt | Signal::Terminate);
        if stops && !self.is_ours() {
            // By then a server of ours would have shown itself: it reports whom it has accepted.
            self.catches_up(wait)?;
        }
        let sent = self.server.signal(signal);
        sent.map_err(|error| missed("to signal the server", error))?;
        if let Signal::Pause = signal {
            self.server.wait_until_paused(wait.deadline);
        }
        Ok(did(note))
    }

    /// Expects the end of the server, and this status where a rule fixes it.
    pub(super) fn exits(&mut self, wanted: i32, wait: Wait) -> Result<Note, Missed> {
        let status = self.server.wait(wait.within).map_err(|seen| {
            // Whether it still listens tells where it is stuck.
            let listens = match TcpStream::connect_timeout(&self.server.addr(), LAST_TRY) {
                Ok(_) => "takes connections",
                Err(_) => "takes no connections",
            };
            missed("the server ends", format!("{seen} and {listens}"))
        })?;
        if status.code() == Some(wanted) {
            return Ok(did(format!("ends with status {wanted}")));
        }
        if !self.fixes_status && !self.is_ours() {
            return Ok(did(format!("ends ({status})")));
        }
        let seen = format!("it ended with {status}");
        Err(missed(format!("exit status {wanted}"), seen))
    }

    /// Connects until that fails.
    pub(super) fn refuses_connections(&self, wait: Wait) -> Result<Note, Missed> {
        let mut open = STILL_OPEN;
        for _ in 0..TRIES_TO_CONNECT {
            let left = || wait.left().max(LAST_TRY);
            let mut stream = match TcpStream::connect_timeout(&self.server.addr(), left()) {
                Ok(stream) => stream,
                // An attempt times out when the queue of an open listener is full.
                Err(error) if error.kind() == ErrorKind::TimedOut => break,
                Err(_) => return Ok(did("refuses connections")),
            };
            // A listener that closes resets the connections in its queue, and a server that stops closes
            // those that it has accepted. So the end of most connections tells when to try again, perhaps a
            // little early. But Linux may forget one that comes while the listener closes, and the client
            // never hears of it.
            let read = stream
                .set_read_timeout(Some(left().min(open)))
                .and_then(|()| stream.read(&mut [0]));
            if read.is_err_and(|error| is_timeout(&error)) {
                open *= 2;
            }
            if wait.left().is_zero() {
                break;
            }
        }
        Err(missed("nobody can connect", "the server accepts"))
    }

    pub(super) fn has_grown_less_than(&self, limit: u64) -> Result<Note, Missed> {
        match self.server.grown() {
            None => Err(missed("the server runs", "it has ended")),
            Some(grown) if grown >= limit => Err(missed(
                format!("the server grows by less than {limit} MB"),
                format!("it has grown by {limit} MB or more"),
            )),
            Some(_) => Ok(did(format!("has grown by less than {limit} MB"))),
        }
    }

    /// Waits this long, unless the server ends before.
    pub(super) fn keeps_running(&mut self, time: Duration) -> Result<Note, Missed> {
        match self.server.wait(time) {
            Ok(status) => Err(missed(
                "the server goes on",
                format!("it ended with {status}"),
            )),
            Err(_) => Ok(did("keeps running")),
        }
    }

    /// The same, and demands of a server of ours that it uses next to no processor time.
    pub(super) fn idles(&mut self, time: Duration) -> Result<Note, Missed> {
        let process = Process::new(self.server.id());
        let (before, start) = (process.threads(), Instant::now());
        let kept_running = self.keeps_running(time)?;
        if !self.is_ours() {
            return Ok(kept_running);
        }
        let (Some(before), Some(now)) = (before, process.threads()) else {
            return Err(missed("the server runs", "it has ended"));
        };
        let percent = 100.0 * now.demand(&before, start.elapsed());
        let most = format!("uses at most {IDLE_PERCENT} % of a processor");
        match percent > IDLE_PERCENT {
            true => Err(missed(
                format!("the server {most}"),
                format!("it uses {percent:.0} %"),
            )),
            false => Ok(did(format!("{most}, for {} s", time.as_secs()))),
        }
    }

    /// Waits until the server has done all that it can do now, but no longer than the step may take.
    pub(super) fn catches_up(&mut self, wait: Wait) -> Result<Note, Missed> {
        let process = Process::new(self.server.id());
        let mut before = process.threads();
        match before {
            Some(_) => {}
            // Only a server that we have started can be asked whether it has ended.
            None if self.server.id().is_some() => drop(self.keeps_running(UNKNOWN_REST)?),
            None => thread::sleep(UNKNOWN_REST),
        }
        while before.is_some() && !wait.left().is_zero() {
            self.keeps_running(AT_REST)?;
            let now = process.threads();
            if now == before && now.as_ref().is_some_and(Threads::rest) {
                break;
            }
            before = now;
        }
        Ok(did("catches up"))
    }
}
