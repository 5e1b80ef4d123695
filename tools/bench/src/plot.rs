//! A plot of what was measured: for each scenario a bar for each server, with the spread; for a single
//! scenario one part for everything that says which server is the better one.

use std::{error::Error, path::Path};

use plotters::prelude::*;

use super::{
    report::{Measured, Report, direction, main_measure, number},
    scenario::Measure,
};

/// The width of one scenario's part, in pixels.
const WIDTH: u32 = 420;

/// The height of a part: what the title and the axis need, and what each server does.
const HEIGHT: (u32, u32) = (70, 30);

/// How many parts stand side by side.
const COLUMNS: usize = 2;

/// The room for a letter of a server's name, in pixels.
const LETTER: u32 = 7;

/// Writes an SVG file.
pub fn plot(report: &Report, file: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let shown: Vec<(&Measured, &Measure)> = match report.measured.as_slice() {
        [only] => {
            let praising = only.measures().into_iter().filter(|m| m.better.is_some());
            praising.map(|measure| (only, measure)).collect()
        }
        all => all
            .iter()
            .filter_map(|measured| Some((measured, main_measure(measured)?)))
            .collect(),
    };
    let rows = shown.len().div_ceil(COLUMNS).max(1);
    let servers = u32::try_from(report.servers.len())?;
    let height = HEIGHT.0 + HEIGHT.1 * servers;
    let size = (WIDTH * COLUMNS as u32, height * u32::try_from(rows)?);
    let failed = |error: &dyn Error| error.to_string();
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(&error))?;
        let parts = root.split_evenly((rows, COLUMNS));
        for ((measured, measure), part) in shown.into_iter().zip(&parts) {
            draw(report, measured, measure, part).map_err(|error| failed(&*error))?;
        }
        root.present().map_err(|error| failed(&error))?;
    }
    std::fs::write(file, svg)?;
    Ok(())
}

fn draw<'a>(
    report: &Report,
    measured: &Measured,
    measure: &Measure,
    part: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
) -> Result<(), Box<dyn Error + 'a>> {
    let servers = report.servers.len();
    let summaries: Vec<_> = (0..servers)
        .map(|server| measured.summary(server, measure))
        .collect();
    let highest = summaries
        .iter()
        .flatten()
        .map(|s| s.highest)
        .fold(0.0, f64::max);
    let end = if highest > 0.0 { 1.1 * highest } else { 1.0 };
    let title = format!(
        "{}: {} ({})",
        measured.scenario.name,
        measure.name,
        direction(measure)
    );
    let longest = report.servers.iter().map(|name| name.chars().count()).max();
    let names = LETTER * u32::try_from(longest.unwrap_or(0))?;
    // The first server is at the top, where the axis ends.
    let place = |server: usize| servers - 1 - server;
    let mut chart = ChartBuilder::on(part)
        .margin(10)
        .margin_right(30)
        .caption(title, ("sans-serif", 15))
        .x_label_area_size(24)
        .y_label_area_size(names + 10)
        .build_cartesian_2d(0.0..end, (0..servers - 1).into_segmented())?;
    let name = |segment: &SegmentValue<usize>| match segment {
        SegmentValue::CenterOf(at) => report.servers[place(*at)].clone(),
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
    for (server, summary) in summaries.iter().enumerate() {
        let Some(summary) = summary else { continue };
        let at = place(server);
        let corners = [
            (0.0, SegmentValue::Exact(at)),
            (summary.median, SegmentValue::Exact(at + 1)),
        ];
        let mut bar = Rectangle::new(corners, Palette99::pick(server).mix(0.7).filled());
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
