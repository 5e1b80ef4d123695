//! The tests of the commands, without the stopwatch: no test looks at how fast anything is. Servers of the
//! book are measured and soaked, and servers that do not deliver what they should.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use clap::Parser as _;
use examiner::{conversation, stages};
use serde_json::Value;

use crate::{
    Cli, Command,
    load::Load,
    report::{Report, json, plot},
    scenario::{self, SCENARIOS, Scenario},
};

/// A scenario in small.
type Small = (&'static str, Load);

/// Nothing takes so long, on any machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn command(arguments: &[&str]) -> Cli {
    Cli::parse_from(["bench"].iter().chain(arguments))
}

/// What the command measures with these arguments, in this scenario, once and for a moment. Servers are built
/// as the other tests use them, without optimisation.
fn measured(arguments: &[&str], (name, load): Small, patience: Duration) -> Report {
    let out = tempfile::tempdir().unwrap();
    let out = format!("--out={}", out.path().display());
    let moment = ["--rounds=1", "--seconds=0.1", &out];
    let mut measure = command(&[arguments, &moment].concat()).measure;
    (measure.patience, measure.pinned) = (patience, false);
    let servers = measure.servers(|names| {
        let stages = stages::build()?;
        let program = |name: &&str| stages.program(name).map(Path::to_path_buf);
        names.iter().map(program).collect()
    });
    let scenario = SCENARIOS.into_iter().find(|scenario| scenario.name == name);
    let scenario = scenario.unwrap();
    let report = measure.compare(&servers.unwrap(), &[Scenario { load, ..scenario }], |_| {
        Ok(())
    });
    report.unwrap()
}

const SERVERS: [&str; 3] = ["11-cancel", "11-tokio --nodelay", "11-router"];

/// Every kind of load but the one about descriptors, which no server of Part I survives.
const SMALL: [Small; 9] = [
    ("pairs-50", |run| run.pairs(3, 300)),
    ("ping-pong-50", |run| run.ping_pong(3)),
    ("fan-out-100", |run| run.fan(1, 5, 1_000)),
    ("fan-in", |run| run.fan(3, 1, 300)),
    ("latency", |run| run.latency(4, 500)),
    ("idle", |run| run.idle(100)),
    ("slow-reader", |run| run.slow_reader(20_000)),
    ("churn", |run| run.churn(4)),
    ("endless-line", |run| run.endless_line(1_000_000)),
];

#[test]
fn every_scenario_is_measured_and_recorded() {
    let arguments = [SERVERS[0], "--against", SERVERS[1], "--against", SERVERS[2]];
    let reports = thread::scope(|scope| {
        let reports = SMALL.map(|small| scope.spawn(move || measured(&arguments, small, PATIENCE)));
        reports.map(|report| report.join().unwrap())
    });
    let report = reports.into_iter().reduce(|mut all, report| {
        all.measured.extend(report.measured);
        all
    });
    let report = report.unwrap();
    assert_eq!(report.failures().next(), None);

    let (json, svg) = (json::record(&report), plot::svg(&report));
    let (machine, versions) = (&json["machine"], &json["versions"]);
    let text = |value: &Value| value.as_str().unwrap().to_string();
    assert!(text(&machine["date"]).ends_with(" GMT"), "{json:#}");
    assert!(machine["processors"].as_u64().unwrap() > 0, "{json:#}");
    assert_ne!(text(&machine["kernel"]), "", "{json:#}");
    for name in ["rustc", "async-std", "tokio"] {
        assert_ne!(text(&versions[name]), "", "{json:#}");
    }
    let scenarios = json["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), SMALL.len());
    for (recorded, (name, _)) in scenarios.iter().zip(SMALL) {
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
    let small: Small = ("descriptors", |run| run.descriptors(64));
    let report = measured(&SERVERS[..1], small, PATIENCE);
    let failures: Vec<String> = report.failures().collect();
    assert_eq!(failures.len(), 1);
    let ended = "the server has ended (exit status: 1)";
    assert!(failures[0].starts_with(ended), "{failures:?}");
}

#[test]
fn what_there_is_not_is_answered_with_what_there_is() {
    let servers = command(&["11-tokyo"])
        .measure
        .servers(stages::build_release);
    let error = servers.err().unwrap().to_string();
    let known = "there is no server named 11-tokyo; there are: 04-accept,";
    assert!(error.starts_with(known), "{error}");
    let known = SERVERS.map(|name| error.contains(&name[..8]));
    assert_eq!(known, [true; 3], "{error}");
    let choose = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let chosen = scenario::choose(&names)?.into_iter();
        anyhow::Ok(chosen.map(|scenario| scenario.name).collect::<Vec<_>>())
    };
    let error = choose(&["pears"]).unwrap_err().to_string();
    let known = "there is no scenario named pears; there are: pairs-1,";
    assert!(error.starts_with(known), "{error}");
    let chosen = choose(&["latency", "fan-out", "pairs-50"]).unwrap();
    assert_eq!(
        chosen,
        ["pairs-50", "fan-out-100", "fan-out-500", "latency"]
    );
    assert_eq!(choose(&[]).unwrap().len(), SCENARIOS.len());
}

/// The servers that end well when they are told to stop while clients are connected.
#[test]
#[cfg(target_os = "linux")]
fn nothing_is_kept_of_those_who_have_left() {
    let conversations = conversation::all().unwrap();
    let mut conversations = conversations.iter();
    let notice = conversations.find(|conversation| conversation.name == "everybody-gets-notice");
    let notice = notice.unwrap();
    let servers = stages::list().unwrap().servers();
    thread::scope(|scope| {
        for server in servers.filter(|server| notice.is_promised_by(&server.name)) {
            scope.spawn(move || {
                let cli = command(&["soak", &server.name, "--minutes", "0.03"]);
                let Some(Command::Soak(soak)) = cli.command else {
                    panic!("another command");
                };
                soak.soak().unwrap().1.unwrap();
            });
        }
    });
}

/// A message: the client that wrote it, its recipient, and the line that the recipient has to receive.
type Message<'a> = [&'a str; 3];

/// Writes a text to a client, or closes its connection.
type Write<'a> = &'a dyn Fn(&str, Option<&str>);

/// What a server does with its hundredth message.
trait Mistake: Fn(Message, Write) + Copy + Send + 'static {}

impl<F: Fn(Message, Write) + Copy + Send + 'static> Mistake for F {}

/// It makes this of the line.
fn edits(edit: fn(&str) -> String) -> impl Mistake {
    move |[_, to, line]: Message, write: Write| write(to, Some(&edit(line)))
}

/// Starts a server, and returns its address. It is as plain as can be, a thread for each connection, and ends
/// with this process.
fn server(mistake: impl Mistake) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let peers = Arc::default();
        for stream in listener.incoming().flatten() {
            let peers = Arc::clone(&peers);
            thread::spawn(move || serve(mistake, stream, &peers));
        }
    });
    addr.to_string()
}

fn serve(
    mistake: impl Mistake,
    stream: TcpStream,
    peers: &Mutex<HashMap<String, TcpStream>>,
) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let from = &lines.next()?.ok()?;
    peers.lock().unwrap().insert(from.clone(), stream);
    let write = |to: &str, text: Option<&str>| {
        let mut peer = &peers.lock().unwrap()[to];
        // The client may have left, because it has seen the mistake.
        let _ = match text {
            Some(text) => peer.write_all(text.as_bytes()),
            None => peer.shutdown(Shutdown::Both),
        };
    };
    for line in lines {
        let line = line.ok()?;
        let (to, text) = line.split_once(": ")?;
        let line = &format!("from {from}: {text}\n");
        match text.starts_with("0000000100") {
            true => mistake([from, to, line], &write),
            false => write(to, Some(line)),
        }
    }
    Some(())
}

const PAIR: Small = ("pairs-1", |run| run.pairs(1, 1_000));
const FAN_IN: Small = ("fan-in", |run| run.fan(3, 1, 1_000));

/// What the bench says of a server with this mistake, if it says anything. Which of several senders it finds
/// first is a matter of chance.
fn judged(mistake: impl Mistake, small: Small, patience: Duration) -> Option<String> {
    let report = measured(&["--addr", &server(mistake)], small, patience);
    let failure = report.failures().next()?;
    let failure = failure.replace("from a2", "from a1");
    Some(failure.replace("from a3", "from a1"))
}

#[test]
fn a_server_without_a_mistake_passes() {
    assert_eq!(judged(edits(str::to_string), PAIR, PATIENCE), None);
    assert_eq!(judged(edits(str::to_string), FAN_IN, PATIENCE), None);
    // Its own lines aren't messages.
    let speaks_for_itself = edits(|line| format!("error busy\n{line}"));
    assert_eq!(judged(speaks_for_itself, PAIR, PATIENCE), None);
}

#[test]
fn every_message_must_arrive_whole_once_and_in_order() {
    let lines = [100, 101].map(|n| format!("from a1: 0000000{n}abcdefghijklmnopqrstuvwxyzabcd\n"));
    let mistakes: [fn(&str) -> String; 8] = [
        // It loses the message, repeats it, or cuts off the end.
        |_| String::new(),
        |line| line.repeat(2),
        |line| line.replace("d\n", "\n"),
        // It swaps two, cuts off the start, changes letters, joins lines, or names another sender.
        |line| line.replace("100a", "101a") + line,
        |line| line[1..].to_string(),
        |line| line.replace('c', "C"),
        |line| line.trim_end().to_string(),
        |line| line.replace("a1", "b1"),
    ];
    for (place, mistake) in mistakes.into_iter().enumerate() {
        let (written, right) = (mistake(&lines[0]) + &lines[1], lines.concat());
        let mut both = written.lines().zip(right.lines());
        let (seen, wanted) = both.find(|(seen, wanted)| seen != wanted).unwrap();
        let told = Some(format!("b1 has received `{seen}` instead of `{wanted}`"));
        assert_eq!(judged(edits(mistake), PAIR, PATIENCE), told);
        // Of several senders, each has its own order.
        if place < 3 {
            assert_eq!(judged(edits(mistake), FAN_IN, PATIENCE), told);
        }
    }
    let tells_the_sender_too = |[from, to, line]: Message, write: Write| {
        write(from, Some(line));
        write(to, Some(line));
    };
    let seen = lines[0].trim_end();
    let told = format!("a1 has received `{seen}`, which no client wrote to it");
    assert_eq!(judged(tells_the_sender_too, PAIR, PATIENCE), Some(told));
    let closes = |[_, to, _]: Message, write: Write| write(to, None);
    let told = "the server closed the connection of b1".to_string();
    assert_eq!(judged(closes, PAIR, PATIENCE), Some(told));
}

#[test]
fn what_is_lost_is_not_waited_for_without_end() {
    let loses_all_from_there = |_: Message, _: Write| loop {
        thread::park();
    };
    for small in [PAIR, FAN_IN] {
        let told = judged(loses_all_from_there, small, Duration::from_secs(1)).unwrap();
        let wanted = "nothing has arrived for 1 s; b1 waits for `from a1: 0000000100abcdef";
        assert!(told.starts_with(wanted), "{told}");
    }
}

#[test]
fn messages_that_a_slow_reader_does_not_get_are_lost_or_refused() {
    let small: Small = ("slow-reader", |run| run.slow_reader(1_000));
    let refuses = |[from, ..]: Message, write: Write| write(from, Some("error full\n"));
    for (server, wanted) in [
        (server(edits(str::to_string)), [0.0, 0.0]),
        (server(edits(|_| String::new())), [0.0, 1.0]),
        (server(refuses), [1.0, 0.0]),
    ] {
        let report = measured(&["--addr", &server], small, PATIENCE);
        let readings = report.measured[0].samples[0][0].as_ref().unwrap();
        let seen = ["refused messages", "lost messages"].map(|name| {
            let reading = readings.iter().find(|(metric, _)| metric.name == name);
            reading.unwrap().1
        });
        assert_eq!(seen, wanted);
        // A single scenario has a plot for each number that says which server is the better one.
        let svg = plot::svg(&report);
        for name in ["longest wait ms", "lost messages"] {
            assert!(svg.contains(&format!("slow-reader: {name}")), "{svg}");
        }
        assert!(!svg.contains("NaN"), "{svg}");
    }
}
