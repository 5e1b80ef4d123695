//! The ledger of faults, `src/en/faults.md`: each fault is in the stages that it says, and in no other.

use std::fs;

use examiner::{conversation::Promise, stages};

use super::{Player, Timed};
use crate::common::{Book, Result, message};

const LEDGER: &str = "src/en/faults.md";

pub(super) fn trials(book: Book) -> Result<Vec<Timed>> {
    let text = fs::read_to_string(stages::root().join(LEDGER))?;
    let mut trials = Vec::new();
    let mut numbers = Vec::new();
    for row in text.lines().filter(|line| line.starts_with("| ")).skip(2) {
        let cells: Vec<&str> = row
            .split('|')
            .map(|cell| cell.trim_matches([' ', '`']))
            .collect();
        let ["", number, _, first, closed, shown_by, ""] = cells[..] else {
            return Err(format!("{LEDGER}: expected five cells in `{row}`").into());
        };
        let place = |error| format!("{LEDGER}: fault {number}: {}", message(&error));
        trials.extend(fault(book, [number, first, closed, shown_by]).map_err(place)?);
        numbers.push(number.to_string());
    }
    let expected: Vec<String> = (1..=20).map(|number| number.to_string()).collect();
    match numbers == expected {
        true => Ok(trials),
        false => Err(format!("{LEDGER}: expected the faults 1 to 20, found {numbers:?}").into()),
    }
}

/// A row: the number of a fault, the first stage that has it, or `never`, the stage that closes it, and the
/// conversation that shows it, or the command of a test.
fn fault(book: Book, [number, first, closed, shown_by]: [&str; 4]) -> Result<Vec<Timed>> {
    let closes = |n: &u32| n.to_string() == number;
    let listed = book
        .list
        .programs()
        .find(|program| program.closes.iter().any(closes));
    let listed = listed.map_or("", |program| &program.name);
    if listed != closed {
        Err(format!(
            "it's closed in `{closed}`, but code/stages.toml says `{listed}`"
        ))?;
    }
    if let Some(test) = shown_by.strip_prefix("cargo test --test ") {
        let module = stages::root()
            .join("tests")
            .join(test.trim_end_matches("::").replace(' ', "/"));
        let is_there = module.with_extension("rs").is_file() || module.join("mod.rs").is_file();
        return match is_there {
            true => Ok(Vec::new()),
            false => Err(format!("there is no test {test}").into()),
        };
    }
    let conversation = book.conversation(shown_by)?;
    if first == "never" {
        return Ok(Vec::new());
    }
    if conversation.promise != Promise::Since(closed.to_string()) {
        Err(format!(
            "it's closed in {closed}, but {} has another `since`",
            conversation.place
        ))?;
    }
    book.list.get(first)?;
    let servers = book.list.servers();
    let faulty = servers
        .skip_while(|s| s.name != first)
        .take_while(|s| s.name != closed);
    let does = format!("has fault {number}: not");
    let trials =
        faulty.map(|server| Ok(Player::new(book, server)?.falls_short(&does, conversation)));
    trials.collect()
}
