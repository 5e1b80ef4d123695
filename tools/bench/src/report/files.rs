//! The files of a report, for programs and for chapters.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::{Report, json, plot};

/// Writes `bench.json` and `bench.svg`.
pub(crate) fn write(report: &Report, folder: &Path) -> Result<()> {
    let json = format!("{:#}\n", json::record(report));
    let svg = plot::svg(report).context("cannot draw bench.svg")?;
    for (name, text) in [("bench.json", json), ("bench.svg", svg)] {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
