//! The lines that a server writes to stdout or stderr, and the last of them.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::shown::shown_up_to;

/// The longest line that is kept whole, in bytes.
const LONGEST_LINE: u64 = 16 * 1024;

/// How much of what a server writes is kept, in bytes: the latest.
const MOST_KEPT: usize = 1024 * 1024;

/// The most lines that a message shows.
const MOST_SHOWN: usize = 5;

/// The most characters of a line that a message shows.
const LONGEST_SHOWN: usize = 400;

/// How long the last lines of a server that has ended may take to reach us.
pub(super) const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// What a server has written to one of its outputs.
#[derive(Debug, Default)]
pub(super) struct Output {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The latest; older ones make room for them.
    kept: VecDeque<String>,
    /// The memory for them, in bytes.
    size: usize,
    /// How many lines are no longer kept.
    dropped: usize,
    /// Whether no more can come.
    pub(super) ended: bool,
    /// How many of all lines, kept or not, come before those that may still be looked for.
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

    /// Those after the first `count` of all that are kept, each with its place among all.
    fn after(&self, count: usize) -> impl Iterator<Item = (usize, &str)> {
        let first = count.max(self.dropped);
        let kept = self.kept.range(first - self.dropped..);
        (first..).zip(kept.map(String::as_str))
    }

    /// Says what has come since the last line that was found.
    pub(super) fn unseen(&self) -> String {
        let new: Vec<&str> = self.after(self.seen).map(|(_, line)| line).collect();
        match new.as_slice() {
            [] if self.ended => "it reports nothing, and ends".to_string(),
            [] => "it reports nothing".to_string(),
            [.., last] if new.len() > MOST_SHOWN => {
                let others = self.count() - self.seen;
                format!(
                    "it reports {others} other lines, the last `{}`",
                    shown(last)
                )
            }
            new => {
                let new: Vec<String> = new.iter().map(|line| shown(line)).collect();
                format!("it reports `{}`", new.join("`, `"))
            }
        }
    }
}

impl Output {
    /// Collects what comes out of this pipe; without one, nothing ever comes.
    pub(super) fn of(pipe: Option<impl Read + Send + 'static>) -> Arc<Output> {
        let output = Arc::new(Output::default());
        let collector = Arc::clone(&output);
        match pipe {
            None => collector.lock().ended = true,
            Some(pipe) => drop(thread::spawn(move || collector.collect(pipe))),
        }
        output
    }

    /// A line that is too long is added in pieces; bytes that aren't UTF-8, as replacement characters.
    fn collect(&self, pipe: impl Read) {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while let Ok(1..) = pipe
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
        {
            let text = String::from_utf8_lossy(&line);
            self.add(text.trim_end_matches(['\n', '\r']).to_string());
            line.clear();
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }

    fn add(&self, line: String) {
        self.lock().add(line);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // A panic elsewhere cannot leave a list of lines half-changed.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a line that `pick` takes, after the last one that was found; fails with all lines so far.
    pub(super) fn find<T>(
        &self,
        deadline: Instant,
        pick: impl Fn(&str) -> Option<T>,
    ) -> Result<T, MutexGuard<'_, Lines>> {
        let mut lines = self.lock();
        let mut looked_at = lines.seen;
        loop {
            let mut new = lines.after(looked_at);
            let found = new.find_map(|(place, line)| Some((place, pick(line)?)));
            drop(new);
            if let Some((place, picked)) = found {
                lines.seen = place + 1;
                return Ok(picked);
            }
            looked_at = lines.count();
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.ended || left.is_zero() {
                return Err(lines);
            }
            let waited = self.changed.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All lines of a server that has ended, once the last ones have come.
    fn all(&self) -> MutexGuard<'_, Lines> {
        let has_more = |lines: &mut Lines| !lines.ended;
        let (changed, lines) = (&self.changed, self.lock());
        let waited = changed.wait_timeout_while(lines, ON_ITS_WAY, has_more);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Whether one of the lines is that with which the stages of the book report a connection.
    pub(super) fn has_accepted(&self, has_ended: bool) -> bool {
        let lines = if has_ended { self.all() } else { self.lock() };
        let mut accepted = lines
            .kept
            .iter()
            .filter_map(|line| line.strip_prefix("accepted "));
        accepted.any(|addr| addr.parse::<SocketAddr>().is_ok())
    }

    /// The first line, for people.
    pub(super) fn first(&self) -> Option<String> {
        self.lock().kept.front().map(|line| shown(line))
    }

    /// The very last line of a server that has ended, for people.
    pub(super) fn last(&self) -> Option<String> {
        self.all().kept.back().map(|line| shown(line))
    }

    /// The last lines of a server that has ended that say more than that a client was accepted: from where it
    /// panicked, if it did.
    pub(super) fn last_words(&self) -> Vec<String> {
        let lines = self.all();
        let special = |line: &&String| !line.is_empty() && !line.starts_with("accepted ");
        let words: Vec<&String> = lines.kept.iter().filter(special).collect();
        // A backtrace may be long, and follows the panic.
        let is_panic = |line: &&String| line.contains(" panicked at ");
        let start = words.iter().rposition(is_panic);
        let start = start.unwrap_or(words.len().saturating_sub(MOST_SHOWN));
        let last = words[start..].iter().take(MOST_SHOWN);
        last.map(|line| shown(line)).collect()
    }
}

/// A line that a server has written, for people.
fn shown(line: &str) -> String {
    shown_up_to(LONGEST_SHOWN, line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_lines_are_kept_and_no_more_than_fit() {
        let output = Output::default();
        let find = |wanted: &str| {
            let found = output.find(Instant::now(), |line| (line == wanted).then_some(()));
            found.map_err(|lines| lines.unseen())
        };
        output.add("first".to_string());
        assert_eq!(find("first"), Ok(()));
        let long = "x".repeat(LONGEST_LINE as usize);
        for (line, times) in [("", MOST_KEPT / 10), (&long, 1000)] {
            (0..times).for_each(|_| output.add(line.to_string()));
            let lines = output.lock();
            let size = |line: &String| line.len() + size_of::<String>();
            let needed = lines.kept.iter().map(size).sum();
            assert!((MOST_KEPT / 2..=MOST_KEPT).contains(&needed));
        }
        let others = MOST_KEPT / 10 + 1000;
        let others = format!("it reports {others} other lines, the last `x");
        assert!(find("last").unwrap_err().starts_with(&others));
        output.add("last".to_string());
        output.add("more".to_string());
        assert_eq!(find("last"), Ok(()));
        assert_eq!(find("last"), Err("it reports `more`".to_string()));
    }
}
