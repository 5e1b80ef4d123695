//! What an examination may ask for, of anyone's server and of the machine, and output that can't be written.

use std::{
    cmp::Reverse,
    io::{self, Write as _},
    process::Command,
};

use serde_json::Value;

use super::{Examination, Format, MOST, check, promised};
use crate::{
    Error,
    conversation::{self, Action, Conversation, Traffic},
    process::ADDR,
    stages,
};

#[test]
fn an_examination_asks_for_no_more_than_it_may() {
    let conversations = conversation::all().unwrap();
    for stage in stages::list().unwrap().servers() {
        let mut promised = promised(&stage.name, &conversations);
        let Traffic { connections, bytes } = promised.iter().map(|c| c.traffic()).sum();
        promised.sort_by_key(|c| {
            let Traffic { connections, bytes } = c.traffic();
            Reverse(connections * (MOST.bytes / MOST.connections) + bytes)
        });
        let largest: Vec<&str> = promised.iter().take(5).map(|c| c.place.as_str()).collect();
        assert!(
            connections <= MOST.connections && bytes <= MOST.bytes,
            "an examination of {} makes {connections} connections and sends {bytes} bytes; it may make {} \
             and send {}; the conversations that ask for most are at {}",
            stage.name,
            MOST.connections,
            MOST.bytes,
            largest.join(", ")
        );
    }
}

#[test]
fn a_conversation_with_a_rule_expects_more_than_a_report() {
    let expects = |action: &Action| {
        use Action::*;
        matches!(
            action,
            Joins | Receives { .. } | IsTold { .. } | ReceivesMixed(_) | SeesEnd
        ) || matches!(
            action,
            RefusesConnections | HasGrownLessThan(_) | KeepsRunning | Exits(_)
        )
    };
    for Conversation {
        place, rule, steps, ..
    } in conversation::all().unwrap()
    {
        let is_fair = rule.is_none() || steps.iter().any(|step| expects(&step.action));
        assert!(
            is_fair,
            "{place}: a stranger's server has nothing to hold here; remove `rule`"
        );
    }
}

fn json_of(stage: &str, conversation: Option<&str>, command: &[&str]) -> Value {
    let examination = Examination {
        stage: Some(stage.to_string()),
        conversation: conversation.map(str::to_string),
        all: true,
        format: Format::Json,
        command: command.iter().map(|word| word.to_string()).collect(),
        ..Examination::default()
    };
    let mut out = Vec::new();
    // An error is in the JSON, too.
    let _ = check(&examination, &mut out);
    serde_json::from_slice(&out).unwrap()
}

/// That a server which keeps to the letter of the specification, and to nothing else, falls short of nothing.
fn is_fair_to(stage: &str, conversation: Option<&str>, command: &[&str]) {
    let examined = json_of(stage, conversation, command);
    let requirements = examined["requirements"].as_array().unwrap();
    for requirement in requirements {
        match requirement["result"].as_str().unwrap() {
            "held" => assert!(
                requirement["rule"].is_string(),
                "without a rule: {requirement:#}"
            ),
            "not-examined" => assert_eq!(
                requirement["why"], "no rule of the specification asks for this",
                "{requirement:#}"
            ),
            _ => panic!("{requirement:#}"),
        }
    }
    let not_examined = examined["counts"]["not-examined"].as_u64().unwrap();
    assert!(not_examined <= 3, "{examined:#}");
}

#[test]
fn a_stranger_that_keeps_to_version_1_falls_short_of_nothing() {
    if Command::new("python3").arg("--version").output().is_err() {
        // Past the capture of test output: whoever runs the tests ought to know.
        let _ = writeln!(
            io::stderr(),
            "no stranger's server is examined: there is no python3"
        );
        return;
    }
    // It writes no log, and ends with statuses of its own.
    let stranger = "
import os, runpy, sys
end = os._exit
os._exit = lambda status: end(9)
sys.stderr = open(os.devnull, 'w')
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
end(7)";
    let chat = stages::root().join("code/examples/11-chat.py");
    let chat = chat.to_str().unwrap();
    is_fair_to("11-cancel", None, &["python3", "-c", stranger, chat, ADDR]);
}

#[cfg(unix)]
fn program(stage: &str) -> &'static str {
    let program = stages::build().unwrap().program(stage);
    program.unwrap().to_str().unwrap()
}

#[test]
#[cfg(unix)]
fn a_stranger_that_keeps_to_version_2_falls_short_of_nothing() {
    let silent = r#"exec "$0" "$@" 2>/dev/null"#;
    let grace = Some("who-does-not-read-holds-up-no-shutdown");
    for (stage, conversation) in [("15-backpressure", grace), ("20-library", None)] {
        let command = ["sh", "-c", silent, program(stage), ADDR, "{options}"];
        is_fair_to(stage, conversation, &command);
    }
}

#[test]
#[cfg(unix)]
fn a_server_that_follows_our_stages_is_held_to_what_they_promise() {
    for (first, result) in [
        ("echo accepted 127.0.0.1:1 >&2", "fell-short"),
        ("echo accepted everybody >&2", "nothing could be examined"),
    ] {
        let silent = format!(r#"{first}; exec "$0" "$1" 2>/dev/null"#);
        let command = ["sh", "-c", &silent, program("04-accept"), ADDR];
        let json = json_of("04-accept", None, &command).to_string();
        assert!(json.contains(result), "{first}: {json}");
    }
}

#[test]
fn results_that_cannot_be_written_are_an_error() {
    let list = Examination::default();
    let examination = Examination {
        stage: Some("04-accept".to_string()),
        ..Examination::default()
    };
    for examination in [list, examination] {
        // It has room for nothing.
        let mut full: &mut [u8] = &mut [];
        let error = check(&examination, &mut full).unwrap_err();
        assert!(matches!(error, Error::Io { why, .. } if why.kind() == io::ErrorKind::WriteZero));
    }
}
