//! What a process has had of the system: processors, memory, descriptors.
//!
//! Processor time and memory of another process are known on Linux only.

use std::{collections::HashMap, fs, time::Duration};

/// Allows so many open descriptors, or with `None` as many as the system lets us have, if there are fewer
/// now. Says how many there may be; a server that is started afterwards may have as many.
pub fn raise_descriptor_limit(wanted: Option<u64>) -> u64 {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        // No number is no limit.
        let is_less = |wanted| limit.current.is_some_and(|current| current < wanted);
        if wanted.is_none_or(is_less) {
            limit.current = match (limit.maximum, wanted) {
                (Some(most), Some(wanted)) => Some(most.min(wanted)),
                (most, wanted) => most.or(wanted),
            };
            // Some systems have a lower limit than the one they state; what is in force counts.
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
    /// The process with this number, if there is one that we may look at.
    pub fn new(id: Option<u32>) -> Process {
        Process { id }
    }

    /// The processor time that it has used, in seconds.
    pub fn cpu(&self) -> Option<f64> {
        #[cfg(target_os = "linux")]
        {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.id?)).ok()?;
            // The second field is the name in brackets, which may hold spaces; the 14th and 15th are
            // the times in the program and in the system.
            let (_, fields) = stat.rsplit_once(") ")?;
            let mut fields = fields.split(' ').skip(11);
            let mut ticks = || fields.next()?.parse::<f64>().ok();
            let ticks = ticks()? + ticks()?;
            Some(ticks / rustix::param::clock_ticks_per_second() as f64)
        }
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// What its threads have had of the processors until now; known on Linux only.
    pub fn threads(&self) -> Option<Threads> {
        let folder = fs::read_dir(format!("/proc/{}/task", self.id?)).ok()?;
        let threads = folder.filter_map(|entry| {
            let entry = entry.ok()?;
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).ok();
            // The state follows the name, which is in brackets and may hold spaces. A thread that is
            // ready to run counts as running, whether it has a processor or not.
            let runs = read("stat")?.rsplit_once(") ")?.1.starts_with('R');
            let times = read("schedstat")?;
            let mut times = times.split_whitespace().map(str::parse);
            let mut next = || times.next()?.ok();
            let thread = Thread {
                runs,
                ran: next()?,
                waited: next()?,
                turns: next()?,
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
        let status = fs::read_to_string(format!("/proc/{}/status", self.id?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        let kilobytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kilobytes * 1024.0)
    }
}

/// What the threads of a process have had of the processors, each by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threads(HashMap<u32, Thread>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Thread {
    /// Whether it runs or would run if it had a processor.
    runs: bool,
    /// For how long it had one, in nanoseconds.
    ran: u64,
    /// For how long it was ready and had none, in nanoseconds.
    waited: u64,
    /// How often it was given one.
    turns: u64,
}

impl Threads {
    /// Whether there is nothing that they could do now.
    pub fn rest(&self) -> bool {
        self.0.values().all(|thread| !thread.runs)
    }

    /// How many processors they would have used in the time since `before`, if each of them had always
    /// had one: the share that a thread uses of the time in which it is not kept waiting for its turn.
    pub fn demand(&self, before: &Threads, time: Duration) -> f64 {
        /// Who had no turn in almost all the time is not taken for busy because of what is left of it.
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

    /// One thread that has had this of the processors, in milliseconds.
    fn thread(ran: u64, waited: u64) -> Threads {
        let thread = Thread {
            ran: ran * 1_000_000,
            waited: waited * 1_000_000,
            ..Thread::default()
        };
        Threads([(1, thread)].into())
    }

    #[test]
    fn who_waits_for_a_processor_does_not_idle() {
        let second = Duration::from_secs(1);
        let demand = |ran: u64, waited: u64| {
            let demand = thread(7 + ran, 9 + waited).demand(&thread(7, 9), second);
            (100.0 * demand).round()
        };
        assert_eq!(demand(1000, 0), 100.0);
        assert_eq!(demand(100, 900), 100.0);
        assert_eq!(demand(100, 800), 50.0);
        assert_eq!(demand(2, 600), 1.0);
        assert_eq!(demand(1, 999), 2.0);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_threads_of_a_process_are_seen() {
        let process = Process::new(Some(std::process::id()));
        // This thread is running now.
        assert!(!process.threads().unwrap().rest());
        assert!(Process::new(None).threads().is_none());
    }
}
