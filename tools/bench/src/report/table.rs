//! The report for people: a table for each scenario, and how far the numbers can be trusted.

use super::{Measured, Report, failures};
use crate::{machine::Cores, metric::number};

/// How far the numbers can be trusted.
const TRUST: &str = "Where `generator busy %` and `generator kept waiting %` come near 100 together, the server \
                     may be faster than it was measured. Where other programs kept the generator waiting for \
                     more than 5 %, trust ratios only, and those of processor time before those of rates.";

/// The whole text.
pub(crate) fn text(report: &Report) -> String {
    let tables = report.measured.iter();
    let tables: String = tables
        .map(|measured| table(report, measured) + "\n\n")
        .collect();
    let place = match report.cores {
        Some(Cores { server, generator }) => {
            format!("Each server ran on processor {server}, the clients on processor {generator}.")
        }
        None => "The servers and the clients shared all processors: they could not be kept apart."
            .to_string(),
    };
    format!(
        "{tables}Medians of {} rounds of {} s, the lowest and the highest in brackets; × is how many times \
         the value of {} is that of the other server, round by round.\n{place}\n{TRUST}",
        report.rounds,
        number(report.seconds),
        report.servers[0]
    )
}

fn table(report: &Report, measured: &Measured) -> String {
    let servers = report.servers.len();
    let row = |start: &str, cell: &dyn Fn(usize) -> Option<String>| -> Vec<String> {
        let cells = (0..servers).map(|server| cell(server).unwrap_or("–".to_string()));
        [start.to_string()].into_iter().chain(cells).collect()
    };
    let mut rows = vec![row("", &|server| Some(report.servers[server].clone()))];
    for metric in measured.metrics() {
        rows.push(row(metric.name, &|server| {
            let values = measured.summary(server, metric)?;
            let [median, lowest, highest] =
                [values.median, values.lowest, values.highest].map(number);
            Some(format!("{median} ({lowest}–{highest})"))
        }));
        if metric.better.is_some() && servers > 1 {
            rows.push(row("  ×", &|server| match server {
                0 => Some(String::new()),
                _ => measured.ratio(server, metric).map(number),
            }));
        }
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..=servers).filter_map(width).collect();
    let mut text = format!("{}: {}\n", measured.scenario.name, measured.scenario.about);
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let line: String = cells
            .map(|(cell, width)| format!("   {cell:<width$}"))
            .collect();
        text += &format!("\n{}", line.trim_end());
    }
    for (name, samples) in report.servers.iter().zip(&measured.samples) {
        let mut errors: Vec<String> = failures(samples).collect();
        errors.sort();
        for same in errors.chunk_by(String::eq) {
            let (times, rounds, error) = (same.len(), samples.len(), &same[0]);
            text += &format!("\n   {name} failed in {times} of {rounds} rounds: {error}");
        }
    }
    text
}
