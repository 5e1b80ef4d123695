//! The results: all that was measured, and what is computed of it. `table` shows them to people, `json`
//! to programs, and `plot` to the readers of a chapter.

pub(crate) mod json;
pub(crate) mod plot;
pub(crate) mod table;

use anyhow::Result;
use serde_json::Value;

use crate::{
    machine::Cores,
    metric::{Metric, Reading},
    scenario::Scenario,
};

/// All measurements.
pub(crate) struct Report {
    /// The names of the servers; the first one is compared with each of the others.
    pub(crate) servers: Vec<String>,
    /// The scenarios, in the order in which they were run.
    pub(crate) measured: Vec<Measured>,
    /// How long each measurement took, and how often each was made.
    pub(crate) seconds: f64,
    pub(crate) rounds: u16,
    /// What the measurements ran on, for the record.
    pub(crate) machine: Value,
    /// Where the server and the load generator ran, if they were kept there.
    pub(crate) cores: Option<Cores>,
}

impl Report {
    /// Why measurements could not be made.
    pub(crate) fn failures(&self) -> impl Iterator<Item = String> {
        let samples = self.measured.iter().flat_map(|measured| &measured.samples);
        samples.flat_map(|samples| failures(samples))
    }
}

fn failures(samples: &[Sample]) -> impl Iterator<Item = String> {
    let errors = samples.iter().filter_map(|sample| sample.as_ref().err());
    errors.map(|error| format!("{error:#}"))
}

/// What was read in one measurement, or why nothing could be.
type Sample = Result<Vec<Reading>>;

/// The measurements of one scenario.
pub(crate) struct Measured {
    pub(crate) scenario: Scenario,
    /// Those of each server, round by round.
    pub(crate) samples: Vec<Vec<Sample>>,
}

/// The values of one metric over all rounds.
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Measured {
    /// What was measured, in the order in which it is shown.
    fn metrics(&self) -> Vec<&'static Metric> {
        let mut metrics: Vec<&Metric> = Vec::new();
        for (metric, _) in self.samples.iter().flatten().flatten().flatten() {
            if !metrics.contains(metric) {
                metrics.push(metric);
            }
        }
        metrics
    }

    /// The value of one server in one round.
    fn value(&self, server: usize, round: usize, metric: &Metric) -> Option<f64> {
        let readings = self.samples[server][round].as_ref().ok()?;
        let found = readings.iter().find(|(name, _)| *name == metric);
        found.map(|(_, value)| *value)
    }

    fn over_rounds(&self, value: impl Fn(usize) -> Option<f64>) -> Option<Summary> {
        let rounds = 0..self.samples.first()?.len();
        let mut values: Vec<f64> = rounds.filter_map(value).collect();
        values.sort_by(f64::total_cmp);
        Some(Summary {
            lowest: *values.first()?,
            // Of an even number of values, two are in the middle.
            median: (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0,
            highest: *values.last()?,
        })
    }

    /// The values of one server.
    fn summary(&self, server: usize, metric: &Metric) -> Option<Summary> {
        self.over_rounds(|round| self.value(server, round, metric))
    }

    /// How many times the value of another server the first one's is, round by round: both were measured
    /// within seconds.
    fn ratio(&self, server: usize, metric: &Metric) -> Option<f64> {
        let ratios = self.over_rounds(|round| {
            let other = self.value(server, round, metric);
            Some(self.value(0, round, metric)? / other.filter(|other| *other > 0.0)?)
        });
        Some(ratios?.median)
    }
}
