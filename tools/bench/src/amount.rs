//! Numbers on the command line that have a least and a greatest value.

use std::ops::RangeInclusive;

use anyhow::{Result, bail};

/// A parser of numbers in this range.
pub(crate) fn within(range: RangeInclusive<f64>) -> impl Fn(&str) -> Result<f64> + Clone {
    move |text| match text.parse() {
        Ok(amount) if range.contains(&amount) => Ok(amount),
        _ => bail!(
            "expected a number from {} to {}",
            range.start(),
            range.end()
        ),
    }
}
