//! What the programs of chapter 02 print is what the chapter shows, `code/transcripts/02-futures/NAME.txt`.
//!
//! A time, a size and a count of millions are measured, so the transcript has those of the run that was
//! recorded. All the rest is compared: the words, the order of the lines, the polls.

use std::{
    fs,
    io::Read,
    process::{Command, Stdio},
    sync::{LazyLock, mpsc},
    thread,
};

use examiner::stages::{Program, root};
use libtest_mimic::Trial;
use regex::Regex;

use crate::common::{Book, PATIENCE, Result, executable, same_as_recorded};

const CHAPTER: &str = "02-futures";

/// How often a program may run until its lines are in order. Two of its deadlines are 50 ms apart, which a busy
/// machine may miss.
const TRIES: usize = 5;

pub(super) fn trials(book: Book) -> Vec<Trial> {
    let (number, _) = CHAPTER.split_at(3);
    let programs = book.list.programs().filter(|p| p.name.starts_with(number));
    let trial = |program: &'static Program| {
        let name = format!("experiments::{} prints its transcript", program.name);
        Trial::test(name, || prints_its_transcript(program))
    };
    programs.map(trial).collect()
}

fn prints_its_transcript(program: &Program) -> Result<()> {
    let name = &program.name;
    let file = root().join(format!("code/transcripts/{CHAPTER}/{name}.txt"));
    let recorded = fs::read_to_string(&file).unwrap_or_default();
    let mut transcript = String::new();
    for _ in 0..TRIES {
        transcript = format!(
            "$ cargo run {} {name}\n{}",
            program.cargo_flag(),
            printed(name)?
        );
        if shape(&transcript) == shape(&recorded) {
            return Ok(());
        }
    }
    same_as_recorded(&file, &transcript)
}

/// What the program prints until it ends by itself.
fn printed(name: &str) -> Result<String> {
    let mut program = Command::new(executable(name))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdout = program.stdout.take().ok_or("stdout is a pipe")?;
    let (to_us, from_reader) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.read_to_string(&mut text).map(|_| text);
        // An error means that this test has given up.
        let _ = to_us.send(read);
    });
    let Ok(text) = from_reader.recv_timeout(PATIENCE) else {
        program.kill()?;
        program.wait()?;
        return Err(format!("{name} hasn't ended after {PATIENCE:?}").into());
    };
    let status = program.wait()?;
    match status.success() {
        true => Ok(text?),
        false => Err(format!("{name}: {status}").into()),
    }
}

/// The text without the numbers that are measured.
fn shape(text: &str) -> String {
    static MEASURED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r" *\d+( ms| bytes)|\d{4,}").expect("a valid pattern"));
    MEASURED.replace_all(text, "#$1").into_owned()
}
