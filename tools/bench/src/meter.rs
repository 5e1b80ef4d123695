//! What a span of time cost: processor time of the server, and of this thread, which puts the load on it.

use std::{fs, time::Instant};

use examiner::process::Process;

/// Measures from its start on.
pub(crate) struct Meter {
    server: Process,
    start: Instant,
    before: [Option<f64>; 3],
}

/// What a span of time cost, in seconds; `None` where the system does not tell.
pub(crate) struct Spent {
    /// How long it was.
    pub(crate) seconds: f64,
    /// The processor time of the server.
    pub(crate) server: Option<f64>,
    /// The processor time of this thread.
    pub(crate) generator: Option<f64>,
    /// How long this thread was ready to run while another had its processor.
    pub(crate) waited: Option<f64>,
}

impl Meter {
    pub(crate) fn start(server: Process) -> Meter {
        Meter {
            server,
            before: [server.cpu(), own_cpu(), own_wait()],
            start: Instant::now(),
        }
    }

    pub(crate) fn spent(&self) -> Spent {
        let seconds = self.start.elapsed().as_secs_f64();
        let since = |now: Option<f64>, before: Option<f64>| Some(now? - before?);
        let [server, generator, waited] = self.before;
        Spent {
            seconds,
            server: since(self.server.cpu(), server),
            generator: since(own_cpu(), generator),
            waited: since(own_wait(), waited),
        }
    }
}

/// The processor time that this thread has used.
fn own_cpu() -> Option<f64> {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
    }
    #[cfg(not(unix))]
    None
}

/// How long this thread was ready to run while another one had its processor; known on Linux only.
fn own_wait() -> Option<f64> {
    let times = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = times.split(' ').nth(1)?.parse().ok()?;
    Some(nanoseconds / 1e9)
}
