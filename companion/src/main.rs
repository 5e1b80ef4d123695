//! What `cargo run` starts.

use std::io::Write as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anstream::eprintln;
use clap::{CommandFactory, Parser, Subcommand};
use companion::{
    bench, book,
    check::{self, Examination},
    new, serve,
    server::Subject,
    soak, stages,
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
    Check(Check),
    /// Measure servers, and compare them
    Bench(Bench),
    /// Let a server be used and abused for minutes, and see what it keeps
    Soak {
        /// A server of the book, 11-drain for example
        server: String,
        /// How long
        #[arg(long, default_value_t = 10.0, value_parser = minutes)]
        minutes: f64,
    },
}

#[derive(clap::Args)]
struct Check {
    /// The chapter, 04-broker for example; without one, lists what each demands
    stage: Option<String>,

    /// One conversation only, whether the chapter promises it or not
    conversation: Option<String>,

    /// Examine the server in this folder of yours, built with Cargo
    #[arg(long, conflicts_with_all = ["addr", "command"])]
    dir: Option<PathBuf>,

    /// Examine a server that runs already
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "command")]
    addr: Option<String>,

    /// Go on after the first failure
    #[arg(long)]
    all: bool,

    /// Tell the step to take
    #[arg(long)]
    hint: bool,

    /// Examine again whenever a file in the folder changes
    #[arg(long, requires = "dir", conflicts_with_all = ["format", "addr", "command"])]
    watch: bool,

    /// How to print what comes out
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Examine the server that this command starts; {addr} stands for the address
    #[arg(last = true)]
    command: Vec<String>,
}

#[derive(clap::Args)]
struct Bench {
    /// A server of the book, 06-disconnect for example; options of its own in one word with it
    #[arg(required_unless_present = "addr")]
    server: Option<String>,

    /// Measure a server that runs already instead
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "server")]
    addr: Option<String>,

    /// Another server to compare it with; may be given several times
    #[arg(long, value_name = "SERVER")]
    against: Vec<String>,

    /// One scenario only, or those whose names begin so; may be given several times [default: all]
    #[arg(long)]
    scenario: Vec<String>,

    /// How long each measurement takes
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,

    /// How often each is made
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// One round of one second each: a first look
    #[arg(long, conflicts_with_all = ["seconds", "rounds"])]
    quick: bool,

    /// Where to write bench.json, bench.svg, and what the servers report
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    out: PathBuf,
}

fn minutes(text: &str) -> Result<f64, String> {
    amount(text, "minutes", 0.01..=1440.0)
}

fn seconds(text: &str) -> Result<f64, String> {
    amount(text, "seconds", 0.1..=3600.0)
}

fn amount(text: &str, unit: &str, range: RangeInclusive<f64>) -> Result<f64, String> {
    let (least, most) = (range.start(), range.end());
    match text.parse() {
        Ok(amount) if range.contains(&amount) => Ok(amount),
        _ => Err(format!(
            "expected a number of {unit} from {least} to {most}"
        )),
    }
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// The exit status of an examination that could not be made.
const NOT_EXAMINED: u8 = 2;

/// Examines a server: status 0 when all held, 1 when something fell short, 2 when it could not be
/// examined.
fn examine(arguments: Check) -> ExitCode {
    let watched = arguments.dir.clone().filter(|_| arguments.watch);
    let examination = Examination {
        stage: arguments.stage,
        conversation: arguments.conversation,
        dir: arguments.dir,
        addr: arguments.addr,
        command: arguments.command,
        all: arguments.all,
        hint: arguments.hint,
        json: arguments.format == Format::Json,
    };
    let once = || match check::check(&examination) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", book::one_line(&error));
            ExitCode::from(NOT_EXAMINED)
        }
    };
    match watched {
        None => once(),
        Some(dir) => match check::watch(&dir, || {
            // The status is for who waits for the end; here there is none.
            let _ = once();
        }) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {}", book::one_line(&error));
                ExitCode::from(NOT_EXAMINED)
            }
        },
    }
}

/// Measures servers: status 0 when all measurements were made, 1 when one failed, 2 when nothing could
/// be measured.
fn measure(arguments: &Bench) -> ExitCode {
    let measured = if cfg!(debug_assertions) {
        Err(anyhow::anyhow!(
            "a build without optimisation says nothing about speed; run \
             `cargo run --release -- bench`"
        ))
    } else {
        bench(arguments)
    };
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", book::one_line(&error));
            ExitCode::from(NOT_EXAMINED)
        }
    }
}

fn bench(arguments: &Bench) -> anyhow::Result<bool> {
    let scenarios = bench::scenarios(&arguments.scenario)?;
    let mut servers = Vec::new();
    if let Some(addr) = &arguments.addr {
        servers.push(bench::Competitor {
            name: addr.clone(),
            subject: Subject::Addr(check::resolve(addr)?),
            options: Vec::new(),
        });
    }
    let names = arguments.server.iter().chain(&arguments.against);
    servers.extend(bench::competitors(&names.cloned().collect::<Vec<_>>())?);
    let (seconds, rounds) = match arguments.quick {
        true => (1.0, 1),
        false => (arguments.seconds, arguments.rounds.into()),
    };
    let bench = bench::Bench {
        servers,
        scenarios,
        seconds,
        rounds,
        patience: bench::generator::PATIENCE,
        pinned: true,
        out: arguments.out.clone(),
    };
    let report = bench.run()?;
    report.print();
    report.write(&arguments.out)?;
    println!(
        "\n{} holds bench.json and bench.svg.",
        arguments.out.display()
    );
    Ok(report.is_complete())
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
        Some(Command::Check(arguments)) => return examine(arguments),
        Some(Command::Bench(arguments)) => return measure(&arguments),
        Some(Command::Soak { server, minutes }) => {
            let time = Duration::from_secs_f64(minutes * 60.0);
            soak::soak(&server, time).map(|()| ExitCode::SUCCESS)
        }
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
