//! The report as a plot: for each scenario a bar for each server, with the spread; for a single scenario one
//! part for every metric that says which server is the better one.

use anyhow::Result;
use plotters::{coord::Shift, prelude::*};

use super::{Measured, Report};
use crate::metric::{Metric, number};

/// The width of one scenario's part, in pixels.
const WIDTH: u32 = 420;

/// The height of a part: what the title and the axis need, and what each server does.
const HEIGHT: (u32, u32) = (70, 30);

/// How many parts stand side by side.
const COLUMNS: usize = 2;

/// The room for a letter of a server's name, in pixels.
const LETTER: u32 = 7;

/// The whole picture, as SVG.
pub(super) fn svg(report: &Report) -> Result<String> {
    // The metric that a scenario is about comes first.
    let most = if report.measured.len() > 1 {
        1
    } else {
        usize::MAX
    };
    let parts = report.measured.iter().flat_map(|measured| {
        let metrics = measured.metrics().into_iter();
        let judging = metrics.filter_map(move |metric| Some((measured, metric, metric.better?)));
        judging.take(most)
    });
    let parts: Vec<_> = parts.collect();
    let rows = parts.len().div_ceil(COLUMNS).max(1);
    let height = HEIGHT.0 + HEIGHT.1 * u32::try_from(report.servers.len())?;
    let size = (WIDTH * COLUMNS as u32, height * u32::try_from(rows)?);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        let places = root.split_evenly((rows, COLUMNS));
        for ((measured, metric, better), place) in parts.into_iter().zip(&places) {
            draw(report, measured, metric, better, place)?;
        }
        root.present()?;
    }
    Ok(svg)
}

fn draw(
    report: &Report,
    measured: &Measured,
    metric: &Metric,
    better: &str,
    place: &DrawingArea<SVGBackend, Shift>,
) -> Result<()> {
    let servers = report.servers.len();
    // From below: the first server is at the top, where the axis ends.
    let names: Vec<&String> = report.servers.iter().rev().collect();
    let summaries = (0..servers)
        .rev()
        .map(|server| measured.summary(server, metric));
    let summaries: Vec<_> = summaries.collect();
    let highest = summaries.iter().flatten().map(|summary| summary.highest);
    let highest = highest.fold(0.0, f64::max);
    let end = if highest > 0.0 { 1.1 * highest } else { 1.0 };
    let longest = names.iter().map(|name| name.chars().count()).max();
    let width = LETTER * u32::try_from(longest.unwrap_or(0))?;
    let title = format!(
        "{}: {} ({better} is better)",
        measured.scenario.name, metric.name
    );
    let mut chart = ChartBuilder::on(place)
        .margin(10)
        .margin_right(30)
        .caption(title, ("sans-serif", 15))
        .x_label_area_size(24)
        .y_label_area_size(width + 10)
        .build_cartesian_2d(0.0..end, (0..servers - 1).into_segmented())?;
    let name = |segment: &SegmentValue<usize>| match segment {
        SegmentValue::CenterOf(at) => names[*at].clone(),
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(5)
        .x_label_formatter(&|value| number(*value))
        .y_labels(servers)
        .y_label_formatter(&name)
        .label_style(("sans-serif", 13))
        .draw()?;
    for (at, summary) in summaries.iter().enumerate() {
        let Some(summary) = summary else { continue };
        let corners = [
            (0.0, SegmentValue::Exact(at)),
            (summary.median, SegmentValue::Exact(at + 1)),
        ];
        let colour = Palette99::pick(servers - 1 - at).mix(0.7);
        let mut bar = Rectangle::new(corners, colour.filled());
        bar.set_margin(6, 6, 0, 0);
        chart.draw_series([bar])?;
        chart.draw_series([ErrorBar::new_horizontal(
            SegmentValue::CenterOf(at),
            summary.lowest,
            summary.median,
            summary.highest,
            BLACK.filled(),
            6,
        )])?;
    }
    Ok(())
}
