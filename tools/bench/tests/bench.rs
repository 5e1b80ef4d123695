//! `cargo run --release -- bench`, without its stopwatch: every scenario in small, on real servers, and
//! what becomes of a server that does not deliver what it should. No test looks at how fast anything is.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use bench::{
    self, Bench, Competitor,
    report::{Report, number},
    scenario::{Load, SCENARIOS, Scenario},
    soak,
};
use examiner::{process::Subject, stages};
use serde_json::Value;

/// Nothing takes so long, on any machine; a message that is lost is waited for as long as this.
const PATIENCE: Duration = Duration::from_secs(20);

fn bench(servers: Vec<Competitor>, scenarios: Vec<Scenario>, out: &Path) -> Bench {
    Bench {
        servers,
        scenarios,
        seconds: 0.1,
        rounds: 1,
        patience: PATIENCE,
        pinned: false,
        out: out.to_path_buf(),
    }
}

/// A server of the book as the other tests use it, without optimisation.
fn server(name: &str) -> Competitor {
    let stages = stages::build().unwrap();
    let words: Vec<&str> = name.split_whitespace().collect();
    let program = stages.program(words[0]);
    Competitor {
        name: name.to_string(),
        subject: program.unwrap().into(),
        options: words[1..].iter().map(|word| word.to_string()).collect(),
    }
}

/// The scenario of this name, with another load.
fn small(name: &str, load: Load) -> Scenario {
    let scenario = SCENARIOS
        .iter()
        .find(|scenario| scenario.name == name)
        .unwrap();
    assert_eq!(
        std::mem::discriminant(&scenario.load),
        std::mem::discriminant(&load),
        "{name}"
    );
    Scenario {
        load,
        ..scenario.clone()
    }
}

/// Every kind of scenario but the one about descriptors, which no server of Part I survives.
fn small_scenarios() -> Vec<Scenario> {
    vec![
        small(
            "pairs-50",
            Load::Pairs {
                pairs: 3,
                ahead: 300,
            },
        ),
        small("ping-pong-50", Load::PingPong { pairs: 3 }),
        small("fan-out-100", Load::FanOut { recipients: 5 }),
        small(
            "fan-in",
            Load::FanIn {
                senders: 3,
                ahead: 300,
            },
        ),
        small(
            "latency",
            Load::Latency {
                clients: 4,
                rate: 500,
            },
        ),
        small("idle", Load::Idle { connections: 100 }),
        small("slow-reader", Load::SlowReader { messages: 20_000 }),
        small("churn", Load::Churn { clients: 4 }),
        small("endless-line", Load::EndlessLine { bytes: 1_000_000 }),
    ]
}

fn failures(report: &Report) -> Vec<&String> {
    let samples = report
        .measured
        .iter()
        .flat_map(|measured| &measured.samples);
    samples
        .flatten()
        .filter_map(|sample| sample.as_ref().err())
        .collect()
}

#[test]
fn every_scenario_is_measured_and_recorded() {
    let out = tempfile::tempdir().unwrap();
    let servers = ["06-disconnect", "06-tokio --nodelay", "06-router"].map(server);
    let scenarios = small_scenarios();
    let report = bench(servers.to_vec(), scenarios.clone(), out.path())
        .run()
        .unwrap();
    assert_eq!(failures(&report), Vec::<&String>::new());
    assert!(report.is_complete());
    report.write(out.path()).unwrap();

    let json = fs::read_to_string(out.path().join("bench.json")).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(
        json["machine"]["date"].as_str().unwrap().ends_with(" GMT"),
        "{json:#}"
    );
    assert!(
        json["machine"]["processors"].as_u64().unwrap() > 0,
        "{json:#}"
    );
    assert!(
        !json["machine"]["kernel"].as_str().unwrap().is_empty(),
        "{json:#}"
    );
    for name in ["rustc", "async-std", "tokio"] {
        assert!(
            !json["versions"][name].as_str().unwrap().is_empty(),
            "{json:#}"
        );
    }
    for (recorded, scenario) in json["scenarios"].as_array().unwrap().iter().zip(&scenarios) {
        assert_eq!(recorded["name"], scenario.name);
        assert_eq!(recorded["about"], scenario.about);
        for name in ["06-disconnect", "06-tokio --nodelay", "06-router"] {
            let rounds = &recorded["servers"][name]["rounds"];
            assert_eq!(rounds.as_array().unwrap().len(), 1, "{recorded:#}");
            assert!(!rounds[0].as_object().unwrap().is_empty(), "{recorded:#}");
        }
        let rate = &recorded["servers"]["06-tokio --nodelay"]["medians"]["messages/s"];
        if matches!(
            scenario.load,
            Load::Pairs { .. } | Load::PingPong { .. } | Load::FanOut { .. } | Load::FanIn { .. }
        ) {
            assert!(rate.as_f64().unwrap() > 0.0, "{recorded:#}");
        }
    }
    let svg = fs::read_to_string(out.path().join("bench.svg")).unwrap();
    for scenario in &scenarios {
        assert!(svg.contains(&format!("{}: ", scenario.name)), "{svg}");
    }
}

#[test]
fn a_server_that_ends_is_reported() {
    let out = tempfile::tempdir().unwrap();
    let scenario = small("descriptors", Load::Descriptors { limit: 30 });
    let report = bench(vec![server("06-disconnect")], vec![scenario], out.path())
        .run()
        .unwrap();
    assert!(!report.is_complete());
    let failures = failures(&report);
    assert_eq!(failures.len(), 1);
    // Only Unix has such a limit; elsewhere there is nothing to fail for.
    assert!(
        failures[0].starts_with("the server has ended (exit status: 1)"),
        "{failures:?}"
    );
}

#[test]
fn what_there_is_not_is_answered_with_what_there_is() {
    let error = bench::competitors(&["06-tokyo".to_string()])
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("there is no server named 06-tokyo; there are: 01-accept,"),
        "{error}"
    );
    assert!(
        error.contains(" 06-disconnect") && error.contains(" 06-tokio"),
        "{error}"
    );
    let error = bench::scenarios(&["pears".to_string()])
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("there is no scenario named pears; there are: pairs-1,"),
        "{error}"
    );
    let names = |names: &[&str]| -> Vec<&str> {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        bench::scenarios(&names)
            .unwrap()
            .iter()
            .map(|scenario| scenario.name)
            .collect()
    };
    assert_eq!(
        names(&["latency", "fan-out"]),
        ["fan-out-100", "fan-out-500", "latency"]
    );
    assert_eq!(names(&[]).len(), SCENARIOS.len());
}

#[test]
fn numbers_have_three_digits() {
    let shown = [
        0.0,
        0.1234,
        9.994,
        99.94,
        123.4,
        9_994.0,
        9_999.0,
        123_456.0,
        999_700.0,
        12_345_678.0,
    ];
    let shown = shown.map(number);
    let wanted = [
        "0", "0.12", "9.99", "99.9", "123", "9994", "10.0 k", "123 k", "1.00 M", "12.3 M",
    ];
    assert_eq!(shown, wanted);
}

/// What a server does wrong, with its hundredth message.
#[derive(Clone, Copy, Debug)]
enum Mistake {
    None,
    Loses,
    LosesAllFromThere,
    Refuses,
    Doubles,
    Swaps,
    CutsTheEnd,
    CutsTheStart,
    ChangesALetter,
    JoinsLines,
    NamesAnother,
    TellsTheSenderToo,
    ClosesTheConnection,
    SpeaksForItself,
}

type Peers = Arc<Mutex<HashMap<String, TcpStream>>>;

/// A server with one mistake. It is as plain as can be: a thread for each connection.
fn fake(mistake: Mistake) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let peers = Peers::default();
    // It ends with the process of this test.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let peers = Arc::clone(&peers);
            thread::spawn(move || serve(mistake, stream, &peers));
        }
    });
    addr
}

fn serve(mistake: Mistake, stream: TcpStream, peers: &Peers) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let from = lines.next()?.ok()?;
    peers.lock().unwrap().insert(from.clone(), stream);
    let mut held = String::new();
    for line in lines {
        let line = line.ok()?;
        let (to, text) = line.split_once(": ")?;
        let mut line = format!("from {from}: {text}\n");
        if text.starts_with("0000000100") {
            match mistake {
                Mistake::None => {}
                Mistake::Loses => continue,
                Mistake::LosesAllFromThere => return None,
                Mistake::Refuses => line = format!("error unknown-peer {to}\n"),
                Mistake::Doubles => line = line.repeat(2),
                Mistake::Swaps => {
                    held = line;
                    continue;
                }
                Mistake::CutsTheEnd => line.replace_range(line.len() - 2.., "\n"),
                Mistake::CutsTheStart => line.replace_range(..1, ""),
                Mistake::ChangesALetter => line = line.replace('c', "C"),
                Mistake::JoinsLines => line = line.replace('\n', ""),
                Mistake::NamesAnother => line = line.replace("from a", "from b"),
                Mistake::TellsTheSenderToo => {
                    peers
                        .lock()
                        .unwrap()
                        .get(&from)?
                        .write_all(line.as_bytes())
                        .ok()?;
                }
                Mistake::ClosesTheConnection => {
                    let peers = peers.lock().unwrap();
                    peers.get(to)?.shutdown(std::net::Shutdown::Both).ok()?;
                }
                Mistake::SpeaksForItself => line.insert_str(0, "error too-fast slow down\n"),
            }
        } else {
            line.push_str(&std::mem::take(&mut held));
        }
        let to = if line.starts_with("error unknown-peer") {
            &from
        } else {
            to
        };
        let peers = peers.lock().unwrap();
        // The client may have left, because it has seen the mistake.
        let _ = peers.get(to)?.write_all(line.as_bytes());
    }
    Some(())
}

fn competitor(mistake: Mistake) -> Competitor {
    Competitor {
        name: format!("{mistake:?}"),
        subject: Subject::Addr(fake(mistake)),
        options: Vec::new(),
    }
}

/// What the bench says about a server with this mistake.
fn judged(mistake: Mistake) -> Result<(), String> {
    let load = Load::Pairs {
        pairs: 1,
        ahead: 1000,
    };
    judged_under(mistake, small("pairs-1", load))
}

fn judged_under(mistake: Mistake, scenario: Scenario) -> Result<(), String> {
    let out = tempfile::tempdir().unwrap();
    let server = competitor(mistake);
    let mut bench = bench(vec![server], vec![scenario], out.path());
    if let Mistake::LosesAllFromThere = mistake {
        bench.patience = Duration::from_millis(200);
    }
    let report = bench.run().unwrap();
    let sample = &report.measured[0].samples[0][0];
    sample.as_ref().map(|_| ()).map_err(String::clone)
}

#[test]
fn a_server_without_a_mistake_passes() {
    assert_eq!(judged(Mistake::None), Ok(()));
    // Its own lines are none of the messages.
    assert_eq!(judged(Mistake::SpeaksForItself), Ok(()));
}

#[test]
fn of_several_senders_each_has_its_own_order() {
    let judged = |mistake| {
        let load = Load::FanIn {
            senders: 3,
            ahead: 1000,
        };
        judged_under(mistake, small("fan-in", load))
    };
    assert_eq!(judged(Mistake::None), Ok(()));
    let wanted = [
        (
            Mistake::Loses,
            "message 100 from a# to b1 is missing: message 101 has come in its place",
        ),
        (
            Mistake::LosesAllFromThere,
            "nothing has arrived for 0.2 s; message 100 from a# to b1 is missing",
        ),
        (Mistake::Doubles, "message 100 from a# to b1 has come again"),
        (
            Mistake::CutsTheEnd,
            "message 100 from a# to b1 is damaged: `from a#: 0000000100abcdefghijklmnopqrstuvwxyzabc` has come instead of `from a#: 0000000100abcdefghijklmnopqrstuvwxyzabcd`",
        ),
    ];
    for (mistake, wanted) in wanted {
        let found = judged(mistake).unwrap_err();
        let senders = (1..=3).map(|sender| wanted.replace('#', &sender.to_string()));
        assert!(
            senders.into_iter().any(|wanted| found == wanted),
            "{mistake:?}: {found}"
        );
    }
}

#[test]
fn every_message_must_arrive_whole_once_and_in_order() {
    let whole = "from a1: 0000000100abcdefghijklmnopqrstuvwxyzabcd";
    let damaged = |seen: &str| {
        format!("message 100 from a1 to b1 is damaged: `{seen}` has come instead of `{whole}`")
    };
    let cases = [
        (
            Mistake::Loses,
            "message 100 from a1 to b1 is missing: message 101 has come in its place".to_string(),
        ),
        (
            Mistake::LosesAllFromThere,
            "nothing has arrived for 0.2 s; message 100 from a1 to b1 is missing".to_string(),
        ),
        (
            Mistake::Doubles,
            "message 100 from a1 to b1 has come again".to_string(),
        ),
        (
            Mistake::Swaps,
            "message 100 from a1 to b1 is missing: message 101 has come in its place".to_string(),
        ),
        (Mistake::CutsTheEnd, damaged(&whole[..whole.len() - 1])),
        (Mistake::CutsTheStart, damaged(&whole[1..])),
        (Mistake::ChangesALetter, damaged(&whole.replace('c', "C"))),
        (
            Mistake::JoinsLines,
            damaged(&format!("{whole}{}", whole.replace("100a", "101a"))),
        ),
        (Mistake::NamesAnother, damaged(&whole.replace("a1", "b1"))),
        (
            Mistake::TellsTheSenderToo,
            format!("a1 has received `{whole}`, which nobody has written to it"),
        ),
        (
            Mistake::ClosesTheConnection,
            "the connection of b1 was closed by the server".to_string(),
        ),
    ];
    thread::scope(|scope| {
        for (mistake, wanted) in cases {
            scope.spawn(move || assert_eq!(judged(mistake), Err(wanted), "{mistake:?}"));
        }
    });
}

#[test]
fn messages_that_a_slow_reader_does_not_get_are_lost_or_refused() {
    let out = tempfile::tempdir().unwrap();
    let cases = [
        (Mistake::None, 0.0, 0.0),
        (Mistake::Loses, 0.0, 1.0),
        (Mistake::Refuses, 1.0, 0.0),
    ];
    let servers = cases.iter().map(|(mistake, ..)| competitor(*mistake));
    let scenario = small("slow-reader", Load::SlowReader { messages: 1_000 });
    let report = bench(servers.collect(), vec![scenario], out.path())
        .run()
        .unwrap();
    for ((mistake, refused, lost), samples) in cases.iter().zip(&report.measured[0].samples) {
        let readings = samples[0].as_ref().unwrap();
        let reading = |name| readings.iter().find(|(measure, _)| measure.name == name);
        for (name, wanted) in [("refused messages", refused), ("lost messages", lost)] {
            let (_, seen) = reading(name).unwrap();
            assert_eq!(seen, wanted, "{mistake:?}: {name}");
        }
    }
    // A single scenario has a plot for each of its numbers that praises a server.
    report.write(out.path()).unwrap();
    let svg = fs::read_to_string(out.path().join("bench.svg")).unwrap();
    for name in ["longest wait ms", "lost messages"] {
        assert!(svg.contains(&format!("slow-reader: {name}")), "{svg}");
    }
}

/// What `cargo run --release --bin bench -- soak` does for ten minutes, for a moment.
#[test]
#[cfg(target_os = "linux")]
fn nothing_is_kept_of_those_who_have_left() {
    let servers = stages::list().unwrap().servers();
    thread::scope(|scope| {
        for server in servers.filter(|server| *server.name >= *"11-drain") {
            scope.spawn(|| soak::soak(&server.name, Duration::from_secs(2)).unwrap());
        }
    });
}
