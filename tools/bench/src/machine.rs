//! The machine: which processors a measurement uses, and what the record says of all of it.

use std::{env::consts, fs, thread, time::SystemTime};

use serde_json::{Value, json};

/// The processors that a measurement uses: one for the server, another for the load generator.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    pub(crate) generator: usize,
}

impl Cores {
    /// Two processors that this process may use, if there are two and the system lets us choose.
    pub(crate) fn choose() -> Option<Cores> {
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

/// Keeps this thread, and whatever it starts from now on, on this processor, if there is one to keep it on.
pub(crate) fn pin(core: Option<usize>) {
    #[cfg(target_os = "linux")]
    if let Some(core) = core {
        let mut one = rustix::thread::CpuSet::new();
        one.set(core);
        // It may be forbidden since we were told that we may; then the system chooses.
        let _ = rustix::thread::sched_setaffinity(None, &one);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = core;
}

/// The machine and the date, for the record.
pub(crate) fn description(cores: Option<Cores>) -> Value {
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut lines = model.lines();
    let model = lines.find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "date": httpdate::fmt_http_date(SystemTime::now()),
        "processor": model.map(|(_, model)| model.trim()),
        "processors": thread::available_parallelism().map(usize::from).ok(),
        "kernel": format!("{} {} {}", consts::OS, release.trim(), consts::ARCH),
        "pinned": cores.map(|cores| json!({ "server": cores.server, "generator": cores.generator })),
    })
}
