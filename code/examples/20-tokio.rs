//! Exercise 2 of chapter 20: the same library on another runtime, Tokio.
//!
//! Run it with `cargo run --example 20-tokio`.

use std::{
    future::Future,
    io,
    net::Shutdown,
    pin::Pin,
    process::{self, ExitCode},
    task::{Context, Poll, ready},
    time::Duration,
};

use chat::server::{self, Options, Result, Runtime, Socket};
use clap::Parser;
use futures::{
    AsyncRead, AsyncWrite, StreamExt, channel::oneshot, future, stream,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::ReadBuf,
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

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
    let result = tokio::runtime::Runtime::new()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(accept_loop(arguments)));
    match result {
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

/// The runtime that most servers in Rust use.
#[derive(Clone)]
struct Tokio;

impl Runtime for Tokio {
    type Reader = Reader;
    type Writer = Writer;

    fn shutdown(&self, writer: &Writer, how: Shutdown) -> io::Result<()> {
        SockRef::from(writer.0.as_ref()).shutdown(how)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time)
    }

    fn report(&self, line: &str) {
        eprintln!("{line}");
    }
}

/// What a client sends, read as the library wants it.
struct Reader(OwnedReadHalf);

/// What a client receives, written as the library wants it.
struct Writer(OwnedWriteHalf);

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(into);
        let half = Pin::new(&mut self.0);
        ready!(tokio::io::AsyncRead::poll_read(half, context, &mut into))?;
        Poll::Ready(Ok(into.filled().len()))
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let half = Pin::new(&mut self.0);
        tokio::io::AsyncWrite::poll_write(half, context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.0), context)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.0), context)
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
    Ok(server::serve(incoming, ctrl_c, options, Tokio).await)
}

/// Makes of a connection what the library wants, and tells the system how to
/// treat it.
fn socket(stream: TcpStream, max_queue: usize) -> io::Result<Socket<Tokio>> {
    let peer = stream.peer_addr()?.to_string();
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_AGAIN);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    SockRef::from(&stream).set_send_buffer_size(max_queue)?;
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    Ok(Socket { peer, reader: Reader(reader), writer: Writer(writer) })
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
