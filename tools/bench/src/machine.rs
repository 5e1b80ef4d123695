//! What the system tells about the machine, and about what a server has used of it.
//!
//! Processor time and memory of another process are known on Linux only, and so is where it runs.

use std::{
    fs,
    time::{Duration, Instant, SystemTime},
};

use examiner::process::Process;

use serde_json::{Value, json};

/// The processors that a measurement uses: one for the server, another for the clients.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    /// Where the server runs.
    pub server: usize,
    /// Where the generator runs.
    pub generator: usize,
}

impl Cores {
    /// Two processors that this process may use, if there are two and the system lets us choose.
    pub fn choose() -> Option<Cores> {
        #[cfg(target_os = "linux")]
        {
            use rustix::thread::{CpuSet, sched_getaffinity};
            let allowed = sched_getaffinity(None).ok()?;
            let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
            let (server, generator) = (cores.next()?, cores.next_back()?);
            Some(Cores { server, generator })
        }
        #[cfg(not(target_os = "linux"))]
        None
    }
}

/// Keeps this thread on a few processors for as long as the value lives; what it starts meanwhile stays
/// there for ever.
pub struct Pinned {
    #[cfg(target_os = "linux")]
    before: Option<rustix::thread::CpuSet>,
}

/// Keeps this thread on one processor, if there is one to keep it on.
pub fn pin(core: Option<usize>) -> Pinned {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let before = core.and_then(|core| {
            let before = sched_getaffinity(None).ok()?;
            let mut one = CpuSet::new();
            one.set(core);
            sched_setaffinity(None, &one).ok()?;
            Some(before)
        });
        Pinned { before }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = core;
        Pinned {}
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(before) = &self.before {
            // It was allowed before, so it is allowed now.
            let _ = rustix::thread::sched_setaffinity(None, before);
        }
    }
}

/// The processor time that this thread has used.
fn own_cpu() -> Option<Duration> {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(time).ok()
    }
    #[cfg(not(unix))]
    None
}

/// How long this thread was ready to run while another one had its processor, in seconds; known on
/// Linux only.
fn own_wait() -> Option<f64> {
    let times = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = times.split(' ').nth(1)?.parse().ok()?;
    Some(nanoseconds / 1e9)
}

/// What a span of time has cost the server and the generator.
pub struct Meter {
    server: Process,
    start: Instant,
    server_cpu: Option<f64>,
    own_cpu: Option<Duration>,
    own_wait: Option<f64>,
}

/// What a [`Meter`] has found.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// How long it was, in seconds.
    pub seconds: f64,
    /// The processor time of the server, in seconds.
    pub server: Option<f64>,
    /// The processor time of the generator, in seconds.
    pub generator: Option<f64>,
    /// How long other programs kept the generator from its processor, in seconds.
    pub waited: Option<f64>,
}

impl Meter {
    /// Begins to measure.
    pub fn start(server: Process) -> Meter {
        Meter {
            server,
            server_cpu: server.cpu(),
            own_cpu: own_cpu(),
            own_wait: own_wait(),
            start: Instant::now(),
        }
    }

    /// What the time since the start has cost.
    pub fn spent(&self) -> Spent {
        let seconds = self.start.elapsed().as_secs_f64();
        let own = own_cpu().zip(self.own_cpu).map(|(now, then)| now - then);
        let server = self.server.cpu().zip(self.server_cpu);
        Spent {
            seconds,
            server: server.map(|(now, then)| now - then),
            generator: own.map(|own| own.as_secs_f64()),
            waited: own_wait().zip(self.own_wait).map(|(now, then)| now - then),
        }
    }
}

/// The machine and the date, for the record.
pub fn description(cores: Option<Cores>) -> Value {
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, model)| model.trim().to_string());
    json!({
        "date": httpdate::fmt_http_date(SystemTime::now()),
        "processor": model,
        "processors": std::thread::available_parallelism().map(usize::from).ok(),
        "kernel": kernel(),
        "pinned": cores.map(|cores| json!({ "server": cores.server, "generator": cores.generator })),
    })
}

fn kernel() -> String {
    #[cfg(unix)]
    {
        let name = rustix::system::uname();
        let part = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        [
            part(name.sysname()),
            part(name.release()),
            part(name.machine()),
        ]
        .join(" ")
    }
    #[cfg(not(unix))]
    std::env::consts::OS.to_string()
}
