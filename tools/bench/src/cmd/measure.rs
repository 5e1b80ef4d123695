//! `cargo run --release --bin bench -- SERVER --against SERVER`.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use examiner::{
    check,
    conversation::Conditions,
    process::{self, Process, Subject},
    stages,
};

use crate::{
    generator::Generator,
    load::Run,
    machine::{self, Cores},
    metric::{Reading, number},
    output::{self, Unwritten},
    report::{Measured, Report, json, plot, table},
    scenario::{self, Scenario},
};

/// How long a server that closed its connections may take to end, if that is why it closed them.
const END: Duration = Duration::from_secs(1);

/// Measure servers, and compare them
#[derive(clap::Args)]
pub(crate) struct Measure {
    /// A server of the book, 11-cancel for example; options of its own in one word with it
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
    #[arg(long, default_value = "3")]
    seconds: f64,

    /// How often each is made
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// One round of one second each: a first look
    #[arg(long, conflicts_with_all = ["seconds", "rounds"])]
    quick: bool,

    /// Where to write bench.json, bench.svg, and what the servers report
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    out: PathBuf,

    /// How long nothing may arrive while a message is under way.
    #[arg(skip = Duration::from_secs(15))]
    pub(crate) patience: Duration,

    /// Whether the server and the clients each stay on a processor of their own, if there are two.
    #[arg(skip = true)]
    pub(crate) pinned: bool,
}

/// One of the servers that are compared.
pub(crate) struct Competitor {
    /// Its name in the tables: `11-tokio --nodelay`.
    name: String,
    subject: Subject,
    /// The options that follow its address.
    options: Vec<String>,
}

impl Measure {
    /// Measures, writes the files, and prints the tables. The status is 0 when every measurement was made,
    /// and 1 when one could not be.
    pub(crate) fn run(mut self) -> Result<ExitCode> {
        if self.quick {
            (self.seconds, self.rounds) = (1.0, 1);
        }
        if !(0.1..=3600.0).contains(&self.seconds) {
            bail!("--seconds takes a number from 0.1 to 3600");
        }
        if cfg!(debug_assertions) {
            bail!(
                "a build without optimisation says nothing about speed; run `cargo run --release --bin bench`"
            );
        }
        let scenarios = scenario::choose(&self.scenario)?;
        let servers = self.servers(stages::build_release)?;
        let report = self.compare(&servers, &scenarios, output::stderr)?;
        let json = format!("{:#}\n", json::record(&report));
        for (name, text) in [("bench.json", json), ("bench.svg", plot::svg(&report))] {
            let file = self.out.join(name);
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        let (tables, out) = (table::text(&report), self.out.display());
        output::stdout(format!("{tables}\n\n{out} holds bench.json and bench.svg."))?;
        let failed = report.failures().next().is_some();
        Ok(ExitCode::from(u8::from(failed)))
    }

    /// The servers; `build` makes the programs. The words that follow a name are options of that server.
    pub(crate) fn servers(
        &self,
        build: impl FnOnce(&[&str]) -> Result<Vec<PathBuf>, examiner::Error>,
    ) -> Result<Vec<Competitor>> {
        let names: Vec<&String> = self.server.iter().chain(&self.against).collect();
        let words = names.iter().map(|name| name.split_whitespace());
        let programs: Option<Vec<&str>> = words.clone().map(|mut words| words.next()).collect();
        let programs = build(&programs.context("the name of a server is empty")?)?;
        let mut servers = Vec::new();
        if let Some(addr) = &self.addr {
            servers.push(Competitor {
                name: addr.clone(),
                subject: Subject::Addr(check::resolve(addr)?),
                options: Vec::new(),
            });
        }
        for ((name, words), program) in names.iter().zip(words).zip(programs) {
            servers.push(Competitor {
                name: name.to_string(),
                subject: Subject::Program(program),
                options: words.skip(1).map(str::to_string).collect(),
            });
        }
        Ok(servers)
    }

    /// Measures each scenario, round by round, and tells its progress. A measurement that fails is part of the
    /// report.
    ///
    /// Each measurement starts a server of its own. The servers take turns, so that a machine that changes its
    /// speed between minutes does so for all of them.
    pub(crate) fn compare(
        &self,
        servers: &[Competitor],
        scenarios: &[Scenario],
        tell: fn(String) -> Result<(), Unwritten>,
    ) -> Result<Report> {
        let out = &self.out;
        fs::create_dir_all(out)
            .with_context(|| format!("cannot make the folder {}", out.display()))?;
        process::raise_descriptor_limit(None);
        let cores = Cores::choose().filter(|_| self.pinned);
        let mut report = Report {
            servers: servers.iter().map(|server| server.name.clone()).collect(),
            measured: Vec::new(),
            seconds: self.seconds,
            rounds: self.rounds,
            machine: machine::description(cores),
            cores,
        };
        for scenario in scenarios {
            let mut samples: Vec<Vec<_>> = servers.iter().map(|_| Vec::new()).collect();
            for round in 1..=self.rounds {
                for (server, samples) in servers.iter().zip(&mut samples) {
                    let sample = self.measure(server, scenario, cores);
                    let outcome = match &sample {
                        Ok(readings) => in_short(readings),
                        Err(error) => format!("failed: {error:#}"),
                    };
                    let (scenario, rounds, server) = (scenario.name, self.rounds, &server.name);
                    tell(format!(
                        "{scenario}, round {round} of {rounds}, {server}: {outcome}"
                    ))?;
                    samples.push(sample);
                }
            }
            report.measured.push(Measured {
                scenario: scenario.clone(),
                samples,
            });
        }
        Ok(report)
    }

    /// Starts a server, measures it once, and ends it.
    fn measure(
        &self,
        server: &Competitor,
        scenario: &Scenario,
        cores: Option<Cores>,
    ) -> Result<Vec<Reading>> {
        let conditions = Conditions {
            descriptors: scenario.descriptors,
            options: server.options.clone(),
        };
        let log = server.name.replace(|c: char| !c.is_alphanumeric(), "-");
        let log = self.out.join(log + ".log");
        let stderr =
            File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        // The server inherits the processor.
        machine::pin(cores.map(|cores| cores.server));
        let started = server
            .subject
            .start_reporting_to(&conditions, stderr.into());
        machine::pin(cores.map(|cores| cores.generator));
        let mut started = started?;
        let mut run = Run {
            generator: Generator::new(started.addr(), self.patience)?,
            server: Process::new(started.id()),
            seconds: self.seconds,
        };
        let values = (scenario.load)(&mut run);
        let end = if values.is_ok() { Duration::ZERO } else { END };
        if let Ok(status) = started.wait(end) {
            let log = log.display();
            bail!("the server has ended ({status}); {log} holds what it reported");
        }
        let known = values?.into_iter();
        Ok(known
            .filter_map(|(metric, value)| Some((metric, value?)))
            .collect())
    }
}

/// A measurement in a line: its first two values.
fn in_short(readings: &[Reading]) -> String {
    let shown = |(metric, value): &Reading| format!("{} {}", number(*value), metric.name);
    let shown: Vec<String> = readings.iter().take(2).map(shown).collect();
    shown.join(", ")
}
