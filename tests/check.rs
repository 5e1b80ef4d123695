//! `cargo run -- check`, as a reader uses it.

use std::process::{Command, Output};

use companion::stages;

fn check(arguments: &[&str]) -> Output {
    // The programs are built first, so that nothing but the examination is on stderr.
    stages::build().unwrap();
    Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "companion", "--", "check"])
        .args(arguments)
        .current_dir(stages::root())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn without_a_stage_it_lists_what_each_chapter_promises() {
    let output = check(&[]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for line in [
        "\n04-broker\n",
        "  two-people-chat\n",
        "  line-length-is-limited  (from 09-limits on)\n",
    ] {
        assert!(stdout.contains(line), "{stdout}");
    }
    assert!(
        !stdout.contains("everyone-is-a-destination"),
        "an exercise is no promise"
    );
}

#[test]
fn a_stage_keeps_its_promises() {
    let output = check(&["02-read"]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert!(
        stdout.contains("✓  The server reports each connection"),
        "{stdout}"
    );
    assert!(stdout.contains("\n02-read keeps its "), "{stdout}");
}

#[test]
fn what_falls_short_is_told_and_status_1() {
    let output = check(&["04-broker", "a-half-close-is-a-goodbye"]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    for line in [
        "bob    < from bob: 2\n",
        "bob    ! nothing comes within 2 s\n",
        "expected: the end of the connection\n",
        "but:      nothing comes within 2 s\n",
    ] {
        assert!(stdout.contains(line), "{stdout}");
    }
}

#[test]
fn a_misspelt_stage_is_answered_with_the_stages_and_status_2() {
    let output = check(&["04-brokr"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("error: there is no stage named 04-brokr; there are: 01-accept, 02-read"),
        "{stderr}"
    );
}

#[test]
fn a_misspelt_conversation_is_answered_with_where_to_look_and_status_2() {
    let output = check(&["04-broker", "two-people-shout"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("there is no conversation named two-people-shout"),
        "{stderr}"
    );
}
