//! `cargo run`: serves the book on loopback, and builds it again when a file changes.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use signal_hook::{consts::TERM_SIGNALS, flag};

use crate::book;
use crate::http::{self, Site};
use crate::output::{one_line, print, tell};
use crate::watch::Changes;

/// The port of the address that stays the same from day to day, unless another program has it.
const USUAL_PORT: u16 = 3000;

/// The folders that pages are made from, beside book.toml.
const SOURCES: [&str; 3] = ["src", "theme", "code"];

/// A build that takes longer is announced, so that nobody wonders what they are waiting for.
const NOTICEABLE: Duration = Duration::from_secs(1);

/// Serve the book
#[derive(clap::Args)]
pub struct Serve {
    /// Serve on this very port [default: 3000, or a free one]
    #[arg(long)]
    port: Option<u16>,

    /// Open no browser
    #[arg(long)]
    no_open: bool,
}

impl Serve {
    /// Serves the book below `root` until Ctrl-C.
    ///
    /// # Errors
    ///
    /// When the port is taken, or the book can't be built at all.
    pub fn run(self, root: &Path) -> Result<ExitCode> {
        end_well()?;
        let root = std::path::absolute(root)?;
        // The port comes first, because it's refused at once and a build takes a while.
        let listener = listen(self.port)?;
        let port = listener.local_addr()?.port();
        // Watching starts before the first build, so that no edit falls between them.
        let changes = Changes::watch(&root, is_source);
        let site = Arc::new(Site::default());
        // There's no good version yet that one with faults could replace.
        publish(&root, &site, true)?;

        let address = format!("http://127.0.0.1:{port}/");
        print(format!("the book is at {address}  (Ctrl-C stops)"))?;
        if !self.no_open && may_open_browser() {
            // Nothing waits for the browser, and a reader can also follow the address.
            drop(open::that_in_background(address));
        }
        match changes {
            Ok(changes) => {
                let site = Arc::clone(&site);
                thread::spawn(move || republish(changes, &root, &site));
            }
            Err(error) => tell(format!(
                "warning: an edit will not show, cannot watch the files: {}",
                one_line(&error)
            )),
        }
        http::serve(&listener, &site)
    }
}

/// Makes the status 0 after Ctrl-C, because that's how a reader stops the server.
fn end_well() -> Result<()> {
    for signal in TERM_SIGNALS {
        flag::register_conditional_shutdown(*signal, 0, Arc::new(AtomicBool::new(true)))?;
    }
    Ok(())
}

/// Listens on loopback and nowhere else: a book that's being written is nobody else's business.
fn listen(port: Option<u16>) -> Result<TcpListener> {
    let listen = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    if let Some(port) = port {
        return listen(port).with_context(|| format!("cannot serve on port {port}"));
    }
    listen(USUAL_PORT).or_else(|error| {
        tell(format!("note: not on port {USUAL_PORT} as usual: {error}"));
        listen(0).context("cannot serve on any port")
    })
}

/// Whether a person typed the command and would see a browser, and not a script or a test.
fn may_open_browser() -> bool {
    let has_display = cfg!(any(windows, target_os = "macos"))
        || ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    has_display && io::stdout().is_terminal()
}

/// Whether pages are made from this file, given its path from the root.
fn is_source(path: &Path) -> bool {
    path == Path::new("book.toml") || SOURCES.iter().any(|source| path.starts_with(source))
}

/// Builds the book, says what's wrong with it, and publishes it. A book with faults isn't published unless
/// they are accepted. Returns whether it was.
fn publish(root: &Path, site: &Site, accept_faults: bool) -> Result<bool> {
    let (sender, result) = mpsc::channel();
    let root = root.to_path_buf();
    // Nobody receives any more when the program ends.
    thread::spawn(move || sender.send(book::build(&root, Some("/"))));
    let result = result.recv_timeout(NOTICEABLE).or_else(|_| {
        tell("building the book …");
        result.recv()
    });
    let built = result.context("the build panicked")??;
    built.tell();
    let accepted = accept_faults || built.faults.is_empty();
    if accepted {
        site.publish(built.files);
    }
    Ok(accepted)
}

/// Publishes the book again after every change. One with faults doesn't replace a good one.
fn republish(mut changes: Changes<impl Fn(&Path) -> bool>, root: &Path, site: &Site) {
    loop {
        let changed = changes.wait();
        let started = Instant::now();
        match publish(root, site, false) {
            Ok(true) => tell(format!(
                "rebuilt in {:.1} s after a change of {}",
                started.elapsed().as_secs_f32(),
                name_of(&changed)
            )),
            Ok(false) => tell("note: the pages stay as they were"),
            Err(error) => tell(format!(
                "error: {}; the pages stay as they were",
                one_line(&error)
            )),
        }
    }
}

/// The changed files, for an author who wonders what caused the rebuild.
fn name_of(changed: &BTreeSet<PathBuf>) -> String {
    let first = changed.first().and_then(|path| path.file_name());
    let first = first.unwrap_or_default().display();
    match changed.len() {
        0 | 1 => first.to_string(),
        more => format!("{first} and {} more", more - 1),
    }
}
