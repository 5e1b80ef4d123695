//! `cargo run --release --bin bench`: measures servers, and lets one be used and abused.

use std::{ops::RangeInclusive, path::PathBuf, process::ExitCode, time::Duration};

use anstream::{eprintln, println};
use bench::soak;
use clap::{Parser, Subcommand};
use examiner::{check, process::Subject};

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
    bench: Bench,
}

#[derive(Subcommand)]
enum Command {
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

/// The exit status when nothing could be measured.
const NOT_MEASURED: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => measure(&cli.bench),
        Some(Command::Soak { server, minutes }) => {
            let time = Duration::from_secs_f64(minutes * 60.0);
            match soak::soak(&server, time) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("error: {error:#}");
                    ExitCode::FAILURE
                }
            }
        }
    }
}

/// Measures servers: status 0 when all measurements were made, 1 when one failed, 2 when nothing could
/// be measured.
fn measure(arguments: &Bench) -> ExitCode {
    let measured = if cfg!(debug_assertions) {
        Err(anyhow::anyhow!(
            "a build without optimisation says nothing about speed; run \
             `cargo run --release --bin bench`"
        ))
    } else {
        run(arguments)
    };
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", format!("{error:#}"));
            ExitCode::from(NOT_MEASURED)
        }
    }
}

fn run(arguments: &Bench) -> anyhow::Result<bool> {
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

