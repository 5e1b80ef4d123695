//! The loads that clients put on a server: as fast as it can in `rate`, by the clock in `clock`, and what may
//! be too much for it in `strain`.

mod clock;
mod rate;
mod strain;

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::Result;
use examiner::process::Process;
use hdrhistogram::Histogram;

use crate::{
    generator::Generator,
    meter::{Meter, Spent},
    metric::{GENERATOR_BUSY, GENERATOR_WAITED, Metric, SERVER_BUSY},
};

/// Bytes of the text of a message: about as long as what people write.
const TEXT: usize = 40;

/// How much of the time is left out at the start, while the server finds its pace.
const WARM_UP: f64 = 0.2;

/// A number, where the system tells it.
pub(crate) type Value = (&'static Metric, Option<f64>);

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

    /// Repeats a step, which counts something, for the time of a measurement. Returns the count after the
    /// warm-up, and what that has cost.
    fn measured(
        &mut self,
        mut step: impl FnMut(&mut Generator) -> Result<u64>,
    ) -> Result<(u64, Spent)> {
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < self.warm_up() {
            step(&mut self.generator)?;
        }
        // A step may take long; what follows has its own time.
        let meter = Meter::start(self.server);
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed().as_secs_f64() < self.seconds - self.warm_up() {
            count += step(&mut self.generator)?;
        }
        Ok((count, meter.spent()))
    }

    /// By how many bytes the server's memory has grown at most since it was `before`.
    fn growth(&self, before: Option<f64>) -> Option<f64> {
        Some((self.server.most_memory()? - before?).max(0.0))
    }
}

/// How busy both sides were.
fn busy(spent: &Spent) -> [Value; 3] {
    let percent = |cpu: Option<f64>| cpu.map(|cpu| 100.0 * cpu / spent.seconds);
    [
        (&SERVER_BUSY, percent(spent.server)),
        (&GENERATOR_BUSY, percent(spent.generator)),
        (&GENERATOR_WAITED, percent(spent.waited)),
    ]
}

/// How often something was done, and what that cost the server each time.
fn throughput([rate, cpu]: [&'static Metric; 2], count: u64, spent: &Spent) -> Vec<Value> {
    let each = |server| 1e6 * server / count.max(1) as f64;
    let rate = (rate, Some(count as f64 / spent.seconds));
    vec![rate, (cpu, spent.server.map(each))]
}

/// Times in nanoseconds.
fn times() -> Histogram<u64> {
    Histogram::new(3).expect("a histogram can keep three significant digits")
}

fn record(times: &mut Histogram<u64>, time: Duration) {
    times.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

/// This quantile of the times, in microseconds.
fn quantile(times: &Histogram<u64>, quantile: f64) -> Option<f64> {
    Some(times.value_at_quantile(quantile) as f64 / 1e3)
}
