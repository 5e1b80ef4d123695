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

use crate::book::{self, Built};

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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
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
    let watcher = watch_files(&root, report);

    let (pages, faults) = builder.build(0).await?;
    report_faults(&faults);
    let (publish, pages) = watch::channel(Arc::new(pages));
    let rebuilding = async {
        match watcher {
            Ok(watcher) => rebuild_on_change(&builder, watcher, changes, &publish).await,
            Err(error) => eprintln!("warning: an edit will not show, cannot watch the files: {error}"),
        }
        // The pages stay, whether they are kept fresh or not.
        std::future::pending::<()>().await;
    };

    let address = format!("http://127.0.0.1:{port}/");
    // A closed pipe is no reason to stop serving.
    let _ = writeln!(std::io::stdout(), "the book is at {address}  (Ctrl-C stops)");
    if open && may_open_browser() {
        // Opening may take as long as the browser runs, and a reader can also follow the address.
        std::thread::spawn(move || opener::open_browser(address));
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
        Ok(Self { root: root.to_path_buf(), parent })
    }

    /// Builds one version and tells what is wrong with it.
    async fn build(&self, version: u64) -> Result<(Pages, Vec<String>)> {
        let (root, parent) = (self.root.clone(), self.parent.clone());
        let mut build = tokio::task::spawn_blocking(move || {
            let dir = TempDir::new_in(parent)?;
            let Built { faults, warnings, .. } =
                book::build(&root, dir.path(), Some(&format!("{LIVE_RELOAD}/{version}")))?;
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

/// Publishes a new version for every change, as long as the watcher lives. A version with faults
/// does not replace a good one.
async fn rebuild_on_change(
    builder: &Builder,
    mut watcher: RecommendedWatcher,
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
        if changed.iter().any(|path| SOURCES.iter().any(|name| path.ends_with(name))) {
            watch_sources(&mut watcher, &builder.root);
        }

        version += 1;
        let started = Instant::now();
        match builder.build(version).await {
            Ok((pages, faults)) if faults.is_empty() => {
                publish.send_replace(Arc::new(pages));
                let seconds = started.elapsed().as_secs_f32();
                eprintln!("rebuilt in {seconds:.1} s after a change of {}", name_of(&changed));
            }
            Ok((_, faults)) => {
                report_faults(&faults);
                eprintln!("note: the pages stay as they were");
            }
            Err(error) => eprintln!("error: {}; the pages stay as they were", book::one_line(&error)),
        }
    }
}
