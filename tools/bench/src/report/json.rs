//! The report as JSON: every value, and on what machine and with which versions it was measured.

use std::{fs, process::Command};

use examiner::stages;
use serde_json::{Value, json};

use super::{Measured, Report};

/// The libraries whose versions matter for a server.
const LIBRARIES: [&str; 4] = ["async-std", "futures", "mio", "tokio"];

/// The whole record.
pub(crate) fn record(report: &Report) -> Value {
    let scenario = |measured: &Measured| {
        let servers = report.servers.iter().zip(0..);
        let servers = servers.map(|(name, server)| (name.as_str(), rounds(measured, server)));
        json!({
            "name": measured.scenario.name,
            "about": measured.scenario.about,
            "servers": servers.collect::<Value>(),
        })
    };
    json!({
        "machine": report.machine,
        "versions": versions(),
        "seconds": report.seconds,
        "rounds": report.rounds,
        "servers": report.servers,
        "scenarios": report.measured.iter().map(scenario).collect::<Value>(),
    })
}

/// What one server did in one scenario.
fn rounds(measured: &Measured, server: usize) -> Value {
    let rounds = measured.samples[server].iter().map(|sample| match sample {
        Ok(readings) => readings
            .iter()
            .map(|(metric, value)| (metric.name, *value))
            .collect(),
        Err(error) => json!({ "failed": format!("{error:#}") }),
    });
    let of_metrics = |value: &dyn Fn(_) -> Option<f64>| -> Value {
        let metrics = measured.metrics().into_iter();
        metrics
            .filter_map(|metric| Some((metric.name, value(metric)?)))
            .collect()
    };
    json!({
        "rounds": rounds.collect::<Value>(),
        "medians": of_metrics(&|metric| Some(measured.summary(server, metric)?.median)),
        "ratios_of_the_first_to_it": of_metrics(&|metric| {
            measured.ratio(server, metric).filter(|_| server > 0)
        }),
    })
}

/// What the servers were made of, as far as it is known.
fn versions() -> Value {
    let root = stages::root();
    let output = |command: &[&str]| {
        let (program, arguments) = command.split_first()?;
        let mut command = Command::new(program);
        let output = command.args(arguments).current_dir(root).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_string();
        output.status.success().then_some(text)
    };
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let locked = |library: &str| {
        let (_, entry) = lock.split_once(&format!("name = \"{library}\"\nversion = \""))?;
        Some(entry.split_once('"')?.0.to_string())
    };
    let built = [
        ("rustc", output(&["rustc", "--version"])),
        ("book", output(&["git", "describe", "--always", "--dirty"])),
    ];
    let libraries = LIBRARIES.map(|library| (library, locked(library)));
    built.into_iter().chain(libraries).collect()
}
