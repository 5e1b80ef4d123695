//! The report for people: a table for each scenario, and how far the numbers can be trusted.

use super::{Measured, Report};
use crate::{
    machine::Cores,
    metric::{GENERATOR_BUSY, GENERATOR_WAITED, number},
};

/// Above this share of its processor the load generator may have been what limits the rate, in percent.
const NEARLY_ALL: f64 = 95.0;

/// Above this share of the time that others keep the load generator waiting, the machine is busy with
/// something else, in percent.
const SOME: f64 = 5.0;

/// The whole text.
pub(crate) fn text(report: &Report) -> String {
    let tables = report
        .measured
        .iter()
        .map(|measured| table(report, measured) + "\n\n");
    let mut text: String = tables.collect();
    text += &format!(
        "Medians of {} rounds of {} s, the lowest and the highest in brackets; × is how many times the \
         value of {} is that of the other server, round by round.\n",
        report.rounds,
        number(report.seconds),
        report.servers[0]
    );
    text += &match report.cores {
        Some(Cores { server, generator }) => {
            format!("Each server ran on processor {server}, the clients on processor {generator}.")
        }
        None => "The servers and the clients shared all processors: they could not be kept apart."
            .to_string(),
    };
    text + &bottlenecks(report)
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
        let errors = samples.iter().filter_map(|sample| sample.as_ref().err());
        let mut errors: Vec<String> = errors.map(|error| format!("{error:#}")).collect();
        errors.sort();
        for same in errors.chunk_by(String::eq) {
            let (times, rounds, error) = (same.len(), samples.len(), &same[0]);
            text += &format!("\n   {name} failed in {times} of {rounds} rounds: {error}");
        }
    }
    text
}

/// Where the load generator may have been slower than the server.
fn bottlenecks(report: &Report) -> String {
    // How much of its processor it wanted, how much of that it was kept waiting, and where.
    let mut demands: Vec<(f64, f64, String)> = Vec::new();
    for measured in &report.measured {
        for (server, name) in report.servers.iter().enumerate() {
            let percent = |metric| Some(measured.summary(server, metric)?.median);
            if let Some(busy) = percent(&GENERATOR_BUSY) {
                let waited = percent(&GENERATOR_WAITED).unwrap_or(0.0);
                let place = format!("{}, {name}", measured.scenario.name);
                demands.push((busy + waited, waited, place));
            }
        }
    }
    let mut text = String::new();
    demands.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (demand, _, place) in demands.iter().filter(|(demand, ..)| *demand >= NEARLY_ALL) {
        text += &format!(
            "\n{place}: the generator wanted its processor {demand:.0} % of the time, so the server may be \
             faster than it was measured."
        );
    }
    if let Some((demand, _, place)) = demands.first().filter(|_| text.is_empty()) {
        text += &format!(
            "\nThe generator wanted its processor {demand:.0} % of the time at most ({place}), so it was \
             never what limits a rate."
        );
    }
    let most = demands.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((_, waited, place)) = most.filter(|(_, waited, _)| *waited > SOME) {
        text += &format!(
            "\nOther programs kept it waiting {waited:.0} % of the time ({place}): the machine was busy; trust \
             ratios only, and those of processor time before those of rates."
        );
    }
    text
}
