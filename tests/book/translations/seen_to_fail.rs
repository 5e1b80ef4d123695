//! Each check, held against a sound book in two languages with one fault put in. `faults.toml` lists the faults.

use serde::Deserialize;

use super::{
    parts::{files, parts},
    record::{confirm, outdated},
    terms::terms,
    writing::writing,
};
use crate::{
    fixture::{Fixture, assert_found},
    support::Problem,
};

#[derive(Deserialize)]
struct Faults {
    sound: Vec<Vec<String>>,
    fault: Vec<Fault>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    changes: Vec<Vec<String>>,
    problems: Vec<String>,
}

fn faults() -> Faults {
    toml::from_str(include_str!("faults.toml")).unwrap()
}

/// The sound book, whose Chinese is recorded to render its English.
fn sound() -> Fixture {
    let fixture = Fixture::new().with(&faults().sound);
    let names = "00-spec,glossary,SUMMARY";
    assert_found(&confirm(&fixture.load(), names), &[]);
    fixture
}

/// Everything that is wrong.
fn problems(fixture: &Fixture) -> Vec<Problem> {
    let book = fixture.load();
    let checks = [files, parts, outdated, terms, writing];
    checks.iter().flat_map(|check| check(&book)).collect()
}

#[test]
fn a_sound_translation_passes() {
    assert_found(&problems(&sound()), &[]);
}

#[test]
fn each_fault_is_found() {
    for fault in faults().fault {
        let expected: Vec<&str> = fault.problems.iter().map(String::as_str).collect();
        assert_found(&problems(&sound().with(&fault.changes)), &expected);
    }
}

#[test]
fn record_is_written() {
    let fixture = sound().edit("src/en/00-spec.md", "is a task", "is one task");
    let unknown = "RENDERED: 04-none isn't there in both languages;";
    assert_found(&confirm(&fixture.load(), "00-spec 04-none"), &[unknown]);
    assert_found(&problems(&fixture), &[]);
}
