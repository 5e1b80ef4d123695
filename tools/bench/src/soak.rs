//! `cargo run --release -- soak`: a server among friends and vandals for minutes or hours, and what it has
//! kept of them at the end.
//!
//! Three loads run at once against one server: two residents who write to each other and count; the
//! conversations that `check` plays, in order, again and again; and vandals who log in by halves, send
//! garbage, read nothing, and break off. Then all leave, and the server must be as it was.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use socket2::SockRef;

use examiner::{
    check,
    conversation::{self, Conditions, Conversation},
    play::{self, Rules},
    process::{Process, Server, Signal, Subject},
    stages,
};

/// After which part of the time a server is warm, so that it need not grow any more; if it has met everything
/// once by then.
const WARM_UP: u32 = 4;

/// How much more memory a server may have at the end than after the warm-up: allocators keep some.
const MORE_MEMORY: f64 = 4.0 * 1024.0 * 1024.0;

/// How long a server may take to notice that everybody has left: the grace for slow readers, and some.
const LEAVE: Duration = Duration::from_secs(20);

/// How long a resident waits for the other's message.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a vandal waits for anything; it is in no hurry, and never stuck.
const VANDAL_PATIENCE: Duration = Duration::from_millis(500);

/// The most bytes that a conversation may send. What one leaves behind in full queues is delivered to whoever
/// has the same name in the next one, as it should be (rule 11.4).
const LIGHT: usize = 16 * 1024;

/// How long residents and vandals rest between two acts, so that the load is the same on each machine, and
/// the system does not run out of ports.
const REST: Duration = Duration::from_millis(5);

/// What a server has of the system.
#[derive(Clone, Copy, Debug)]
struct Holdings {
    /// Memory, in bytes.
    memory: f64,
    /// Open files and sockets.
    descriptors: usize,
    threads: usize,
}

impl Holdings {
    fn of(server: &Server) -> Result<Holdings> {
        let id = server.id().context("its process is not ours")?;
        let threads = format!("/proc/{id}/task");
        let threads = fs::read_dir(&threads).with_context(|| format!("cannot read {threads}"))?;
        Ok(Holdings {
            memory: Process::new(Some(id))
                .memory()
                .context("the system does not say how much memory it has")?,
            descriptors: server
                .descriptors()
                .context("the system does not say which files it has open")?,
            threads: threads.count(),
        })
    }
}

/// How often each of the loads has done what it does.
#[derive(Debug, Default)]
struct Done {
    messages: AtomicU64,
    conversations: AtomicU64,
    vandalisms: AtomicU64,
}

/// Plays for so long with a server of the book, built as this program is, and prints what it had before,
/// meanwhile and at the end.
///
/// # Errors
///
/// When the server cannot be started, when it does not keep a promise, when it has more at the end than
/// after the first quarter of the time, or when it does not stop as it should. In a time that is too short to
/// meet everything once, it may come to have more. It needs Linux, which tells what a process has.
pub fn soak(name: &str, time: Duration) -> Result<()> {
    ensure!(
        cfg!(target_os = "linux"),
        "only Linux tells what a server has of the system"
    );
    let conversations = conversation::all().map_err(|error| anyhow!("{error}"))?;
    let program = match cfg!(debug_assertions) {
        true => stages::build().and_then(|stages| Ok(stages.program(name)?.to_path_buf())),
        false => stages::build_release(&[name]).map(|mut programs| programs.remove(0)),
    };
    let mut server = Subject::Program(program.map_err(|error| anyhow!(error))?)
        .start_reporting_to(&Conditions::default(), Stdio::null())
        .map_err(|error| anyhow!(error))?;
    let before = Holdings::of(&server)?;
    let running = Subject::Addr(server.addr());
    let mut played = check::promised(name, &conversations);
    played.retain(|conversation| {
        running.cannot_play(conversation).is_none() && conversation.traffic().bytes <= LIGHT
    });
    let version = stages::list()?.get(name)?.protocol;
    let rules = || Rules {
        patience: Some(conversation::PATIENCE),
        version: version,
        ..Rules::default()
    };
    let (done, stop) = (Done::default(), AtomicBool::new(false));
    let begun = Instant::now();
    let warm = thread::scope(|scope| -> Result<Holdings> {
        // Whatever ends the scope ends the others too.
        let stop_all = OnDrop(|| stop.store(true, Ordering::Relaxed));
        let residents = scope.spawn(|| reside(server.addr(), &stop, &done.messages));
        let vandals = scope.spawn(|| vandalize(server.addr(), &stop, &done.vandalisms));
        let mut next = played.iter().cycle();
        let mut warm = None;
        // A load that ends early says why when it is joined.
        while begun.elapsed() < time && !residents.is_finished() && !vandals.is_finished() {
            let has_met_everything = done.conversations.load(Ordering::Relaxed)
                >= played.len() as u64
                && done.vandalisms.load(Ordering::Relaxed) >= VANDALISMS.len() as u64;
            if warm.is_none() && has_met_everything && begun.elapsed() >= time / WARM_UP {
                warm = Some(Holdings::of(&server)?);
            }
            let conversation = next.next().context("there is nothing to play")?;
            hold(conversation, &running, rules())?;
            done.conversations.fetch_add(1, Ordering::Relaxed);
        }
        drop(stop_all);
        for load in [residents, vandals] {
            load.join().map_err(|_| anyhow!("a load panicked"))??;
        }
        warm.map_or_else(|| Holdings::of(&server), Ok)
    })?;
    let left = Instant::now();
    let mut after = Holdings::of(&server)?;
    while after.descriptors > before.descriptors && left.elapsed() < LEAVE {
        thread::sleep(REST);
        after = Holdings::of(&server)?;
    }
    println!(
        "{name}, {:.0} s: {} conversations, {} messages of residents, {} acts of vandals\n",
        begun.elapsed().as_secs_f64(),
        done.conversations.load(Ordering::Relaxed),
        done.messages.load(Ordering::Relaxed),
        done.vandalisms.load(Ordering::Relaxed),
    );
    println!("            memory in MB  descriptors  threads");
    for (when, holdings) in [("before", before), ("warm", warm), ("after", after)] {
        println!(
            "{when:<10}  {:>12.1}  {:>11}  {:>7}",
            holdings.memory / (1024.0 * 1024.0),
            holdings.descriptors,
            holdings.threads
        );
    }
    judge(before, warm, after)?;
    server
        .signal(Signal::Interrupt)
        .map_err(|error| anyhow!(error))?;
    let status = server.wait(LEAVE).map_err(|error| anyhow!(error))?;
    ensure!(
        status.success(),
        "told to stop, the server ends with {status}"
    );
    Ok(())
}

/// Whether a server has what it had.
fn judge(before: Holdings, warm: Holdings, after: Holdings) -> Result<()> {
    ensure!(
        after.descriptors <= before.descriptors,
        "the server keeps {} descriptors of clients that have left",
        after.descriptors - before.descriptors
    );
    ensure!(
        after.threads <= warm.threads.max(before.threads),
        "the server has {} threads more than when it was warm",
        after.threads - warm.threads
    );
    ensure!(
        after.memory <= warm.memory + MORE_MEMORY,
        "the server has {:.1} MB more than when it was warm",
        (after.memory - warm.memory) / (1024.0 * 1024.0)
    );
    Ok(())
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Plays one conversation with the server that runs.
fn hold(conversation: &Conversation, running: &Subject, rules: Rules) -> Result<()> {
    let mut server = running
        .start(&conversation.conditions)
        .map_err(|error| anyhow!(error))?;
    match play::play(conversation, &mut server, rules).shortfall {
        None => Ok(()),
        Some(shortfall) => bail!(
            "{} falls short: expected {}; {}",
            conversation.name,
            shortfall.expected,
            shortfall.seen
        ),
    }
}

/// Two who stay: one counts, and the other reads. Every number arrives, in order.
fn reside(addr: SocketAddr, stop: &AtomicBool, messages: &AtomicU64) -> Result<()> {
    let (mut ann, mut from_ann) = log_in(addr, "resident-ann")?;
    let (ben, mut to_ben) = log_in(addr, "resident-ben")?;
    let mut line = String::new();
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        ann.write_all(format!("resident-ben: {number}\n").as_bytes())?;
        line.clear();
        to_ben
            .read_line(&mut line)
            .context("a resident waits in vain")?;
        ensure!(
            line == format!("from resident-ann: {number}\n"),
            "instead of message {number} a resident gets `{}`",
            line.trim_end()
        );
        messages.fetch_add(1, Ordering::Relaxed);
        thread::sleep(REST);
    }
    for stream in [&ann, &ben] {
        stream.shutdown(Shutdown::Write)?;
    }
    from_ann.read_to_string(&mut line)?;
    to_ben.read_to_string(&mut line)?;
    Ok(())
}

fn log_in(addr: SocketAddr, name: &str) -> Result<(TcpStream, BufReader<TcpStream>)> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{name}\n").as_bytes())?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut welcome = String::new();
    reader.read_line(&mut welcome)?;
    ensure!(
        welcome == format!("welcome {name}\n"),
        "{name} is told `{}`",
        welcome.trim_end()
    );
    Ok((stream, reader))
}

/// What vandals do after they have connected. They are many, one after the other, and each has a name.
const VANDALISMS: [fn(&mut TcpStream, u64) -> std::io::Result<()>; 7] = [
    // Breaks off at once.
    |stream, _| SockRef::from(&*stream).set_linger(Some(Duration::ZERO)),
    // Leaves with half a name.
    |stream, _| stream.write_all(b"vand"),
    // Is no client at all.
    |stream, _| stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    // Sends a line without end, for as long as it may.
    |stream, _| stream.write_all(&[b'x'; 256 * 1024]),
    // Sends what is no text.
    |stream, number| {
        stream.write_all(format!("vandal-{number}\n").as_bytes())?;
        stream.write_all(&[0x00, 0xff, b'\n', 0xc3, b'\n', 0x1b, b':', b'\n'].repeat(500))
    },
    // Asks for answers and does not read them.
    |stream, number| {
        stream.write_all(format!("vandal-{number}\n").as_bytes())?;
        stream.write_all(&b"nobody: are you there?\n".repeat(20_000))
    },
    // Breaks off in the middle of a message to somebody who is busy.
    |stream, number| {
        stream.write_all(format!("vandal-{number}\nvandal-{number}: you\nvandal").as_bytes())?;
        SockRef::from(&*stream).set_linger(Some(Duration::ZERO))
    },
];

fn vandalize(addr: SocketAddr, stop: &AtomicBool, vandalisms: &AtomicU64) -> Result<()> {
    for (number, act) in (0..).zip(VANDALISMS.iter().cycle()) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut stream = TcpStream::connect(addr).context("a vandal cannot connect")?;
        stream.set_write_timeout(Some(VANDAL_PATIENCE))?;
        // An error says that the server has had enough of this vandal, which is its right.
        let _ = act(&mut stream, number);
        vandalisms.fetch_add(1, Ordering::Relaxed);
        thread::sleep(REST);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Holdings = Holdings {
        memory: 8e6,
        descriptors: 9,
        threads: 4,
    };

    #[test]
    fn a_server_that_keeps_nothing_holds() {
        let warm = Holdings {
            memory: 20e6,
            descriptors: 60,
            threads: 6,
        };
        let after = Holdings {
            descriptors: 9,
            ..warm
        };
        judge(BEFORE, warm, after).unwrap();
    }

    #[test]
    fn what_a_server_keeps_is_told() {
        let warm = Holdings {
            memory: 20e6,
            ..BEFORE
        };
        for (after, told) in [
            (
                Holdings {
                    descriptors: 11,
                    ..warm
                },
                "keeps 2 descriptors",
            ),
            (Holdings { threads: 7, ..warm }, "3 threads more"),
            (
                Holdings {
                    memory: 30e6,
                    ..warm
                },
                "9.5 MB more",
            ),
        ] {
            let error = judge(BEFORE, warm, after).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
