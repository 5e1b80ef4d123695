//! Each check, held against the small sound book with one fault put in. `faults.toml` lists the faults.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    checks::CHECKS,
    fixture::{Fixture, assert_found},
};

/// A change of the small book: [`Fixture::with`] explains it.
type Change = Vec<String>;

#[derive(Deserialize)]
struct Faults {
    sound: BTreeMap<String, Vec<Change>>,
    fault: Vec<Fault>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    check: String,
    on: Option<String>,
    changes: Vec<Change>,
    problem: String,
}

fn read() -> Faults {
    toml::from_str(include_str!("faults.toml")).unwrap()
}

#[test]
fn sound_books_pass() {
    for changes in [&Vec::new()].into_iter().chain(read().sound.values()) {
        let fixture = Fixture::new().with(changes);
        for (_, check) in CHECKS {
            let mut problems = Vec::new();
            check(&fixture.load(), &mut problems);
            assert_found(&problems, &[]);
        }
    }
}

#[test]
fn each_check_finds_its_faults() {
    let faults = read();
    let mut unseen = BTreeMap::from(CHECKS);
    for fault in faults.fault {
        let (name, check) = CHECKS
            .into_iter()
            .find(|(name, _)| *name == fault.check)
            .unwrap();
        let before = fault.on.map_or(&[][..], |on| &faults.sound[&on]);
        let fixture = Fixture::new().with(before).with(&fault.changes);
        let mut problems = Vec::new();
        check(&fixture.load(), &mut problems);
        assert_found(&problems, &[&fault.problem]);
        unseen.remove(name);
    }
    assert!(unseen.is_empty(), "{unseen:?} may find nothing at all");
}
