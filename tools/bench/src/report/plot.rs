//! The report as a picture: for each scenario a bar for each server, with the spread; for a single scenario,
//! bars for every metric that says which server is the better one.

use super::{Measured, Report};
use crate::metric::{Metric, number};

/// The height of a title or a bar with what is around it, in pixels. The baseline of a text is above the end.
const LINE: usize = 26;
const BASELINE: usize = 8;

/// Where bars begin, how long the longest is, and the room for its value, in pixels.
const LEFT: usize = 200;
const LONGEST: usize = 400;
const RIGHT: usize = 180;

/// The picture, as SVG.
pub(crate) fn svg(report: &Report) -> String {
    // The metric that a scenario is about comes first.
    let most = if report.measured.len() > 1 {
        1
    } else {
        usize::MAX
    };
    let parts = report.measured.iter().flat_map(|measured| {
        let metrics = measured.metrics().into_iter();
        let judging = metrics.filter(|metric| metric.better.is_some()).take(most);
        judging.flat_map(move |metric| bars(report, measured, metric))
    });
    let lines: Vec<String> = parts.collect();
    let (width, height) = (LEFT + LONGEST + RIGHT, LINE * lines.len());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n"
    );
    for (place, line) in lines.iter().enumerate() {
        svg += &format!(
            "<g transform=\"translate({LEFT} {})\">{line}</g>\n",
            LINE * place
        );
    }
    svg + "</svg>\n"
}

/// A title, and a bar for each server that was measured.
fn bars(report: &Report, measured: &Measured, metric: &Metric) -> Vec<String> {
    let text = |x: f64, anchor: &str, text: &str| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let y = LINE - BASELINE;
        format!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>")
    };
    let servers = report.servers.iter().enumerate();
    let summaries = servers.filter_map(|(at, name)| Some((name, measured.summary(at, metric)?)));
    let summaries: Vec<_> = summaries.collect();
    let highest = summaries.iter().map(|(_, summary)| summary.highest);
    let scale = LONGEST as f64 / highest.fold(f64::MIN_POSITIVE, f64::max);
    let better = metric.better.unwrap_or_default();
    let title = format!(
        "{}: {} ({better} is better)",
        measured.scenario.name, metric.name
    );
    let mut lines = vec![text(0.0, "start", &title)];
    for (name, summary) in summaries {
        let [median, lowest, highest] =
            [summary.median, summary.lowest, summary.highest].map(|value| scale * value);
        let (value, middle) = (number(summary.median), LINE / 2);
        lines.push(format!(
            "{}<rect y=\"4\" width=\"{median:.1}\" height=\"{}\" fill=\"steelblue\"/>\
             <path d=\"M{lowest:.1} {middle}H{highest:.1}\" stroke=\"black\"/>{}",
            text(-8.0, "end", name),
            LINE - 8,
            text(highest + 8.0, "start", &value)
        ));
    }
    lines
}
