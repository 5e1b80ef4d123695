//! `cargo run --release --bin bench`: measures chat servers under load, and soaks one.
//!
//! - `cmd`: the commands, each with its arguments; `output`: what they print.
//! - `scenario`: what can be measured; `load` puts it on a server, with the clients of `generator`.
//! - `machine`: where measurements run.
//! - `report`: the results, in tables, JSON and a plot; `metric`: the numbers in it.

// `println!` and its like panic when the output cannot be written.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cmd;
mod generator;
mod load;
mod machine;
mod metric;
mod output;
mod report;
mod scenario;
#[cfg(test)]
mod tests;

use std::{io::ErrorKind, process::ExitCode};

use clap::{Parser, Subcommand};

use cmd::{measure::Measure, soak::Soak};
use output::Unwritten;

/// Measures servers, and compares them.
#[derive(Parser)]
#[command(
    bin_name = "cargo run --release --bin bench --",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    measure: Measure,
}

#[derive(Subcommand)]
enum Command {
    Soak(Soak),
}

fn main() -> ExitCode {
    let (done, failed) = match Cli::try_parse() {
        Ok(Cli { command, measure }) => match command {
            None => (measure.run(), 2),
            Some(Command::Soak(soak)) => (soak.run(), 1),
        },
        Err(help) => {
            let status = u8::try_from(help.exit_code()).unwrap_or(2);
            let shown = help.print().map_err(|error| Unwritten(error).into());
            (shown.map(|()| ExitCode::from(status)), 2)
        }
    };
    done.unwrap_or_else(|error| match error.downcast_ref() {
        Some(Unwritten(reason)) if reason.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        _ => {
            // When stderr is full too, only the status is left to tell.
            let _ = output::stderr(format!("error: {error:#}"));
            ExitCode::from(failed)
        }
    })
}
