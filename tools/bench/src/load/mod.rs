//! The loads that clients put on a server: as fast as it can in `rate`, by the clock in `clock`, and what may
//! be too much for it in `strain`.

mod clock;
mod rate;
mod strain;

use std::{fs, ops::Range, time::Instant};

use anyhow::Result;
use examiner::process::Process;
use hdrhistogram::Histogram;

use crate::{
    generator::Generator,
    metric::{GENERATOR_BUSY, GENERATOR_WAITED, Metric, SERVER_BUSY},
};

/// Bytes of the text of a message: about as long as what people write.
const TEXT: usize = 40;

/// How much of the time is left out at the start, while the server finds its pace.
const WARM_UP: f64 = 0.2;

/// A number, where the system tells it.
pub(crate) type Value = (&'static Metric, Option<f64>);

/// Puts a load on a server. Fails when a message is lost, damaged, doubled or out of order, when a client is
/// sent away, or when the server does not do what the load is about.
pub(crate) type Load = fn(&mut Run) -> Result<Vec<Value>>;

/// One measurement: the clients, and the server that they connect to.
pub(crate) struct Run {
    pub(crate) generator: Generator,
    pub(crate) server: Process,
    /// How long to measure, in seconds.
    pub(crate) seconds: f64,
}

impl Run {
    /// Logs in so many clients, whose names begin with this letter.
    fn clients(&mut self, letter: char, count: usize) -> Result<Range<usize>> {
        let names = (1..=count).map(|number| format!("{letter}{number}"));
        self.generator.log_in(names)
    }

    /// The seconds of a measurement that pass before anything counts.
    fn warm_up(&self) -> f64 {
        WARM_UP * self.seconds
    }

    /// Repeats a step, which counts something, for the time of a measurement. Returns how often it was done in
    /// a second, what that cost the server each time, and how busy both sides were, after the warm-up.
    fn throughput(
        &mut self,
        [rate, cpu]: [&'static Metric; 2],
        mut step: impl FnMut(&mut Generator) -> Result<usize>,
    ) -> Result<Vec<Value>> {
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < self.warm_up() {
            step(&mut self.generator)?;
        }
        // A step may take long; what follows has its own time.
        let spent = meter(self.server);
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed().as_secs_f64() < self.seconds - self.warm_up() {
            count += step(&mut self.generator)?;
        }
        let (seconds, [server, generator, waited]) = spent();
        let each = |percent| 1e6 * seconds * percent / 100.0 / count.max(1) as f64;
        Ok(vec![
            (rate, Some(count as f64 / seconds)),
            (cpu, server.map(each)),
            (&SERVER_BUSY, server),
            (&GENERATOR_BUSY, generator),
            (&GENERATOR_WAITED, waited),
        ])
    }

    /// By how many bytes the server's memory has grown at most since it was `before`.
    fn growth(&self, before: Option<f64>) -> Option<f64> {
        Some((self.server.most_memory()? - before?).max(0.0))
    }
}

/// This quantile of times in nanoseconds, in microseconds.
fn quantile(times: &Histogram<u64>, quantile: f64) -> Option<f64> {
    Some(times.value_at_quantile(quantile) as f64 / 1e3)
}

/// The processor time of the server, that of this thread, and how long this thread was ready to run while
/// another had its processor; in seconds, or in percent of a time. `None` where the system does not tell.
type Costs = [Option<f64>; 3];

/// Begins to measure. What it returns tells how many seconds have passed, and what was spent of them, in percent.
fn meter(server: Process) -> impl Fn() -> (f64, Costs) {
    let (before, start) = (costs(server), Instant::now());
    move || {
        let seconds = start.elapsed().as_secs_f64();
        let mut spent = costs(server);
        for (spent, before) in spent.iter_mut().zip(before) {
            *spent = spent
                .zip(before)
                .map(|(now, then)| 100.0 * (now - then) / seconds);
        }
        (seconds, spent)
    }
}

fn costs(server: Process) -> Costs {
    // Nanoseconds on a processor and nanoseconds of waiting for one; known on Linux only.
    let own = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let mut own = own
        .split(' ')
        .map(|time| Some(time.parse::<f64>().ok()? / 1e9));
    [server.cpu(), own.next().flatten(), own.next().flatten()]
}
