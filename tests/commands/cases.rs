//! Commands and what they say, as `cases.txt` lists them.

use std::net::TcpListener;

use examiner::stages;
use serde_json::Value;

use crate::program::{Folder, Running, at_once, companion, errors, files, run};

#[test]
fn commands_say_what_the_list_has() {
    let port = || TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let addr = |port: &TcpListener| port.local_addr().expect("it is bound");
    let taken = port();
    let list = include_str!("cases.txt")
        .replace("BOOK", &stages::root().display().to_string())
        .replace("CLOSED", &addr(&port()).to_string())
        .replace("PORT", &addr(&taken).port().to_string());
    at_once(list.split("\n$ ").skip(1), |case| {
        let (line, case) = case.split_once('\n').expect("a case has a result");
        let marked = |mark: &str| -> Vec<&str> {
            let lines = case.lines();
            lines.filter_map(|line| line.strip_prefix(mark)).collect()
        };
        let folder = Folder::of_book("small");
        for added in marked("+ ") {
            let (file, text) = added.split_once(' ').expect("it is `FILE TEXT`");
            folder.write(file, &text.replace(r"\n", "\n"));
        }
        let before = files(folder.path());
        let mut running = match marked("| ")[..] {
            [] => Running::start(companion(line).current_dir(folder.path())),
            #[cfg(unix)]
            [server] => {
                let (stage, script) = server.split_once(' ').expect("it is `STAGE SCRIPT`");
                crate::check::of_script(line, stage, script)
            }
            _ => return,
        };
        let status = marked("? ")[0].parse().expect("a status is a number");
        let ended = running.end().with(status);
        let (stdout, stderr) = (ended.stdout, ended.stderr.replace('\\', "/"));
        let said = format!("$ {line}\n{stdout}{stderr}");
        for (text, mark) in [(&stdout, "> "), (&stderr, "! ")] {
            let (mut lines, mut wanted) = (text.lines(), marked(mark).into_iter());
            let missing = wanted.find(|part| !lines.any(|line| line.contains(part)));
            assert_eq!(missing, None, "in its place in {said}");
        }
        assert_eq!(errors(&stderr).len(), marked("! ").len().min(1), "{said}");
        // A pipe has no colours, and what a server says may be meant for a terminal.
        for part in [marked("- "), vec!["\u{1b}", "\u{202e}"]].concat() {
            assert!(!stdout.contains(part), "{part:?} in {said}");
        }
        if marked("> ").is_empty() {
            assert_eq!(
                (stdout.as_str(), files(folder.path())),
                ("", before),
                "{said}"
            );
        } else if line.ends_with("json") {
            serde_json::from_str::<Value>(&stdout).expect("it is JSON");
        }
    });
}

#[test]
fn help_fits_a_screen() {
    let help = run("--help").with(0).stdout;
    let narrow = help.lines().all(|line| line.chars().count() <= 80);
    assert!(narrow && help.lines().count() <= 24, "{help}");
}
