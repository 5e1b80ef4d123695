//! Servers of the book: every scenario in small, what is recorded of it, and a soak of some seconds.

use std::{fs, path::Path, thread};

use examiner::{conversation, stages};
use serde_json::Value;

use super::{PATIENCE, Small, command, failures, measured};
use crate::{
    Command,
    cmd::measure::{Competitor, competitors},
    report::files,
    scenario::{self, SCENARIOS},
};

const SERVERS: [&str; 3] = ["06-disconnect", "06-tokio --nodelay", "06-router"];

/// Every kind of load but the one about descriptors, which no server of Part I survives.
const SMALL: [Small; 9] = [
    ("pairs-50", |run| run.pairs(3, 300)),
    ("ping-pong-50", |run| run.ping_pong(3)),
    ("fan-out-100", |run| run.fan_out(5, 1_000)),
    ("fan-in", |run| run.fan_in(3, 300)),
    ("latency", |run| run.latency(4, 500)),
    ("idle", |run| run.idle(100)),
    ("slow-reader", |run| run.slow_reader(20_000)),
    ("churn", |run| run.churn(4)),
    ("endless-line", |run| run.endless_line(1_000_000)),
];

/// Servers of the book as the other tests use them, without optimisation.
fn servers(names: &[&str]) -> Vec<Competitor> {
    let build = |names: &[&str]| {
        let stages = stages::build()?;
        let program = |name: &&str| stages.program(name).map(Path::to_path_buf);
        names.iter().map(program).collect()
    };
    competitors(names, build).unwrap()
}

#[test]
fn every_scenario_is_measured_and_recorded() {
    let out = tempfile::tempdir().unwrap();
    let servers = servers(&SERVERS);
    // Each scenario has a folder of its own for what the servers report.
    let measure = |small: Small| measured(&servers, small, PATIENCE, &out.path().join(small.0));
    let reports = thread::scope(|scope| {
        let reports = SMALL.map(|small| scope.spawn(move || measure(small)));
        reports.map(|report| report.join().unwrap())
    });
    let report = reports.into_iter().reduce(|mut all, report| {
        all.measured.extend(report.measured);
        all
    });
    let report = report.unwrap();
    assert_eq!(failures(&report), Vec::<String>::new());
    assert!(report.is_complete());
    files::write(&report, out.path()).unwrap();

    let json = fs::read(out.path().join("bench.json")).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    let (machine, versions) = (&json["machine"], &json["versions"]);
    let text = |value: &Value| value.as_str().unwrap().to_string();
    assert!(text(&machine["date"]).ends_with(" GMT"), "{json:#}");
    assert!(machine["processors"].as_u64().unwrap() > 0, "{json:#}");
    for known in [
        &machine["kernel"],
        &versions["rustc"],
        &versions["async-std"],
        &versions["tokio"],
    ] {
        assert_ne!(text(known), "", "{json:#}");
    }
    let svg = fs::read_to_string(out.path().join("bench.svg")).unwrap();
    for (recorded, (name, _)) in json["scenarios"].as_array().unwrap().iter().zip(SMALL) {
        let scenario = SCENARIOS.into_iter().find(|scenario| scenario.name == name);
        assert_eq!(recorded["name"], name);
        assert_eq!(recorded["about"], scenario.unwrap().about);
        for server in SERVERS {
            let rounds = recorded["servers"][server]["rounds"].as_array().unwrap();
            assert_eq!(rounds.len(), 1, "{recorded:#}");
            assert!(!rounds[0].as_object().unwrap().is_empty(), "{recorded:#}");
        }
        // The first four are those that count messages.
        if SMALL[..4].iter().any(|(counting, _)| *counting == name) {
            let rate = &recorded["servers"][SERVERS[1]]["medians"]["messages/s"];
            assert!(rate.as_f64().unwrap() > 0.0, "{recorded:#}");
        }
        assert!(svg.contains(&format!("{name}: ")), "{svg}");
    }
}

#[test]
#[cfg(unix)]
fn a_server_that_ends_is_reported() {
    let out = tempfile::tempdir().unwrap();
    let small: Small = ("descriptors", |run| run.descriptors(64));
    let report = measured(&servers(&SERVERS[..1]), small, PATIENCE, out.path());
    assert!(!report.is_complete());
    let failures = failures(&report);
    assert_eq!(failures.len(), 1);
    let ended = "the server has ended (exit status: 1)";
    assert!(failures[0].starts_with(ended), "{failures:?}");
}

#[test]
fn what_there_is_not_is_answered_with_what_there_is() {
    let unknown = competitors(&["06-tokyo"], stages::build_release);
    let error = unknown.err().unwrap().to_string();
    let known = "there is no server named 06-tokyo; there are: 01-accept,";
    assert!(error.starts_with(known), "{error}");
    assert!(
        error.contains(" 06-disconnect") && error.contains(" 06-tokio"),
        "{error}"
    );
    let choose = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let chosen = scenario::choose(&names)?.into_iter();
        anyhow::Ok(chosen.map(|scenario| scenario.name).collect::<Vec<_>>())
    };
    let error = choose(&["pears"]).unwrap_err().to_string();
    let known = "there is no scenario named pears; there are: pairs-1,";
    assert!(error.starts_with(known), "{error}");
    let chosen = choose(&["latency", "fan-out"]).unwrap();
    assert_eq!(chosen, ["fan-out-100", "fan-out-500", "latency"]);
    assert_eq!(choose(&[]).unwrap().len(), SCENARIOS.len());
}

/// The servers that end well when they are told to stop while clients are connected.
#[test]
#[cfg(target_os = "linux")]
fn nothing_is_kept_of_those_who_have_left() {
    let conversations = conversation::all().unwrap();
    let mut named = conversations
        .iter()
        .filter(|conversation| conversation.name == "everybody-gets-notice");
    let notice = named.next().unwrap();
    let servers = stages::list().unwrap().servers();
    thread::scope(|scope| {
        for server in servers.filter(|server| notice.is_promised_by(&server.name)) {
            scope.spawn(move || {
                let cli = command(&["soak", &server.name, "--minutes", "0.03"]);
                let Some(Command::Soak(soak)) = cli.command else {
                    panic!("another command");
                };
                soak.soak().unwrap().verdict.unwrap();
            });
        }
    });
}
