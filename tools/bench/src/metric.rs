//! The numbers that measurements yield.

/// What a number says.
#[derive(Debug, PartialEq)]
pub(crate) struct Metric {
    /// What is measured, with its unit: `messages/s`.
    pub(crate) name: &'static str,
    /// Which of two values is the better one; `None` for what only explains the others.
    pub(crate) better: Option<&'static str>,
}

/// One number.
pub(crate) type Reading = (&'static Metric, f64);

const fn metric(name: &'static str, better: Option<&'static str>) -> Metric {
    Metric { name, better }
}

const HIGHER: Option<&str> = Some("higher");
const LOWER: Option<&str> = Some("lower");

pub(crate) const MESSAGES: Metric = metric("messages/s", HIGHER);
pub(crate) const SERVER_CPU: Metric = metric("server CPU µs/message", LOWER);
pub(crate) const CONNECTION_MEMORY: Metric = metric("memory kB/connection", LOWER);
pub(crate) const P50: Metric = metric("p50 µs", LOWER);
pub(crate) const P99: Metric = metric("p99 µs", LOWER);
pub(crate) const P999: Metric = metric("p99.9 µs", LOWER);
pub(crate) const UNDISTURBED: Metric = metric("p99 µs before", None);
pub(crate) const DISTURBED: Metric = metric("p99 µs meanwhile", LOWER);
pub(crate) const STALL: Metric = metric("longest wait ms", LOWER);
pub(crate) const GROWTH: Metric = metric("memory growth MB", LOWER);
pub(crate) const REFUSED: Metric = metric("refused messages", None);
pub(crate) const LOST: Metric = metric("lost messages", LOWER);
pub(crate) const TAKEN: Metric = metric("taken up MB", None);
pub(crate) const CLOSED: Metric = metric("closed (1: yes)", None);
pub(crate) const VISITS: Metric = metric("visits/s", HIGHER);
pub(crate) const VISIT_CPU: Metric = metric("server CPU µs/visit", LOWER);
pub(crate) const LOGINS: Metric = metric("logins/s", None);
pub(crate) const FULL_CPU: Metric = metric("server busy % while full", LOWER);
pub(crate) const SERVER_BUSY: Metric = metric("server busy %", None);
/// How busy the load generator was. Near 100 % the server may be faster than it was measured.
pub(crate) const GENERATOR_BUSY: Metric = metric("generator busy %", None);
/// How much of the time other programs kept the load generator from its processor.
pub(crate) const GENERATOR_WAITED: Metric = metric("generator kept waiting %", None);

/// A number with three significant digits: `9.99`, `123 k`.
pub(crate) fn number(value: f64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let shown = [
            0.0, 0.1234, 9.994, 99.94, 123.4, 9_994.0, 9_999.0, 123_456.0, 999_700.0,
        ];
        let wanted = [
            "0", "0.12", "9.99", "99.9", "123", "9994", "10.0 k", "123 k", "1.00 M",
        ];
        assert_eq!(shown.map(number), wanted);
        assert_eq!(number(12_345_678.0), "12.3 M");
    }
}
