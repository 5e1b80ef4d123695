//! Serves the book on loopback, builds it anew when a file changes, and reloads the open pages.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use axum::Router;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{Path as UrlPath, Request, State};
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tower_http::services::{ServeDir, ServeFile};

use crate::book::{self, Built, edition::CHINESE};

/// The port of the address that stays the same from day to day, if nothing else uses it.
const USUAL_PORT: u16 = 3000;

/// The folders that pages are made from, beside book.toml.
const SOURCES: [&str; 3] = ["src", "theme", "code"];

/// How long the files must be at rest before a build: an editor writes a file in several steps.
const AT_REST: Duration = Duration::from_millis(50);

/// A build that takes longer than this is announced, so that nobody waits without knowing for what.
const NOTICEABLE: Duration = Duration::from_secs(1);

/// Where pages listen for reloads. The version follows: a page that was fetched before a rebuild, but
/// listens only after it, learns at once that it is old.
const LIVE_RELOAD: &str = "live-reload";

/// One version of the book. Its folder goes away with the last request that reads from it.
struct Pages {
    version: u64,
    dir: TempDir,
}

/// Builds and serves the book below `root` until Ctrl-C.
///
/// Without a `port`, the usual one is used if it is free, and any free one otherwise.
///
/// # Errors
///
/// When the port is taken, or the book cannot be built at all.
pub fn serve(root: &Path, port: Option<u16>, open: bool) -> Result<()> {
    // One thread is plenty for one reader; builds have threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::select! {
            result = serve_forever(root, port, open) => result,
            result = stop_signal() => result,
        }
    })
}

async fn serve_forever(root: &Path, port: Option<u16>, open: bool) -> Result<()> {
    let root = std::path::absolute(root)?;
    // First the port, which may be refused at once, then the build, which takes a while.
    let listener = listen(port).await?;
    let port = listener.local_addr()?.port();
    let builder = Builder::new(&root, port)?;
    // Watching starts before the first build, so that no edit falls between them.
    let (report, changes) = mpsc::unbounded_channel();
    let sources = Sources::watch(&root, report);

    let (pages, faults) = builder.build(0).await?;
    report_faults(&faults);
    let (publish, pages) = watch::channel(Arc::new(pages));
    let rebuilding = async {
        match sources {
            Ok(sources) => rebuild_on_change(&builder, sources, changes, &publish).await,
            Err(error) => {
                eprintln!("warning: an edit will not show, cannot watch the files: {error}")
            }
        }
        // The pages stay, whether they are kept fresh or not.
        std::future::pending::<()>().await;
    };

    let address = format!("http://127.0.0.1:{port}/");
    // A closed pipe is no reason to stop serving.
    let _ = writeln!(
        std::io::stdout(),
        "the book is at {address}  (Ctrl-C stops)"
    );
    if open && may_open_browser() {
        // Opening may take as long as the browser runs, and a reader can also follow the address.
        std::thread::spawn(move || open::that(address));
    }

    let app = Router::new()
        .route(&format!("/{LIVE_RELOAD}/{{version}}"), get(live_reload))
        .fallback(page)
        .with_state(pages);
    tokio::select! {
        result = axum::serve(listener, app).into_future() => Ok(result?),
        () = rebuilding => Ok(()),
    }
}

/// Resolves when the reader wants to stop.
async fn stop_signal() -> Result<()> {
    // Besides Ctrl-C, whatever else asks politely, so that the pages are removed each time.
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result?,
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// Listens on loopback, and nowhere else: a book that is being written is nobody else's business.
async fn listen(port: Option<u16>) -> Result<TcpListener> {
    match port {
        Some(port) => TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("cannot serve on port {port}")),
        None => match TcpListener::bind((Ipv4Addr::LOCALHOST, USUAL_PORT)).await {
            Ok(listener) => Ok(listener),
            Err(error) => {
                eprintln!("note: not on port {USUAL_PORT} as usual: {error}");
                let any = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
                any.context("cannot serve on any port")
            }
        },
    }
}

/// Whether a browser would open for the one who typed the command, and not for a script or a test.
fn may_open_browser() -> bool {
    let has_display = cfg!(any(windows, target_os = "macos"))
        || ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    has_display && std::io::stdout().is_terminal()
}

/// Builds versions of one book, each into a fresh folder, so that the version before stays whole
/// until this one is.
struct Builder {
    root: PathBuf,
    /// Holds the folders of the versions.
    parent: PathBuf,
}

impl Builder {
    /// A builder for the server on `port`, which no other server has: whatever lies in the folder of
    /// that name was left by one that was killed.
    fn new(root: &Path, port: u16) -> Result<Self> {
        let parent = root.join("target").join("book").join(port.to_string());
        if parent.exists() {
            std::fs::remove_dir_all(&parent)
                .with_context(|| format!("cannot empty {}", parent.display()))?;
        }
        std::fs::create_dir_all(&parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        Ok(Self {
            root: root.to_path_buf(),
            parent,
        })
    }

    /// Builds one version and tells what is wrong with it.
    async fn build(&self, version: u64) -> Result<(Pages, Vec<String>)> {
        let (root, parent) = (self.root.clone(), self.parent.clone());
        let mut build = tokio::task::spawn_blocking(move || {
            let dir = TempDir::new_in(parent)?;
            let Built {
                faults, warnings, ..
            } = book::build(&root, dir.path(), Some(&format!("{LIVE_RELOAD}/{version}")))?;
            for warning in warnings {
                eprintln!("warning: {warning}");
            }
            anyhow::Ok((Pages { version, dir }, faults))
        });
        let result = match timeout(NOTICEABLE, &mut build).await {
            Ok(result) => result,
            Err(_) => {
                eprintln!("building the book …");
                build.await
            }
        };
        // mdBook has places where it gives up instead of returning an error.
        result.unwrap_or_else(|_| Err(anyhow!("mdBook panicked while it built the book")))
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        // What stays behind is removed by the next server on this port.
        let _ = std::fs::remove_dir_all(&self.parent);
    }
}

/// Publishes a new version for every change, as long as files are watched. A version with faults
/// does not replace a good one.
async fn rebuild_on_change(
    builder: &Builder,
    mut sources: Sources,
    mut changes: mpsc::UnboundedReceiver<PathBuf>,
    publish: &watch::Sender<Arc<Pages>>,
) {
    let mut version = 0;
    while let Some(first) = changes.recv().await {
        let mut changed = BTreeSet::from([first]);
        while let Ok(Some(next)) = timeout(AT_REST, changes.recv()).await {
            changed.insert(next);
        }
        // A source folder may have appeared, or have been replaced by another of its name.
        if changed
            .iter()
            .any(|path| SOURCES.iter().any(|name| path.ends_with(name)))
        {
            sources.watch_folders();
        }

        version += 1;
        let started = Instant::now();
        match builder.build(version).await {
            Ok((pages, faults)) if faults.is_empty() => {
                publish.send_replace(Arc::new(pages));
                let seconds = started.elapsed().as_secs_f32();
                eprintln!(
                    "rebuilt in {seconds:.1} s after a change of {}",
                    name_of(&changed)
                );
            }
            Ok((_, faults)) => {
                report_faults(&faults);
                eprintln!("note: the pages stay as they were");
            }
            Err(error) => eprintln!(
                "error: {}; the pages stay as they were",
                book::one_line(&error)
            ),
        }
    }
}

fn report_faults(faults: &[String]) {
    for fault in faults {
        eprintln!("error: {fault}");
    }
}

/// The changed files, for the author who wants to know what has caused the rebuild.
fn name_of(changed: &BTreeSet<PathBuf>) -> String {
    let first = changed
        .first()
        .and_then(|path| path.file_name())
        .unwrap_or_default();
    let first = first.display();
    match changed.len() {
        0 | 1 => first.to_string(),
        more => format!("{first} and {} more", more - 1),
    }
}

/// Watches the files that the pages are made from.
struct Sources {
    /// Without symbolic links, since macOS reports a path so, however it was asked for.
    root: PathBuf,
    watcher: RecommendedWatcher,
}

impl Sources {
    /// Reports every such file below `root` that changes, as long as the result lives.
    fn watch(root: &Path, report: mpsc::UnboundedSender<PathBuf>) -> notify::Result<Self> {
        let root = root.canonicalize()?;
        let below = root.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Without an event to look at, anything may have changed.
            let (paths, lost) = match event {
                // A build opens every source; to answer that with a build would never end.
                Ok(event) if matches!(event.kind, EventKind::Access(_)) => return,
                Ok(event) => {
                    let lost = event.need_rescan();
                    (event.paths, lost)
                }
                Err(_) => (Vec::new(), true),
            };
            let lost = lost.then(|| PathBuf::from("unknown files"));
            let relevant = paths.into_iter().filter(|path| matters(&below, path));
            for path in relevant.chain(lost) {
                // The receiver is gone when the server has stopped.
                let _ = report.send(path);
            }
        })?;
        let mut sources = Self { root, watcher };
        // An editor may replace book.toml by a new file of that name, which only its folder notices.
        sources
            .watcher
            .watch(&sources.root, RecursiveMode::NonRecursive)?;
        sources.watch_folders();
        Ok(sources)
    }

    /// Watches the source folders that exist; one that has been watched since it appeared is no harm.
    fn watch_folders(&mut self) {
        for name in SOURCES {
            let dir = self.root.join(name);
            if dir.is_dir()
                && let Err(error) = self.watcher.watch(&dir, RecursiveMode::Recursive)
            {
                eprintln!("warning: an edit below {name} will not show: {error}");
            }
        }
    }
}

/// Whether the pages are made from this file. Editors also write backups and swap files, often while
/// somebody types, and a page that reloads then is a nuisance.
fn matters(root: &Path, path: &Path) -> bool {
    let Ok(below) = path.strip_prefix(root) else {
        return false;
    };
    let name = below.file_name().unwrap_or_default().to_string_lossy();
    let by_editor = name.starts_with(['.', '#']) || name.ends_with('~');
    let is_source = SOURCES.iter().any(|source| below.starts_with(source));
    !by_editor && (is_source || below == Path::new("book.toml"))
}

/// Answers with a file of the newest version, or with the book's page for what is not there.
async fn page(State(pages): State<watch::Receiver<Arc<Pages>>>, request: Request) -> Response {
    // This version stays whole until its file is open, whatever gets published meanwhile.
    let pages = pages.borrow().clone();
    let dir = pages.dir.path();
    let chinese = request
        .uri()
        .path()
        .trim_start_matches('/')
        .starts_with(CHINESE.path);
    let lost = dir
        .join(if chinese { CHINESE.path } else { "" })
        .join("404.html");
    let mut files = ServeDir::new(dir).not_found_service(ServeFile::new(lost));
    let mut response = match files.try_call(request).await {
        Ok(response) => response.into_response(),
        Err(error) => (
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
        )
            .into_response(),
    };
    // The time of a file is in whole seconds: a browser that compares it may miss a rebuild.
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Tells a page of this version when there is another one.
async fn live_reload(
    State(pages): State<watch::Receiver<Arc<Pages>>>,
    UrlPath(version): UrlPath<u64>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(move |socket| tell_when_old(socket, version, pages))
}

async fn tell_when_old(
    mut socket: WebSocket,
    version: u64,
    mut pages: watch::Receiver<Arc<Pages>>,
) {
    tokio::select! {
        newer = pages.wait_for(|pages| pages.version != version) => {
            if newer.is_err() {
                return;
            }
        }
        // A page says nothing: this is its end.
        _ = socket.recv() => return,
    }
    // A page that has gone needs no reload.
    let _ = socket.send("reload".into()).await;
}
