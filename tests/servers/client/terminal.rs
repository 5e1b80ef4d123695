//! The clients in a terminal.

use std::process::Command;

use libtest_mimic::Trial;
use rexpect::{process::WaitStatus, session::spawn_command};

use super::{Pair, Pairs};
use crate::common::{PATIENCE, each, executable};

pub(super) fn trials(pairs: &Pairs) -> impl Iterator<Item = Trial> {
    each!(pairs; two_people_chat)
}

fn two_people_chat(pair: Pair) {
    let talk = pair.start();
    let [mut alice, mut bob] = ["alice", "bob"].map(|name| {
        let mut command = Command::new(executable(talk.client));
        command.arg(&talk.addr);
        let mut session = spawn_command(command, Some(PATIENCE.as_millis() as u64)).unwrap();
        session.exp_string("your name: ").unwrap();
        session.send_line(name).unwrap();
        session.send_line(&format!("{name}: am I in?")).unwrap();
        session
            .exp_string(&format!("from {name}: am I in?"))
            .unwrap();
        session
    });
    alice.send_line("bob: hello").unwrap();
    bob.exp_string("from alice: hello").unwrap();
    bob.send_line("alice: hello yourself").unwrap();
    alice.exp_string("from bob: hello yourself").unwrap();
    if pair.closes {
        for mut session in [alice, bob] {
            session.send_control('d').unwrap();
            session.exp_eof().unwrap();
            let ended = session.process().wait().unwrap();
            assert!(matches!(ended, WaitStatus::Exited(_, 0)), "{ended:?}");
        }
    }
}
