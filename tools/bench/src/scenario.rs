//! The list of scenarios: what can be measured.

use anyhow::{Result, bail};

use crate::load::Load;

/// One kind of measurement.
#[derive(Clone)]
pub(crate) struct Scenario {
    /// `pairs-50`.
    pub(crate) name: &'static str,
    /// What is measured, in one sentence.
    pub(crate) about: &'static str,
    pub(crate) load: Load,
    /// The limit on the descriptors of the server, if there is one.
    pub(crate) descriptors: Option<u32>,
}

const fn scenario(name: &'static str, load: Load, about: &'static str) -> Scenario {
    Scenario {
        name,
        about,
        load,
        descriptors: None,
    }
}

/// All scenarios, in the order in which they are run.
pub(crate) const SCENARIOS: [Scenario; 14] = [
    scenario(
        "pairs-1",
        |run| run.pairs(1, 10_000),
        "One client writes to another as fast as it can, 10,000 messages ahead at most.",
    ),
    scenario(
        "pairs-50",
        |run| run.pairs(50, 1_000),
        "In 50 pairs, one writes to the other as fast as it can, 1,000 messages ahead at most.",
    ),
    scenario(
        "pairs-500",
        |run| run.pairs(500, 1_000),
        "In 500 pairs, one writes to the other as fast as it can, 1,000 messages ahead at most.",
    ),
    scenario(
        "ping-pong-50",
        |run| run.ping_pong(50),
        "In each of 50 pairs one message goes to and fro; the time is that of one way.",
    ),
    scenario(
        "ping-pong-500",
        |run| run.ping_pong(500),
        "In each of 500 pairs one message goes to and fro; the time is that of one way.",
    ),
    scenario(
        "fan-out-100",
        |run| run.fan(1, 100, 1_000),
        "One client writes lines to 100 others, 1,000 lines ahead at most; each copy counts.",
    ),
    scenario(
        "fan-out-500",
        |run| run.fan(1, 500, 1_000),
        "One client writes lines to 500 others, 1,000 lines ahead at most; each copy counts.",
    ),
    scenario(
        "fan-in",
        |run| run.fan(50, 1, 1_000),
        "50 clients write to one as fast as they can, 1,000 messages ahead at most.",
    ),
    scenario(
        "latency",
        |run| run.latency(100, 5_000),
        "100 clients write 5,000 messages a second by the clock; how long after its time does each arrive?",
    ),
    scenario(
        "idle",
        |run| run.idle(10_000),
        "10,000 clients log in and say nothing more; how much memory does each cost?",
    ),
    scenario(
        "slow-reader",
        |run| run.slow_reader(1_000_000),
        "One client is written 1,000,000 lines of 100 bytes and never reads; how do the server and 20 \
         others fare who write 1,000 messages a second by the clock?",
    ),
    scenario(
        "churn",
        |run| run.churn(32),
        "32 clients at a time connect, log in, write one message to themselves, and leave.",
    ),
    scenario(
        "endless-line",
        |run| run.endless_line(200_000_000),
        "One client writes 200 MB without a line feed.",
    ),
    Scenario {
        descriptors: Some(64),
        ..scenario(
            "descriptors",
            |run| run.descriptors(64),
            "More clients connect than the server may have descriptors, 64; then they leave, and a new \
             one must be served.",
        )
    },
];

/// The scenarios that these names stand for: each is the name of one, or how several begin. No name stands
/// for all. Of a name that stands for none, the error lists those that there are.
pub(crate) fn choose(names: &[String]) -> Result<Vec<Scenario>> {
    let begins = |scenario: &Scenario, name: &String| scenario.name.starts_with(name.as_str());
    for name in names {
        if !SCENARIOS.iter().any(|scenario| begins(scenario, name)) {
            let known = SCENARIOS.map(|scenario| scenario.name).join(", ");
            bail!("there is no scenario named {name}; there are: {known}");
        }
    }
    let mut chosen = SCENARIOS.to_vec();
    chosen.retain(|scenario| names.is_empty() || names.iter().any(|name| begins(scenario, name)));
    Ok(chosen)
}
