//! `cargo run --release --bin bench`: measures servers that speak the protocol, and compares them.
//!
//! Each measurement starts a server of its own. The servers take turns, so that a machine that changes
//! its speed between minutes does so for all of them.

#![warn(missing_docs)]

pub mod generator;
pub mod machine;
mod plot;
pub mod report;
pub mod scenario;
pub mod soak;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};

use examiner::{
    conversation::Conditions,
    process::{self, Process, Subject},
    stages,
};
use generator::Generator;
use machine::Cores;
use report::{Measured, Report};
use scenario::{Reading, Run, SCENARIOS, Scenario};

/// How long a server that fails may take to end, if it does.
const MOMENT: Duration = Duration::from_secs(1);

/// One of the servers that are compared.
#[derive(Clone, Debug)]
pub struct Competitor {
    /// How it is called in the tables: `06-tokio --nodelay`.
    pub name: String,
    /// How it is started.
    pub subject: Subject,
    /// The options that follow its address.
    pub options: Vec<String>,
}

/// What to measure, and how.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The servers; the first one is compared with each of the others.
    pub servers: Vec<Competitor>,
    /// What is done to them.
    pub scenarios: Vec<Scenario>,
    /// How long each measurement takes, in seconds; some take as long as they must.
    pub seconds: f64,
    /// How often each is made.
    pub rounds: usize,
    /// How long a server may leave a message undelivered.
    pub patience: Duration,
    /// Whether the server and the generator each stay on a processor of their own.
    pub pinned: bool,
    /// Where to write what the servers report.
    pub out: PathBuf,
}

/// Builds the servers of the book with these names, with optimisation. Words behind a name are options
/// of that server.
///
/// # Errors
///
/// When there is no such server; the error names those that there are. When one does not build.
pub fn competitors(names: &[String]) -> Result<Vec<Competitor>> {
    let words: Vec<Vec<&str>> = names
        .iter()
        .map(|name| name.split_whitespace().collect())
        .collect();
    let programs: Vec<&str> = words
        .iter()
        .filter_map(|words| words.first().copied())
        .collect();
    if programs.len() < names.len() {
        bail!("the name of a server is empty");
    }
    let built = stages::build_release(&programs).map_err(|error| anyhow!(error))?;
    let competitors = names.iter().zip(words).zip(built);
    Ok(competitors
        .map(|((name, words), program)| Competitor {
            name: name.clone(),
            subject: Subject::Program(program),
            options: words[1..].iter().map(|word| word.to_string()).collect(),
        })
        .collect())
}

/// The scenarios that these names stand for: each is that of a scenario, or how several begin. None
/// stands for all.
///
/// # Errors
///
/// When a name stands for none; the error names those that there are.
pub fn scenarios(names: &[String]) -> Result<Vec<Scenario>> {
    for name in names {
        if !SCENARIOS
            .iter()
            .any(|scenario| scenario.name.starts_with(name.as_str()))
        {
            let known: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            bail!(
                "there is no scenario named {name}; there are: {}",
                known.join(", ")
            );
        }
    }
    let wanted = |scenario: &&Scenario| {
        names.is_empty()
            || names
                .iter()
                .any(|name| scenario.name.starts_with(name.as_str()))
    };
    Ok(SCENARIOS.iter().filter(wanted).cloned().collect())
}

impl Bench {
    /// Measures everything, and says on stderr how far it is. A measurement that fails is part of the
    /// report.
    ///
    /// # Errors
    ///
    /// When nothing can be measured at all.
    pub fn run(&self) -> Result<Report> {
        fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot make the folder {}", self.out.display()))?;
        let descriptors = process::raise_descriptor_limit(None);
        let cores = Cores::choose().filter(|_| self.pinned);
        let mut measured = Vec::new();
        for scenario in &self.scenarios {
            let wanted = scenario.load.connections() + 100;
            if wanted > descriptors {
                eprintln!(
                    "{}: left out; it needs {wanted} descriptors, and the system allows {descriptors}",
                    scenario.name
                );
                continue;
            }
            let mut samples = vec![Vec::new(); self.servers.len()];
            for round in 1..=self.rounds {
                for (server, samples) in self.servers.iter().zip(&mut samples) {
                    let sample = self.measure(server, scenario, cores);
                    let outcome = match &sample {
                        Ok(readings) => report::in_short(readings),
                        Err(error) => format!("failed: {error:#}"),
                    };
                    let name = &server.name;
                    eprintln!(
                        "{}, round {round} of {}, {name}: {outcome}",
                        scenario.name, self.rounds
                    );
                    samples.push(sample.map_err(|error| format!("{error:#}")));
                }
            }
            measured.push(Measured {
                scenario: scenario.clone(),
                samples,
            });
        }
        Ok(Report {
            servers: self
                .servers
                .iter()
                .map(|server| server.name.clone())
                .collect(),
            measured,
            seconds: self.seconds,
            rounds: self.rounds,
            cores,
        })
    }

    /// Starts a server, measures it once, and ends it.
    fn measure(
        &self,
        server: &Competitor,
        scenario: &Scenario,
        cores: Option<Cores>,
    ) -> Result<Vec<Reading>> {
        let conditions = Conditions {
            descriptors: scenario.load.descriptors(),
            options: server.options.clone(),
        };
        let log = self.log(&server.name)?;
        let started = {
            let _pinned = machine::pin(cores.map(|cores| cores.server));
            server
                .subject
                .start_reporting_to(&conditions, Stdio::from(log))
        };
        let mut started = started.map_err(|error| anyhow!(error))?;
        let _pinned = machine::pin(cores.map(|cores| cores.generator));
        let mut generator = Generator::new(started.addr(), self.patience)?;
        let mut run = Run {
            generator: &mut generator,
            server: Process::new(started.id()),
            seconds: self.seconds,
        };
        let readings = scenario.load.run(&mut run);
        // A server that has ended is why the connections were closed; its end may take a moment longer.
        let moment = match &readings {
            Ok(_) => Duration::ZERO,
            Err(_) => MOMENT,
        };
        match started.wait(moment) {
            Ok(status) => Err(anyhow!(
                "the server has ended ({status}); {} holds what it reported",
                self.log_file(&server.name).display()
            )),
            Err(_) => readings,
        }
    }

    fn log_file(&self, server: &str) -> PathBuf {
        let name = server.replace(|c: char| !c.is_alphanumeric() && c != '-', "_");
        Path::new(&self.out).join(format!("{name}.log"))
    }

    fn log(&self, server: &str) -> Result<File> {
        let file = self.log_file(server);
        File::create(&file).with_context(|| format!("cannot write {}", file.display()))
    }
}
