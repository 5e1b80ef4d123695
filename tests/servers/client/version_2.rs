//! What version 2 tells a client, in words.

use std::{
    io::{Read, Write},
    net::TcpListener,
};

use examiner::stages::Version;
use libtest_mimic::Trial;

use super::{Pair, Pairs, assert_output, open, say};
use crate::common::{each, log_in};

pub(super) fn trials(pairs: &Pairs, once: &Pairs) -> Vec<Trial> {
    let only = |pairs: &Pairs, client: Version| -> Pairs {
        let versions = |pair: &Pair| [pair.client.protocol, pair.server.protocol];
        let is = |(_, pair): &&(String, Pair)| versions(pair) == [client, Version::Two];
        pairs.iter().filter(is).cloned().collect()
    };
    let mut trials = Vec::new();
    trials.extend(each!(&only(once, Version::Two);
        a_client_that_is_refused_says_why_and_ends,
        mistakes_are_reported_and_are_no_failure,
        a_server_that_closes_without_a_welcome_is_a_failure,
        any_error_is_reported,
    ));
    let older = only(pairs, Version::One);
    trials.extend(each!(&older[..1]; the_client_of_version_1_takes_errors_for_messages));
    trials
}

fn a_client_that_is_refused_says_why_and_ends(pair: Pair) {
    let talk = pair.start();
    let _alice = log_in(talk.server.addr(), "alice").unwrap();
    for (name, reason) in [
        ("alice", "somebody else is called alice"),
        ("a b", "a name is 1 to 32 letters, digits, _ or -"),
    ] {
        let line = format!("error: {reason}\n");
        let many = "nobody: hello\n".repeat(1000);
        for input in ["", "alice: I am you\n", &many] {
            assert_output(&talk.run(&[name], input), 1, "", &line);
        }
        // Nor does it wait for the end of its input.
        let mut client = talk.open(&[name]);
        let _stays_open = client.stdin.take();
        assert_output(&client.wait_with_output().unwrap(), 1, "", &line);
    }
}

fn mistakes_are_reported_and_are_no_failure(pair: Pair) {
    let input = "carol, bob: hello\nno colon\nbob: bye\n";
    let output = pair.start().run(&["bob"], input);
    let stdout = "welcome bob\nfrom bob: hello\nfrom bob: bye\n";
    let stderr = "error: nobody is called carol\nerror: a line is DESTINATION: TEXT\n";
    assert_output(&output, 0, stdout, stderr);
}

/// What chapter 13 says of the client before.
fn the_client_of_version_1_takes_errors_for_messages(pair: Pair) {
    let talk = pair.start();
    let _alice = log_in(talk.server.addr(), "alice").unwrap();
    let line = "error name-taken somebody else is called alice\n";
    assert_output(&talk.run(&["alice"], ""), 0, line, "");
}

/// A server that says nothing has let nobody in.
fn a_server_that_closes_without_a_welcome_is_a_failure(pair: Pair) {
    assert_prints(pair, "", 1, "", "error: the server closed the connection\n");
}

/// A code without a detail, or one that nobody knows yet.
fn any_error_is_reported(pair: Pair) {
    let said = "welcome bob\nerror new-code some words\nerror other-code\n";
    let stderr = "error: some words\nerror: other-code\n";
    assert_prints(pair, said, 0, "welcome bob\n", stderr);
}

/// What a client prints if this is all that a server says.
fn assert_prints(pair: Pair, said: &str, status: i32, stdout: &str, stderr: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let mut client = open(&pair.client.name, &[&addr, "bob"]);
    say(&mut client, "");
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
    stream.write_all(said.as_bytes()).unwrap();
    drop(stream);
    assert_output(&client.wait_with_output().unwrap(), status, stdout, stderr);
}
