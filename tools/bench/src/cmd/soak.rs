//! `cargo run --release --bin bench -- soak SERVER`.
//!
//! Three loads run at once against one server: two residents who write to each other; the conversations that
//! `check` plays, in order, again and again; and vandals. Then all leave, and the server must be as it was.

use std::{
    process::{ExitCode, Stdio},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Error, Result, anyhow, bail, ensure};
use examiner::{
    check,
    conversation::{self, Conditions, Conversation},
    play::{self, Rules, Shortfall},
    process::{Signal, Subject},
    stages,
};

use crate::{amount, generator::Generator, holdings::Holdings, output, vandals};

/// After which part of the time a server is warm, so that it need not grow any more; later, if it has not met
/// everything once by then.
const WARM_UP: u32 = 4;

/// How long a server may take to notice that all clients have left: the grace for slow readers, and some.
const LEAVE: Duration = Duration::from_secs(20);

/// How long a resident waits for the other's message.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most bytes that a conversation may send. What one leaves behind in full queues is delivered to the
/// next client with the same name, as it should be (rule 11.4).
const LIGHT: usize = 16 * 1024;

/// How long residents and vandals rest between two acts, so that the load is the same on each machine, and
/// the system does not run out of ports.
const REST: Duration = Duration::from_millis(5);

/// Load a server for minutes with friendly and hostile clients, and see what it keeps of them
#[derive(clap::Args)]
pub(crate) struct Soak {
    /// A server of the book, 11-drain for example
    pub(crate) server: String,

    /// How long
    #[arg(long, default_value = "10", value_parser = amount::within(0.01..=1440.0))]
    pub(crate) minutes: f64,
}

/// What came of it.
pub(crate) struct Soaked {
    /// What was done, and what the server had before, meanwhile and at the end.
    pub(crate) table: String,
    /// Whether that is as it should be, and the server stopped when it was told to.
    pub(crate) verdict: Result<()>,
}

impl Soak {
    /// Soaks a server, and prints the table. The command fails when the server does not keep a promise.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let soaked = self.soak()?;
        output::stdout(soaked.table)?;
        soaked.verdict.map(|()| ExitCode::SUCCESS)
    }

    /// Soaks a server that is built as this program is. It needs Linux, which tells what a process has. In a
    /// time that is too short to meet everything once, the server is taken for warm at its end.
    pub(crate) fn soak(&self) -> Result<Soaked> {
        let name = &self.server;
        let time = Duration::from_secs_f64(60.0 * self.minutes);
        ensure!(
            cfg!(target_os = "linux"),
            "only Linux tells what a server has of the system"
        );
        let conversations = conversation::all()?;
        let rules = Rules {
            patience: Some(conversation::PATIENCE),
            version: stages::list()?.get(name)?.protocol,
            ..Rules::default()
        };
        let program = match cfg!(debug_assertions) {
            true => stages::build()?.program(name)?.to_path_buf(),
            false => stages::build_release(&[name])?.remove(0),
        };
        let mut server = Subject::Program(program)
            .start_reporting_to(&Conditions::default(), Stdio::null())
            .map_err(Error::msg)?;
        let (addr, running) = (server.addr(), Subject::Addr(server.addr()));
        let mut light = check::promised(name, &conversations);
        light.retain(|conversation| {
            running.cannot_play(conversation).is_none() && conversation.traffic().bytes <= LIGHT
        });
        ensure!(
            !light.is_empty(),
            "{name} promises nothing that can be played"
        );

        let (before, start) = (Holdings::of(&server)?, Instant::now());
        let mut residents = Generator::new(addr, PATIENCE)?;
        let names = ["resident-ann", "resident-ben"].map(str::to_string);
        let ann = residents.log_in(names)?.start;
        residents.route(ann, &[ann + 1], 10);
        let (messages, vandalisms) = (AtomicU64::new(0), AtomicU64::new(0));
        let (mut played, mut warm) = (0, None);
        thread::scope(|scope| {
            let write = |_| {
                residents.send(ann, 1)?;
                while residents.turn(None)?.is_empty() {}
                Ok(())
            };
            let loads = [
                spawn(scope, &messages, write),
                spawn(scope, &vandalisms, |number| vandals::act(addr, number)),
            ];
            // A load that ends early says why when it is joined.
            while start.elapsed() < time && !loads.iter().any(|(_, load)| load.is_finished()) {
                let has_met_everything = played >= light.len()
                    && vandalisms.load(Ordering::Relaxed) >= vandals::ACTS.len() as u64;
                if warm.is_none() && has_met_everything && start.elapsed() >= time / WARM_UP {
                    warm = Some(Holdings::of(&server)?);
                }
                play(light[played % light.len()], &running, rules)?;
                played += 1;
            }
            for (going, load) in loads {
                drop(going);
                load.join().map_err(|_| anyhow!("a load panicked"))??;
            }
            anyhow::Ok(())
        })?;
        residents.finish()?;
        drop(residents);
        let (time, left) = (start.elapsed().as_secs_f64(), Instant::now());
        let warm = warm.map_or_else(|| Holdings::of(&server), Ok)?;
        let mut after = Holdings::of(&server)?;
        while after.descriptors > before.descriptors && left.elapsed() < LEAVE {
            thread::sleep(REST);
            after = Holdings::of(&server)?;
        }
        let mut table = format!(
            "{name}, {time:.0} s: {played} conversations, {} messages of residents, {} acts of vandals\n\n\
             {:<10}  memory in MB  descriptors  threads",
            messages.into_inner(),
            vandalisms.into_inner(),
            ""
        );
        for (when, holdings) in [("before", before), ("warm", warm), ("after", after)] {
            let Holdings {
                memory,
                descriptors,
                threads,
            } = holdings;
            table += &format!("\n{when:<10}  {memory:>12.1}  {descriptors:>11}  {threads:>7}");
        }
        let signalled = server.signal(Signal::Interrupt);
        let end = signalled.and_then(|()| server.wait(LEAVE));
        let verdict = after.judge(&before, &warm).and_then(|()| {
            let status =
                end.map_err(|error| anyhow!("told to stop, the server does not: {error}"))?;
            ensure!(
                status.success(),
                "told to stop, the server ends with {status}"
            );
            Ok(())
        });
        Ok(Soaked { table, verdict })
    }
}

/// Repeats an act in a thread of its own, and counts, until the act fails or the sender is dropped.
fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    count: &'scope AtomicU64,
    mut act: impl FnMut(u64) -> Result<()> + Send + 'scope,
) -> (Sender<()>, ScopedJoinHandle<'scope, Result<()>>) {
    let (going, stopped) = mpsc::channel();
    let load = scope.spawn(move || {
        let rested = || stopped.recv_timeout(REST) == Err(RecvTimeoutError::Timeout);
        for number in (0..).take_while(|_| rested()) {
            act(number)?;
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    (going, load)
}

/// Plays one conversation with the server that runs.
fn play(conversation: &Conversation, running: &Subject, rules: Rules) -> Result<()> {
    let conditions = &conversation.conditions;
    let mut server = running.start(conditions).map_err(Error::msg)?;
    match play::play(conversation, &mut server, rules).shortfall {
        None => Ok(()),
        Some(Shortfall { expected, seen, .. }) => {
            let name = &conversation.name;
            bail!("{name} falls short: expected {expected}; {seen}")
        }
    }
}
