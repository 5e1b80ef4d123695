//! What the measurements say: tables for people, JSON for programs, a plot for chapters.

use std::{fs, path::Path, process::Command};

use anstream::println;
use anyhow::{Context as _, Result, anyhow};
use serde_json::{Map, Value, json};

use super::{
    machine::{self, Cores},
    plot,
    scenario::{Better, GENERATOR_BUSY, GENERATOR_WAITED, Measure, Reading, Scenario},
};
use examiner::stages;

/// Above this share of its processor the generator may have been what limits the rate, in percent.
const NEARLY_ALL: f64 = 95.0;

/// Above this share of the time that others keep the generator waiting, the machine is busy with
/// something else, in percent.
const SOME: f64 = 5.0;

/// The libraries whose versions matter for a server.
const LIBRARIES: [&str; 4] = ["async-std", "futures", "mio", "tokio"];

/// All measurements.
#[derive(Debug)]
pub struct Report {
    /// The names of the servers.
    pub servers: Vec<String>,
    /// The scenarios, in the order in which they were run.
    pub measured: Vec<Measured>,
    /// How long each measurement took, in seconds.
    pub seconds: f64,
    /// How often each was made.
    pub rounds: usize,
    /// Where the server and the generator ran, if they were kept there.
    pub cores: Option<Cores>,
}

/// The measurements of one scenario.
#[derive(Debug)]
pub struct Measured {
    /// What was done.
    pub scenario: Scenario,
    /// For each server, for each round, what was read, or why nothing could be.
    pub samples: Vec<Vec<Result<Vec<Reading>, String>>>,
}

/// The values of one measure over all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The one in the middle.
    pub median: f64,
    /// The lowest.
    pub lowest: f64,
    /// The highest.
    pub highest: f64,
}

impl Summary {
    /// Of values of which there is at least one.
    pub fn of(values: &[f64]) -> Option<Summary> {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values.get(middle.checked_sub(1)?)? + values.get(middle)?) / 2.0,
            _ => *values.get(middle)?,
        };
        Some(Summary {
            median,
            lowest: *values.first()?,
            highest: *values.last()?,
        })
    }
}

impl Measured {
    /// What was measured, in the order in which it is shown.
    pub fn measures(&self) -> Vec<&'static Measure> {
        let readings = self.samples.iter().flatten().flatten();
        let mut measures: Vec<&'static Measure> = Vec::new();
        for (measure, _) in readings.flatten() {
            if !measures.contains(measure) {
                measures.push(measure);
            }
        }
        measures
    }

    /// The value that one round has given.
    fn value(&self, server: usize, round: usize, measure: &Measure) -> Option<f64> {
        let readings = self.samples.get(server)?.get(round)?.as_ref().ok()?;
        let found = readings.iter().find(|(name, _)| *name == measure);
        found.map(|(_, value)| *value)
    }

    fn rounds(&self) -> usize {
        self.samples.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The values of one server.
    pub fn summary(&self, server: usize, measure: &Measure) -> Option<Summary> {
        let rounds = 0..self.rounds();
        let values: Vec<f64> = rounds
            .filter_map(|round| self.value(server, round, measure))
            .collect();
        Summary::of(&values)
    }

    /// The first server's value divided by that of another one, round by round: both were measured
    /// within seconds.
    pub fn ratio(&self, server: usize, measure: &Measure) -> Option<Summary> {
        let ratio = |round| {
            let (first, other) = (
                self.value(0, round, measure)?,
                self.value(server, round, measure)?,
            );
            (other > 0.0).then_some(first / other)
        };
        let ratios: Vec<f64> = (0..self.rounds()).filter_map(ratio).collect();
        Summary::of(&ratios)
    }

    fn failures(&self, server: usize) -> impl Iterator<Item = &String> {
        self.samples[server]
            .iter()
            .filter_map(|sample| sample.as_ref().err())
    }
}

/// One measurement in a line: its first two values.
pub fn in_short(readings: &[Reading]) -> String {
    let shown = |(measure, value): &Reading| format!("{} {}", number(*value), measure.name);
    let shown: Vec<String> = readings.iter().take(2).map(shown).collect();
    shown.join(", ")
}

/// A number with three digits that count.
pub fn number(value: f64) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 999_500.0 => (value / 1e6, " M"),
        size if size >= 9_995.0 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let decimals = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        0.0 => 0,
        _ => 2,
    };
    format!("{value:.decimals$}{unit}")
}

impl Report {
    /// Whether every measurement was made.
    pub fn is_complete(&self) -> bool {
        let samples = self.measured.iter().flat_map(|measured| &measured.samples);
        samples.flatten().all(Result::is_ok)
    }

    /// Prints a table for each scenario.
    pub fn print(&self) {
        for measured in &self.measured {
            for line in self.table(measured) {
                println!("{line}");
            }
            println!();
        }
        println!(
            "Medians of {} rounds of {} s, the lowest and the highest in brackets; × is how many times \
             the value of {} is that of the other server, round by round.",
            self.rounds,
            number(self.seconds),
            self.servers.first().map(String::as_str).unwrap_or_default()
        );
        match self.cores {
            Some(Cores { server, generator }) => println!(
                "Each server ran on processor {server}, the clients on processor {generator}."
            ),
            None => println!(
                "The servers and the clients shared all processors: they could not be kept apart."
            ),
        }
        self.print_bottlenecks();
    }

    /// Says where the generator may have been slower than the server.
    fn print_bottlenecks(&self) {
        let (mut busiest, mut waited) = (None, None);
        for measured in &self.measured {
            for (server, name) in self.servers.iter().enumerate() {
                let percent = |measure| measured.summary(server, measure).map(|s| s.median);
                let Some(busy) = percent(&GENERATOR_BUSY) else {
                    continue;
                };
                let wait = percent(&GENERATOR_WAITED).unwrap_or(0.0);
                let place = format!("{}, {name}", measured.scenario.name);
                if busy + wait >= NEARLY_ALL {
                    println!(
                        "{place}: the generator wanted its processor {:.0} % of the time, so the server \
                         may be faster than it was measured.",
                        busy + wait
                    );
                }
                for (most, percent) in [(&mut busiest, busy + wait), (&mut waited, wait)] {
                    if most.as_ref().is_none_or(|(highest, _)| percent > *highest) {
                        *most = Some((percent, place.clone()));
                    }
                }
            }
        }
        if let Some((most, place)) = busiest.filter(|(most, _)| *most < NEARLY_ALL) {
            println!(
                "The generator wanted its processor {most:.0} % of the time at most ({place}), so it \
                 was never what limits a rate."
            );
        }
        if let Some((most, place)) = waited.filter(|(most, _)| *most > SOME) {
            println!(
                "Other programs kept it waiting {most:.0} % of the time ({place}): the machine was busy; \
                 trust ratios only, and those of processor time before those of rates."
            );
        }
    }

    fn table(&self, measured: &Measured) -> Vec<String> {
        let mut rows = vec![vec![String::new()]];
        rows[0].extend(self.servers.iter().cloned());
        for measure in measured.measures() {
            let mut row = vec![measure.name.to_string()];
            let mut ratios = vec!["  ×".to_string(), String::new()];
            for server in 0..self.servers.len() {
                row.push(match measured.summary(server, measure) {
                    Some(Summary {
                        median,
                        lowest,
                        highest,
                    }) => format!(
                        "{} ({}–{})",
                        number(median),
                        number(lowest),
                        number(highest)
                    ),
                    None => "–".to_string(),
                });
                if server > 0 {
                    let ratio = measured.ratio(server, measure);
                    ratios.push(ratio.map_or("–".to_string(), |r| number(r.median)));
                }
            }
            rows.push(row);
            if measure.better.is_some() && self.servers.len() > 1 {
                rows.push(ratios);
            }
        }
        let columns = self.servers.len() + 1;
        let width = |column: usize| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut lines = vec![
            format!("{}: {}", measured.scenario.name, measured.scenario.about),
            String::new(),
        ];
        for row in &rows {
            let cells = row.iter().zip(&widths);
            let line: String = cells
                .map(|(cell, width)| format!("   {cell:<width$}"))
                .collect();
            lines.push(line.trim_end().to_string());
        }
        for (server, name) in self.servers.iter().enumerate() {
            let mut failures: Vec<(&String, usize)> = Vec::new();
            for failure in measured.failures(server) {
                match failures.iter_mut().find(|(known, _)| *known == failure) {
                    Some((_, times)) => *times += 1,
                    None => failures.push((failure, 1)),
                }
            }
            for (failure, times) in failures {
                let rounds = measured.samples[server].len();
                lines.push(format!(
                    "   {name} failed in {times} of {rounds} rounds: {failure}"
                ));
            }
        }
        lines
    }

    /// Everything that was measured, and on what.
    pub fn json(&self) -> Value {
        let scenarios: Vec<Value> = self
            .measured
            .iter()
            .map(|measured| {
                let servers = self.servers.iter().enumerate();
                let servers: Map<String, Value> = servers
                    .map(|(server, name)| (name.clone(), self.json_of(measured, server)))
                    .collect();
                json!({
                    "name": measured.scenario.name,
                    "about": measured.scenario.about,
                    "servers": servers,
                })
            })
            .collect();
        json!({
            "machine": machine::description(self.cores),
            "versions": versions(),
            "seconds": self.seconds,
            "rounds": self.rounds,
            "servers": self.servers,
            "scenarios": scenarios,
        })
    }

    fn json_of(&self, measured: &Measured, server: usize) -> Value {
        let mut medians = Map::new();
        let mut ratios = Map::new();
        for measure in measured.measures() {
            if let Some(summary) = measured.summary(server, measure) {
                medians.insert(measure.name.into(), json!(summary.median));
            }
            if let Some(ratio) = measured.ratio(server, measure).filter(|_| server > 0) {
                ratios.insert(measure.name.into(), json!(ratio.median));
            }
        }
        let rounds: Vec<Value> = measured.samples[server]
            .iter()
            .map(|sample| match sample {
                Ok(readings) => {
                    let values = readings.iter();
                    let values: Map<String, Value> = values
                        .map(|(measure, value)| (measure.name.into(), json!(value)))
                        .collect();
                    Value::Object(values)
                }
                Err(error) => json!({ "failed": error }),
            })
            .collect();
        json!({ "rounds": rounds, "medians": medians, "ratios_of_the_first_to_it": ratios })
    }

    /// Writes `bench.json` and `bench.svg` to a folder.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let json = folder.join("bench.json");
        fs::write(&json, format!("{:#}\n", self.json()))
            .with_context(|| format!("cannot write {}", json.display()))?;
        let svg = folder.join("bench.svg");
        plot::plot(self, &svg).map_err(|error| anyhow!("cannot draw {}: {error}", svg.display()))
    }
}

/// Of what the servers were made, as far as it is known.
fn versions() -> Value {
    let root = stages::root();
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(root)
            .output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let mut versions = Map::new();
    versions.insert("rustc".into(), json!(output("rustc", &["--version"])));
    versions.insert(
        "book".into(),
        json!(output("git", &["describe", "--always", "--dirty"])),
    );
    for library in LIBRARIES {
        let entry = format!("name = \"{library}\"\nversion = \"");
        let version = lock
            .split_once(&entry)
            .and_then(|(_, rest)| rest.split('"').next());
        versions.insert(library.into(), json!(version));
    }
    Value::Object(versions)
}

/// The measure that a scenario is about: the first that says which server is the better one.
pub fn main_measure(measured: &Measured) -> Option<&'static Measure> {
    let better = |measure: &&'static Measure| measure.better.is_some();
    measured.measures().into_iter().find(better)
}

/// Which way is better, for people.
pub fn direction(measure: &Measure) -> &'static str {
    match measure.better {
        Some(Better::Higher) => "higher is better",
        Some(Better::Lower) => "lower is better",
        None => "",
    }
}
