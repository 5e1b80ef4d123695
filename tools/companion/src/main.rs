//! What `cargo run` starts.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstream::eprintln;
use clap::{CommandFactory, Parser, Subcommand};
use companion::{book, new, serve};
use examiner::{
    check::{self, Examination},
    stages,
};

/// Reads the book with you: serves it, builds it.
#[derive(Parser)]
#[command(
    bin_name = "cargo run --",
    about = "The companion of the book",
    after_help = "Without a command: builds the book, serves it on this machine,\n\
                  and rebuilds it when a file changes. Ctrl-C stops.",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    /// Serve on this very port [default: 3000, or a free one]
    #[arg(long)]
    port: Option<u16>,

    /// Open no browser
    #[arg(long)]
    no_open: bool,

    /// The folder of book.toml. The tests use small books of their own.
    #[arg(long, hide = true, global = true, default_value = stages::root().as_os_str())]
    root: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Write the book to a folder
    Build {
        /// The folder [default: `book`, beside book.toml]
        dir: Option<PathBuf>,
    },
    /// Start a project of your own, to type along
    New {
        /// The folder to make, ../my-chat for example
        dir: PathBuf,
    },
    /// Examine a server against what the book promises up to a chapter
    Check(Examination),
}

/// The exit status of an examination that could not be made.
const NOT_EXAMINED: u8 = 2;

/// Examines a server: status 0 when all held, 1 when something fell short, 2 when it could not be
/// examined.
fn examine(examination: &Examination) -> ExitCode {
    match check::check(examination, &mut anstream::stdout()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(examiner::Error::Io { source, .. })
            if source.kind() == std::io::ErrorKind::BrokenPipe =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            // Nobody is left to tell.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(NOT_EXAMINED)
        }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let done = match cli.command {
        None => serve::serve(&cli.root, cli.port, !cli.no_open).map(|()| ExitCode::SUCCESS),
        Some(Command::Build { dir }) => build(&cli.root, dir),
        Some(Command::New { dir }) => new::new(&dir).map(|()| ExitCode::SUCCESS),
        Some(Command::Check(arguments)) => return examine(&arguments),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {}", book::one_line(&error));
        ExitCode::FAILURE
    })
}

/// Writes the book and says where it is. A book with faults is written all the same, for a look at
/// them, but the status tells a script that it should not be published.
fn build(root: &Path, dir: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let dir = dir.unwrap_or_else(|| root.join("book"));
    book::check_target(&dir)?;
    let built = book::build(root, &dir, None)?;
    for warning in &built.warnings {
        eprintln!("warning: {warning}");
    }
    for fault in &built.faults {
        eprintln!("error: {fault}");
    }
    // A closed pipe is no reason to fail: the book is written.
    let _ = writeln!(std::io::stdout(), "{}", built.index.display());
    Ok(if built.faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Shows the help that was asked for, or what was wrong and which commands there are.
fn usage(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell when the terminal is gone.
    let _ = error.print();
    if error.exit_code() == 0 {
        return ExitCode::SUCCESS;
    }
    let cli = Cli::command();
    eprintln!("\nCommands:");
    for command in cli.get_subcommands() {
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        eprintln!("  {:<8}{about}", command.get_name());
    }
    ExitCode::from(2)
}
