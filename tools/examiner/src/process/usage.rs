//! What the system lets a process have, and what it has had: processors, memory, descriptors.
//!
//! What another process has is known on Linux only, from `/proc`.

use std::{collections::HashMap, fs, path::PathBuf, time::Duration};

/// The unit of processor time in `/proc`, as a fraction of a second: the kernel's USER_HZ.
const TICKS_PER_SECOND: f64 = 100.0;

/// Raises the limit of open descriptors to `wanted`, or with `None` as far as the system allows, unless it's
/// higher already. Returns the limit now in force; a server that is started afterwards has the same.
pub fn raise_descriptor_limit(wanted: Option<u64>) -> u64 {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        // `None` stands for no limit.
        let is_less = |wanted| limit.current.is_some_and(|current| current < wanted);
        if wanted.is_none_or(is_less) {
            limit.current = match (limit.maximum, wanted) {
                (Some(most), Some(wanted)) => Some(most.min(wanted)),
                (most, wanted) => most.or(wanted),
            };
            // Some systems refuse the maximum that they state; what is in force is read again below.
            let _ = setrlimit(Resource::Nofile, limit);
        }
        getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
    }
    #[cfg(not(unix))]
    {
        let _ = wanted;
        u64::MAX
    }
}

/// The process of a server.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    id: Option<u32>,
}

impl Process {
    /// The process with this number, if we may look at one.
    pub fn new(id: Option<u32>) -> Process {
        Process { id }
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(format!("/proc/{}/{name}", self.id?).into())
    }

    /// The processor time that it has used, in seconds.
    pub fn cpu(&self) -> Option<f64> {
        let stat = fs::read_to_string(self.file("stat")?).ok()?;
        // The 14th and 15th field, the times in the program and in the system.
        let mut fields = after_name(&stat)?.split(' ').skip(11);
        let mut ticks = || fields.next()?.parse::<f64>().ok();
        Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
    }

    /// What its threads have had of the processors so far.
    pub fn threads(&self) -> Option<Threads> {
        let threads = fs::read_dir(self.file("task")?).ok()?.filter_map(|entry| {
            let entry = entry.ok()?;
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).ok();
            let state = after_name(&read("stat")?)?.chars().next()?;
            let times = read("schedstat")?;
            let mut times = times.split_whitespace().map(str::parse);
            let mut next = || times.next()?.ok();
            let thread = Thread {
                state,
                ran: next()?,
                waited: next()?,
            };
            Some((entry.file_name().to_str()?.parse().ok()?, thread))
        });
        let threads: HashMap<u32, Thread> = threads.collect();
        (!threads.is_empty()).then_some(Threads(threads))
    }

    /// The memory that it has now, in bytes.
    pub fn memory(&self) -> Option<f64> {
        self.status("VmRSS:")
    }

    /// The most memory that it ever had, in bytes.
    pub fn most_memory(&self) -> Option<f64> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> Option<f64> {
        let status = fs::read_to_string(self.file("status")?).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        let kilobytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kilobytes * 1024.0)
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> Option<usize> {
        Some(fs::read_dir(self.file("fd")?).ok()?.count())
    }
}

/// The fields of a `stat` file from the third on: the second is a name in brackets, which may hold spaces.
fn after_name(stat: &str) -> Option<&str> {
    stat.rsplit_once(") ").map(|(_, fields)| fields)
}

/// What the threads of a process have had of the processors, each by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threads(HashMap<u32, Thread>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Thread {
    /// `R` for one that is ready to run, whether it has a processor or not; `T` for one that is stopped.
    state: char,
    /// How long it had a processor, in nanoseconds.
    ran: u64,
    /// How long it was ready and had none, in nanoseconds.
    waited: u64,
}

impl Threads {
    /// Whether none of them has anything to do now.
    pub fn rest(&self) -> bool {
        self.0.values().all(|thread| thread.state != 'R')
    }

    /// Whether all of them are stopped.
    pub fn paused(&self) -> bool {
        self.0.values().all(|thread| thread.state == 'T')
    }

    /// How many processors they would have used in the time since `before` if each of them had always had one:
    /// a thread's share of the time in which it didn't wait for its turn.
    pub fn demand(&self, before: &Threads, time: Duration) -> f64 {
        /// A thread that waited almost all the time isn't taken for busy because of the little that is left.
        const LEAST: f64 = 0.05;
        let time = time.as_secs_f64();
        let share = |(id, now): (&u32, &Thread)| {
            let then = before.0.get(id).copied().unwrap_or_default();
            let seconds = |now: u64, then: u64| now.saturating_sub(then) as f64 / 1e9;
            let own = time - seconds(now.waited, then.waited);
            seconds(now.ran, then.ran) / own.max(time * LEAST)
        };
        self.0.iter().map(share).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_waits_for_a_processor_is_not_idle() {
        // In milliseconds: what the one thread has had.
        let thread = |ran: u64, waited: u64| {
            let [ran, waited] = [ran, waited].map(|time| time * 1_000_000);
            let thread = Thread {
                ran,
                waited,
                ..Thread::default()
            };
            Threads([(1, thread)].into())
        };
        let before = thread(7, 9);
        for (ran, waited, percent) in [
            (1000, 0, 100.0),
            (100, 900, 100.0),
            (100, 800, 50.0),
            (2, 600, 1.0),
            (1, 999, 2.0),
        ] {
            let now = thread(7 + ran, 9 + waited);
            let demand = now.demand(&before, Duration::from_secs(1));
            assert_eq!((100.0 * demand).round(), percent);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_threads_of_a_process_are_seen() {
        let threads = Process::new(Some(std::process::id())).threads().unwrap();
        // This thread runs now.
        assert!(!threads.rest() && !threads.paused());
        assert!(Process::new(None).threads().is_none());
    }
}
