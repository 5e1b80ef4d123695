//! The solutions of the clients' exercises, which do what their stages don't.

use std::io::BufReader;

use examiner::{
    process::{FreeAddr, Server},
    stages::Program,
};
use libtest_mimic::Trial;

use super::{Pair, Pairs, assert_output, assert_reads, open, run, say};
use crate::common::{Book, Result, each, executable, log_in};

/// Each solution talks to the server that its stage talks to.
pub(super) fn trials(book: Book, once: &Pairs) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for solution in book.list.examples().filter(|program| program.is_client()) {
        let name = &solution.name;
        let pair = once
            .iter()
            .find(|(_, pair)| pair.client.name == stage(solution));
        let (_, pair) = pair.ok_or_else(|| format!("{name} follows no client"))?;
        let pair = [(
            name.clone(),
            Pair {
                client: solution,
                ..*pair
            },
        )];
        match name.as_str() {
            "08-quit" => trials.extend(each!(&pair; quit_ends_the_input)),
            "08-retry" => trials.extend(each!(&pair; retry_waits_for_a_server)),
            "13-next-client" => trials.extend(each!(&pair; the_next_name_is_tried)),
            _ => Err(format!(
                "tests/servers/client/exercises.rs has no test of {name}"
            ))?,
        }
    }
    Ok(trials)
}

fn stage(solution: &Program) -> &str {
    solution.follows.as_deref().unwrap_or_default()
}

fn quit_ends_the_input(pair: Pair) {
    let talk = pair.start();
    let input = "bob: 1\n/quit\nbob: 2\n";
    let wanted = pair.welcome("bob") + "from bob: 1\n";
    assert_output(&talk.run(&["bob"], input), 0, &wanted, "");
    let output = run(open(stage(pair.client), &[&talk.addr, "bob"]), input);
    assert_output(&output, 0, &(wanted + "from bob: 2\n"), "");
}

fn retry_waits_for_a_server(pair: Pair) {
    let free = FreeAddr::find().unwrap();
    let addr = free.addr().to_string();
    let mut client = open(&pair.client.name, &[&addr, "bob"]);
    say(&mut client, "bob: there you are\n");
    let mut stderr = BufReader::new(client.stderr.take().unwrap());
    assert_reads(&mut stderr, &format!("waiting for a server on {addr}\n"));
    let server = Server::start_on(executable(&pair.server.name), &addr).unwrap();
    let wanted = pair.welcome("bob") + "from bob: there you are\n";
    assert_output(&client.wait_with_output().unwrap(), 0, &wanted, "");
    drop(server);
    let output = run(open(stage(pair.client), &[&addr, "bob"]), "");
    assert_eq!(output.status.code(), Some(1), "the stage does not wait");
}

fn the_next_name_is_tried(pair: Pair) {
    let talk = pair.start();
    let _alice = log_in(talk.server.addr(), "alice").unwrap();
    let mut second = talk.open(&["alice"]);
    let mut stdout = BufReader::new(second.stdout.take().unwrap());
    assert_reads(&mut stdout, "welcome alice-2\n");
    let stdout = "welcome alice-3\nfrom alice-3: hello\n";
    let stderr = "somebody else is called alice\nsomebody else is called alice-2\n";
    assert_output(&talk.run(&["alice"], "alice-3: hello\n"), 0, stdout, stderr);
    let line = "error: a name is 1 to 32 letters, digits, _ or -\n";
    assert_output(&talk.run(&["a b"], ""), 1, "", line);
    second.kill().unwrap();
    second.wait().unwrap();
    let output = run(open(stage(pair.client), &[&talk.addr, "alice"]), "");
    assert_eq!(output.status.code(), Some(1), "the stage does not try");
}
