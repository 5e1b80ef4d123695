//! `cargo run --release --bin bench -- soak SERVER`.
//!
//! Three loads run at once against one server: two residents who write to each other; the conversations that
//! `check` plays, in order, again and again; and vandals. Then all leave, and the server must be as it was.

use std::{
    fs,
    io::{self, Write as _},
    net::{SocketAddr, TcpStream},
    process::{ExitCode, Stdio},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use examiner::{
    check,
    conversation::{self, Conditions, Conversation},
    play::{self, Rules, Shortfall},
    process::{Process, Server, Signal, Subject},
    stages,
};
use socket2::SockRef;

use crate::{generator::Generator, output};

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
    /// A server of the book, 17-drain for example
    server: String,

    /// How long
    #[arg(long, default_value = "10")]
    minutes: f64,
}

impl Soak {
    /// Soaks a server, and prints what it had. The command fails when the server does not keep a promise.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let (table, verdict) = self.soak()?;
        output::stdout(table)?;
        verdict.map(|()| ExitCode::SUCCESS)
    }

    /// Soaks a server that is built as this program is. Returns what it had before, meanwhile and at the end,
    /// for people, and whether that and its own end are as they should be. In a time that is too short to meet
    /// everything once, the server is taken for warm at its end.
    pub(crate) fn soak(&self) -> Result<(String, Result<()>)> {
        let name = &self.server;
        if !(0.01..=1440.0).contains(&self.minutes) {
            bail!("--minutes takes a number from 0.01 to 1440");
        }
        let time = Duration::from_secs_f64(60.0 * self.minutes);
        let conversations = conversation::all()?;
        let rules = Rules {
            patience: Some(conversation::PATIENCE),
            version: stages::list()?.get(name)?.protocol,
            // What it reports goes elsewhere, so no step can wait for that.
            stranger: true,
            ..Rules::default()
        };
        let program = match cfg!(debug_assertions) {
            true => stages::build()?.program(name)?.to_path_buf(),
            false => stages::build_release(&[name])?.remove(0),
        };
        let mut server =
            Subject::Program(program).start_reporting_to(&Conditions::default(), Stdio::null())?;
        let (addr, running) = (server.addr(), Subject::Addr(server.addr()));
        let mut light = check::promised(name, &conversations);
        light.retain(|conversation| {
            running.cannot_play(conversation).is_none()
                && conversation.traffic().bytes <= LIGHT
                && conversation.may_take() < time
        });
        if light.is_empty() {
            bail!("{name} promises nothing that can be played");
        }

        let (before, start) = (held(&server)?, Instant::now());
        let mut residents = Generator::new(addr, PATIENCE)?;
        let names = vec!["resident-ann".to_string(), "resident-ben".to_string()];
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
                spawn(scope, &vandalisms, |number| vandalize(addr, number)),
            ];
            // A load that ends early says why when it is joined.
            while start.elapsed() < time && !loads.iter().any(|(_, load)| load.is_finished()) {
                let has_met_everything = played >= light.len()
                    && vandalisms.load(Ordering::Relaxed) >= ACTS.len() as u64;
                if warm.is_none() && has_met_everything && start.elapsed() >= time / WARM_UP {
                    warm = Some(held(&server)?);
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
        let warm = warm.map_or_else(|| held(&server), Ok)?;
        let (seconds, left) = (start.elapsed().as_secs_f64(), Instant::now());
        let mut after = held(&server)?;
        while judge(before, warm, after).is_err() && left.elapsed() < LEAVE {
            thread::sleep(REST);
            after = held(&server)?;
        }
        let [messages, vandalisms] = [messages, vandalisms].map(AtomicU64::into_inner);
        let mut table = format!(
            "{name}, {seconds:.0} s: {played} conversations, {messages} messages of residents, \
             {vandalisms} acts of vandals\n\n      {}",
            NAMES.map(|name| format!("  {name:>12}")).concat()
        );
        for (when, held) in [("before", before), ("warm", warm), ("after", after)] {
            let held = held.map(|held| format!("  {:>12}", (10.0 * held).round() / 10.0));
            table += &format!("\n{when:<6}{}", held.concat());
        }
        let signalled = server.signal(Signal::Interrupt);
        let end = signalled.and_then(|()| server.wait(LEAVE));
        let verdict = match end {
            Ok(status) if status.success() => judge(before, warm, after),
            Ok(status) => Err(anyhow!("told to stop, the server ends with {status}")),
            Err(error) => Err(anyhow!("told to stop, the server does not: {error}")),
        };
        Ok((table, verdict))
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
    let mut server = running.start(&conversation.conditions)?;
    if let Some(shortfall) = play::play(conversation, &mut server, rules).shortfall {
        let Shortfall { expected, seen, .. } = shortfall;
        bail!(
            "{} falls short: expected {expected}; {seen}",
            conversation.name
        );
    }
    Ok(())
}

/// What is counted, in this order everywhere.
const NAMES: [&str; 3] = ["memory in MB", "descriptors", "threads"];

/// How much more memory a server may have at the end than when it was warm, in megabytes: allocators keep
/// some.
const MORE_MEMORY: f64 = 4.0;

/// How much a server has of each.
type Holdings = [f64; 3];

/// What this server has now. Linux tells it, of a process of ours.
fn held(server: &Server) -> Result<Holdings> {
    let look = || {
        let threads = fs::read_dir(format!("/proc/{}/task", server.id()?)).ok()?;
        let memory = Process::new(server.id()).memory()? / (1024.0 * 1024.0);
        Some([memory, server.descriptors()? as f64, threads.count() as f64])
    };
    look().context("the server has ended, or the system does not tell what it has")
}

/// Whether a server at the end has no more than before, or than when it was warm.
fn judge(before: Holdings, warm: Holdings, after: Holdings) -> Result<()> {
    let most = [warm[0] + MORE_MEMORY, before[1], warm[2].max(before[2])];
    for ((name, after), most) in NAMES.into_iter().zip(after).zip(most) {
        if after > most {
            bail!(
                "of clients that have left the server keeps {name}: {after:.1}, not {most:.1} at most"
            );
        }
    }
    Ok(())
}

/// How long a vandal waits until it can write; it is in no hurry, and never stuck.
const VANDAL_PATIENCE: Duration = Duration::from_millis(500);

/// What vandals do when they have connected. They are many, one after the other, and the number tells them
/// apart.
const ACTS: [fn(&mut TcpStream, u64) -> io::Result<()>; 7] = [
    // Breaks off at once.
    |stream, _| break_off(stream),
    // Leaves with half a name.
    |stream, _| stream.write_all(b"vand"),
    // Speaks another protocol.
    |stream, _| stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    // Sends a line without end, for as long as it may.
    |stream, _| stream.write_all(&[b'x'; 256 * 1024]),
    // Sends what isn't text.
    |stream, number| {
        writeln!(stream, "vandal-{number}")?;
        stream.write_all(&[0x00, 0xff, b'\n', 0xc3, b'\n', 0x1b, b':', b'\n'].repeat(500))
    },
    // Asks for answers and doesn't read them.
    |stream, number| {
        writeln!(stream, "vandal-{number}")?;
        stream.write_all(&b"nobody: are you there?\n".repeat(20_000))
    },
    // Breaks off in the middle of a message, with one to read.
    |stream, number| {
        write!(stream, "vandal-{number}\nvandal-{number}: you\nvandal")?;
        break_off(stream)
    },
];

/// Makes the end of a connection, which comes when it is dropped, a reset.
fn break_off(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// Connects, does the act that is next, and leaves.
fn vandalize(addr: SocketAddr, number: u64) -> Result<()> {
    let mut stream = TcpStream::connect(addr).context("a vandal cannot connect")?;
    stream.set_write_timeout(Some(VANDAL_PATIENCE))?;
    let act = ACTS[number as usize % ACTS.len()];
    // An error says that the server has had enough of this vandal, which is its right.
    let _ = act(&mut stream, number);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_keep_what_it_had_and_no_more() {
        let (before, warm) = ([8.0, 9.0, 4.0], [20.0, 60.0, 6.0]);
        judge(before, warm, [23.9, 9.0, 6.0]).unwrap();
        for (after, told) in [
            ([20.0, 11.0, 6.0], "descriptors: 11.0, not 9.0"),
            ([20.0, 9.0, 9.0], "threads: 9.0, not 6.0"),
            ([29.5, 9.0, 6.0], "memory in MB: 29.5, not 24.0"),
        ] {
            let error = judge(before, warm, after).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
