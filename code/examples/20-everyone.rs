//! Exercise 1 of chapter 20: `everyone` as a destination.
//!
//! Run it with `cargo run --example 20-everyone`.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::Shutdown,
    process::{self, ExitCode},
    sync::Arc,
    time::Duration,
};

use async_std::{
    net::{TcpListener, TcpStream},
    task,
};
use chat::{
    broker::{Action, Broker, Event, Session},
    server::{self, Options, Result, Runtime, Socket},
};
use clap::Parser;
use futures::{StreamExt, channel::oneshot, future, stream};
use socket2::{SockRef, TcpKeepalive};

/// How long a connection may be silent before the system asks its peer for a
/// sign of life, and how long until it asks again.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(10);
/// The exit status if messages were not delivered (specification, 12.2).
const NOT_DELIVERED: u8 = 2;

#[derive(Parser)]
#[command(about = "A chat server that limits its clients")]
#[command(allow_negative_numbers = true)]
struct Arguments {
    /// Address to listen on
    #[arg(default_value = "127.0.0.1:8080")]
    addr: String,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(help) if !help.use_stderr() => help.exit(),
        Err(error) => {
            let error = error.to_string();
            eprintln!("{}", error.lines().next().unwrap_or_default());
            return ExitCode::FAILURE;
        }
    };
    match task::block_on(accept_loop(arguments)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(lost) => {
            eprintln!("error: messages not delivered: {lost}");
            ExitCode::from(NOT_DELIVERED)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The runtime of the book.
#[derive(Clone)]
struct AsyncStd;

impl Runtime for AsyncStd {
    type Reader = TcpStream;
    type Writer = TcpStream;

    fn shutdown(&self, stream: &TcpStream, how: Shutdown) -> io::Result<()> {
        stream.shutdown(how)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        task::spawn(task);
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        task::sleep(time)
    }

    fn report(&self, line: &str) {
        eprintln!("{line}");
    }
}

/// Owns the listener. Ends when the server is told to stop and every task has
/// ended, and returns how many messages were not delivered.
async fn accept_loop(arguments: Arguments) -> Result<usize> {
    let Arguments { addr, options } = arguments;
    let listener = TcpListener::bind(&addr)
        .await
        .map_err(|error| format!("cannot listen on {addr}: {error}"))?;
    let ctrl_c = ctrl_c()?;
    println!("listening on {}", listener.local_addr()?);
    let max_queue = options.max_queue;
    // It owns the listener, which is closed when the server drops the stream.
    let incoming = stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await;
        Some((accepted.map(|(stream, _)| stream), listener))
    });
    let incoming = incoming.filter_map(|stream| {
        future::ready(match stream.map(|stream| socket(stream, max_queue)) {
            Ok(Ok(socket)) => Some(Ok(socket)),
            Ok(Err(error)) => {
                eprintln!("error: {error}");
                None
            }
            Err(error) => Some(Err(error)),
        })
    });
    let mut broker = Everyone::default();
    let decide = move |event, actions: &mut Vec<Action>| {
        broker.handle(event, actions);
    };
    Ok(server::serve_with(incoming, ctrl_c, options, AsyncStd, decide).await)
}

/// The destination that stands for all others.
const EVERYONE: &str = "everyone";

/// A broker that knows everyone.
#[derive(Default)]
struct Everyone {
    broker: Broker,
    /// Who has asked for which name, and has not got it yet.
    coming: HashMap<Session, Arc<str>>,
    /// Who is there and reads.
    here: HashMap<Session, Arc<str>>,
}

impl Everyone {
    fn handle(&mut self, mut event: Event, actions: &mut Vec<Action>) {
        match &mut event {
            Event::LogIn { session, name } => {
                self.coming.insert(*session, Arc::clone(name));
            }
            Event::Lines { session, parts } => {
                for part in parts {
                    if part.to.iter().any(|dest| dest == EVERYONE) {
                        part.to = self.all_others(*session, &part.to);
                    }
                }
            }
            // The broker would answer that nobody of this name is there.
            Event::TooSlow { session } => drop(self.here.remove(session)),
            Event::LogOut { .. } | Event::Stop => {}
        }
        let first = actions.len();
        self.broker.handle(event, actions);
        for action in &actions[first..] {
            match action {
                Action::Welcome { session } => {
                    let name = self.coming.remove(session);
                    self.here.extend(name.map(|name| (*session, name)));
                }
                Action::Finish { session } => {
                    self.coming.remove(session);
                    self.here.remove(session);
                }
                Action::Deliver { .. } => {}
            }
        }
    }

    /// The destinations with all others in the place of `everyone`, each once.
    /// Who sends it gets a copy only by its own name.
    fn all_others(&self, from: Session, to: &[String]) -> Arc<[String]> {
        let named = to.iter().filter(|dest| *dest != EVERYONE).cloned();
        let others = self.here.iter().filter(|(session, _)| **session != from);
        let mut all: Vec<String> =
            named.chain(others.map(|(_, name)| name.to_string())).collect();
        all.sort();
        all.dedup();
        all.into()
    }
}

/// Makes of a connection what the library wants, and tells the system how to
/// treat it.
fn socket(stream: TcpStream, max_queue: usize) -> io::Result<Socket<AsyncStd>> {
    let peer = stream.peer_addr()?.to_string();
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_AGAIN);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    SockRef::from(&stream).set_send_buffer_size(max_queue)?;
    stream.set_nodelay(true)?;
    Ok(Socket { peer, reader: stream.clone(), writer: stream })
}

/// Resolves at the first Ctrl-C; on Unix also at the first SIGTERM or SIGHUP. A
/// second one ends the process at once with status 130: 128 and the number of
/// SIGINT, as shells report it.
fn ctrl_c() -> Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    let mut first = Some(sender);
    ctrlc::set_handler(move || match first.take() {
        Some(sender) => drop(sender),
        None => process::exit(130),
    })?;
    Ok(receiver)
}
