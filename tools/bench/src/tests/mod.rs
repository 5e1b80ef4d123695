//! The tests of the commands, without the stopwatch: no test looks at how fast anything is. `servers` measures
//! and soaks those of the book, `mistakes` those that do not deliver what they should.

mod mistakes;
mod servers;

use std::{path::Path, time::Duration};

use anyhow::Result;
use clap::Parser as _;

use crate::{
    Cli,
    cmd::measure::Competitor,
    load::{Run, Value},
    report::Report,
    scenario::{SCENARIOS, Scenario},
};

/// A scenario in small.
type Small = (&'static str, fn(&mut Run) -> Result<Vec<Value>>);

/// Nothing takes so long, on any machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The command with these arguments.
fn command(arguments: &[&str]) -> Cli {
    Cli::parse_from(["bench"].iter().chain(arguments))
}

/// What the command measures of these servers in a scenario, each once and for a moment.
fn measured(servers: &[Competitor], (name, load): Small, patience: Duration, out: &Path) -> Report {
    let scenario = SCENARIOS.into_iter().find(|scenario| scenario.name == name);
    let scenario = Scenario {
        load,
        ..scenario.unwrap()
    };
    let mut measure = command(&["any", "--rounds", "1", "--seconds", "0.1"]).measure;
    (measure.patience, measure.pinned) = (patience, false);
    measure.out = out.to_path_buf();
    measure.compare(servers, &[scenario], |_| Ok(())).unwrap()
}

/// What went wrong, of each measurement that failed.
fn failures(report: &Report) -> Vec<String> {
    let samples = report
        .measured
        .iter()
        .flat_map(|measured| &measured.samples);
    let failures = samples.flatten().filter_map(|sample| sample.as_ref().err());
    failures.map(|error| format!("{error:#}")).collect()
}
