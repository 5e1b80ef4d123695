//! The program, when its output cannot be written.
#![cfg(target_os = "linux")]

use std::{
    fs::File,
    io,
    process::{Command, Stdio},
};

use examiner::stages;

/// Runs the program, and returns its status and its complaints; Cargo's progress comes to stderr too.
fn run(arguments: &[&str], stdout: impl Into<Stdio>) -> (Option<i32>, Vec<String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    let command = command
        .args(arguments)
        .stdout(stdout)
        .stderr(Stdio::piped());
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let own = |line: &&str| line.starts_with("error") || line.contains("panicked");
    let complaints = stderr.lines().filter(own).map(str::to_string);
    (output.status.code(), complaints.collect())
}

#[test]
fn a_full_disk_is_one_line_and_a_closed_pipe_is_none() {
    let last = stages::list().unwrap().servers().last().unwrap();
    let soak = ["soak", &last.name, "--minutes", "0.01"];
    let told = "error: cannot write the output: No space left on device (os error 28)";
    for (arguments, status) in [(&["--help"][..], 2), (&soak, 1)] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(run(arguments, full), (Some(status), vec![told.to_string()]));
        let (reader, closed) = io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(arguments, closed), (Some(0), vec![]));
    }
}
