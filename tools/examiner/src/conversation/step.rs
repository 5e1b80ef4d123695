//! Reads the steps of a conversation.

use std::time::Duration;

use super::{
    kdl::Node,
    model::{Action, SERVER, Step},
};
use crate::Error;

/// Appends the steps of a node in this round of `repeat`: one, or those of all rounds of a `repeat` in it.
pub(super) fn push(node: &Node, round: Option<usize>, steps: &mut Vec<Step>) -> Result<(), Error> {
    if node.name != "repeat" {
        steps.push(step(node, round)?);
        return Ok(());
    }
    let times = node.integers().next().and_then(|n| n.try_into().ok());
    let times: usize = times.ok_or_else(|| node.error("expected `repeat NUMBER { … }`"))?;
    for n in 1..=times {
        for child in &node.children {
            push(child, Some(n), steps)?;
        }
    }
    Ok(())
}

fn step(node: &Node, round: Option<usize>) -> Result<Step, Error> {
    let fill = |text: &str| match round {
        Some(n) => series(&numbered(text, n)),
        None => series(text),
    };
    let who = fill(&node.name);
    let mut texts = node.texts();
    let verb = texts
        .next()
        .ok_or_else(|| node.error("expected `NAME VERB …`, for example `alice connects`"))?;
    node.allow(match verb {
        "sends" | "writes" => "times padded-to each-byte may-fail within",
        "receives" => "times padded-to within proves",
        "receives-mixed" | "is-told" => "times within proves",
        "has-grown" => "less-than proves",
        _ => "within proves",
    })?;
    let texts: Vec<&str> = texts.collect();
    let argument = || match texts.first() {
        Some(text) => Ok(fill(text)),
        None => Err(node.error(format!("{verb} what? expected a text in quotes"))),
    };
    let times = node.number("times")?.unwrap_or(1);
    let length: usize = node.number("padded-to")?.unwrap_or(0);
    let padded = |text: String| {
        let padding = "x".repeat(length.saturating_sub(text.len()));
        text + &padding
    };
    let sends = |bytes| {
        Ok(Action::Sends {
            bytes,
            times,
            each_byte: node.flag("each-byte")?,
            may_fail: node.flag("may-fail")?,
        })
    };
    let action = match (who == SERVER, verb) {
        (true, "reports") => Action::Reports(argument()?),
        (true, "gets-interrupt") => Action::GetsInterrupt,
        (true, "gets-terminate") => Action::GetsTerminate,
        (true, "is-paused") => Action::IsPaused,
        (true, "is-resumed") => Action::IsResumed,
        (true, "refuses-connections") => Action::RefusesConnections,
        (true, "keeps-running") => Action::KeepsRunning,
        (true, "idles") => Action::Idles,
        (true, "catches-up") => Action::CatchesUp,
        (true, "has-grown") => {
            let limit = node.number("less-than")?;
            let expected = || node.error("expected `has-grown less-than=MEGABYTES`");
            Action::HasGrownLessThan(limit.ok_or_else(expected)?)
        }
        (true, "exits") => {
            let status = node.integers().next().and_then(|n| n.try_into().ok());
            Action::Exits(status.ok_or_else(|| node.error("expected `server exits STATUS`"))?)
        }
        (false, "connects") => Action::Connects,
        (false, "joins") => Action::Joins,
        (false, "sends") => sends((padded(argument()?) + "\n").into_bytes())?,
        (false, "writes") => {
            let text = texts.first().map(|text| fill(text));
            let mut bytes = padded(text.unwrap_or_default()).into_bytes();
            for n in node.integers() {
                let byte = u8::try_from(n);
                bytes.push(
                    byte.map_err(|_| node.error(format!("{n} is no byte; expected 0x00 to 0xff")))?,
                );
            }
            sends(bytes)?
        }
        (false, "receives") => Action::Receives {
            line: padded(argument()?),
            times,
        },
        (false, "is-told") => Action::IsTold {
            words: argument()?,
            times,
        },
        (false, "passes-over") => Action::PassesOver(argument()?),
        (false, "receives-mixed") => {
            let lines = |text: &&str| (1..=times).map(|n| numbered(text, n)).collect();
            Action::ReceivesMixed(texts.iter().map(lines).collect())
        }
        (false, "finishes") => Action::Finishes,
        (false, "leaves") => Action::Leaves,
        (false, "resets") => Action::Resets,
        (false, "sees-end") => Action::SeesEnd,
        (true, _) => {
            return Err(node.error(format!(
                "the server cannot be told to `{verb}`; it reports, gets-interrupt, gets-terminate, \
                 is-paused, is-resumed, refuses-connections, keeps-running, idles, catches-up, has-grown, exits"
            )));
        }
        (false, _) => {
            return Err(node.error(format!(
                "a client cannot `{verb}`; it connects, joins, sends, writes, receives, is-told, \
                 receives-mixed, passes-over, finishes, leaves, resets, sees-end"
            )));
        }
    };
    Ok(Step {
        who,
        action,
        within: node.number("within")?.map(Duration::from_secs),
        proves: node.flag("proves")?,
        round,
        line: node.line,
    })
}

fn numbered(text: &str, n: usize) -> String {
    text.replace("{n}", &n.to_string())
}

/// Writes `c{1..3}` out as `c1, c2, c3`.
fn series(text: &str) -> String {
    let written_out = || {
        let (before, rest) = text.split_once('{')?;
        let (range, after) = rest.split_once('}')?;
        let (first, last) = range.split_once("..")?;
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        let start = before.rfind([' ', ',']).map_or(0, |space| space + 1);
        let (before, prefix) = before.split_at(start);
        let names: Vec<String> = (first..=last).map(|n| format!("{prefix}{n}")).collect();
        Some(format!("{before}{}{after}", names.join(", ")))
    };
    written_out().unwrap_or_else(|| text.to_string())
}
