//! What is asked of a server while it runs.

use std::{
    net::SocketAddr,
    process::ExitStatus,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    group::{Group, Signal},
    last_words::Output,
    port::FreeAddr,
    usage::{Process, Threads},
};
use crate::Error;

/// A server that was started for a conversation, and ends when this value is dropped; or one that was running
/// already, and stays.
#[derive(Debug)]
pub struct Server {
    pub(super) group: Option<Group>,
    pub(super) addr: SocketAddr,
    /// Keeps the address that was found for it from being found again.
    pub(super) free: Option<FreeAddr>,
    pub(super) stderr: Arc<Output>,
    /// In bytes, once it listened.
    pub(super) memory_at_start: Option<f64>,
}

impl Server {
    /// The number of its process, if it was started for this.
    pub fn id(&self) -> Option<u32> {
        self.group.as_ref().map(Group::id)
    }

    pub(super) fn process(&self) -> Process {
        Process::new(self.id())
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// By how many megabytes its memory has ever exceeded what it was at the start; known on Linux only, and
    /// while it runs.
    pub fn grown(&self) -> Option<u64> {
        let bytes = self.process().most_memory()? - self.memory_at_start?;
        Some(bytes as u64 / 1024 / 1024)
    }

    /// How many files and sockets it has open; known on Linux only, and while it runs.
    pub fn descriptors(&self) -> Option<usize> {
        self.process().descriptors()
    }

    /// Sends a signal to the server and to whatever it has started.
    ///
    /// # Errors
    ///
    /// If the system has no signals, or the server has ended, or wasn't started for this.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.group.as_ref().ok_or_else(not_ours)?.signal(signal)
    }

    /// Waits until all threads of the server are stopped, after [`Signal::Pause`]; known on Linux only.
    pub fn wait_until_paused(&self, deadline: Instant) {
        // Each thread stops for itself, at its next return from the kernel.
        let runs = |threads: Threads| !threads.paused();
        while self.process().threads().is_some_and(runs) && Instant::now() < deadline {
            thread::yield_now();
        }
    }

    /// Waits until the server has ended.
    ///
    /// # Errors
    ///
    /// If it still runs after that time, or wasn't started for this.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        self.group.as_mut().ok_or_else(not_ours)?.wait(within)
    }

    /// Waits until the server has written this line to stderr, after those that were found before.
    ///
    /// # Errors
    ///
    /// Says what it has written instead: `it reports nothing`.
    pub fn reports(&self, wanted: &str, deadline: Instant) -> Result<(), Error> {
        let is_it = |line: &str| (line == wanted).then_some(());
        let found = self.stderr.find(deadline, is_it);
        found.map_err(|lines| Error::Server(lines.unseen()))
    }

    /// Whether the server has shown that it follows the stages of the book: it reports the connections that it
    /// accepts as they do, `accepted IP:PORT`.
    pub fn follows_our_stages(&mut self) -> bool {
        let has_ended = self.wait(Duration::ZERO).is_ok();
        self.stderr.has_accepted(has_ended)
    }

    /// Ends the server, and returns the last lines that it wrote to stderr: from where it panicked, if it did,
    /// and without the line that every server of the book writes for each connection.
    pub fn last_words(mut self) -> Vec<String> {
        // Its end closes its stderr.
        self.group = None;
        self.stderr.last_words()
    }
}

fn not_ours() -> Error {
    Error::Server("the server was not started for this".to_string())
}
