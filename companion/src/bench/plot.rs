//! A plot of what was measured: for each scenario a bar for each server, with the spread.

use std::{error::Error, path::Path};

use plotters::prelude::*;

use super::report::{Measured, Report, direction, main_measure, number};

/// The size of one scenario's part, in pixels.
const PART: (u32, u32) = (360, 260);

/// How many parts stand side by side.
const COLUMNS: usize = 3;

/// Writes an SVG file.
pub fn plot(report: &Report, file: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let rows = report.measured.len().div_ceil(COLUMNS).max(1);
    let size = (PART.0 * COLUMNS as u32, PART.1 * rows as u32);
    let failed = |error: &dyn Error| error.to_string();
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(&error))?;
        let parts = root.split_evenly((rows, COLUMNS));
        for (measured, part) in report.measured.iter().zip(&parts) {
            draw(report, measured, part).map_err(|error| failed(&*error))?;
        }
        root.present().map_err(|error| failed(&error))?;
    }
    std::fs::write(file, svg)?;
    Ok(())
}

fn draw<'a>(
    report: &Report,
    measured: &Measured,
    part: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
) -> Result<(), Box<dyn Error + 'a>> {
    let Some(measure) = main_measure(measured) else {
        return Ok(());
    };
    let servers = report.servers.len();
    let summaries: Vec<_> = (0..servers)
        .map(|server| measured.summary(server, measure))
        .collect();
    let highest = summaries
        .iter()
        .flatten()
        .map(|s| s.highest)
        .fold(0.0, f64::max);
    let top = if highest > 0.0 { 1.15 * highest } else { 1.0 };
    let title = format!(
        "{}: {} ({})",
        measured.scenario.name,
        measure.name,
        direction(measure)
    );
    let mut chart = ChartBuilder::on(part)
        .margin(10)
        .caption(title, ("sans-serif", 13))
        .x_label_area_size(24)
        .y_label_area_size(52)
        .build_cartesian_2d((0..servers).into_segmented(), 0.0..top)?;
    let name = |segment: &SegmentValue<usize>| match segment {
        SegmentValue::CenterOf(server) => report.servers.get(*server).cloned().unwrap_or_default(),
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(servers)
        .x_label_formatter(&name)
        .y_labels(5)
        .y_label_formatter(&|value| number(*value))
        .label_style(("sans-serif", 11))
        .draw()?;
    for (server, summary) in summaries.iter().enumerate() {
        let Some(summary) = summary else { continue };
        let style = Palette99::pick(server).mix(0.7).filled();
        let corners = [
            (SegmentValue::Exact(server), 0.0),
            (SegmentValue::Exact(server + 1), summary.median),
        ];
        let mut bar = Rectangle::new(corners, style);
        bar.set_margin(0, 0, 14, 14);
        chart.draw_series([bar])?;
        chart.draw_series([ErrorBar::new_vertical(
            SegmentValue::CenterOf(server),
            summary.lowest,
            summary.median,
            summary.highest,
            BLACK.filled(),
            8,
        )])?;
    }
    Ok(())
}
