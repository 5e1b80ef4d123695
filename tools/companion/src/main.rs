//! What `cargo run` starts: reads the command line, and runs the command.

// `println!` and its like panic when the output cannot be written.
#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use companion::cmd::{build::Build, check::Check, new::New, serve::Serve};
use companion::output::{one_line, print, tell};

/// The companion of the book
#[derive(Parser)]
#[command(
    bin_name = "cargo run --",
    after_help = "Without a command: builds the book, serves it on this machine,\n\
                  and rebuilds it when a file changes. Ctrl-C stops.",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: Serve,

    /// The folder of book.toml. The tests use small books of their own.
    #[arg(long, hide = true, global = true, default_value = examiner::stages::root().as_os_str())]
    root: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    Build(Build),
    New(New),
    Check(Check),
}

fn main() -> ExitCode {
    let done = match Cli::try_parse() {
        Err(error) => usage(&error),
        Ok(cli) => match cli.command {
            None => cli.serve.run(&cli.root),
            Some(Command::Build(build)) => build.run(&cli.root),
            Some(Command::New(new)) => new.run(),
            Some(Command::Check(check)) => Ok(check.run()),
        },
    };
    done.unwrap_or_else(|error| {
        tell(format!("error: {}", one_line(&error)));
        ExitCode::FAILURE
    })
}

/// Shows the help that was asked for, or what was wrong and which commands there are.
fn usage(error: &clap::Error) -> Result<ExitCode> {
    let text = error.to_string();
    let text = text.trim_end();
    if !error.use_stderr() {
        return print(text).map(|_| ExitCode::SUCCESS);
    }
    tell(text);
    tell("\nCommands:");
    for command in Cli::command().get_subcommands() {
        let about = command.get_about().map(ToString::to_string);
        let about = about.unwrap_or_default();
        tell(format!("  {:<8}{about}", command.get_name()));
    }
    Ok(ExitCode::from(2))
}
