//! Serves the newest pages on loopback: HTTP/1.1, one request a connection, one thread a connection.
//!
//! The pages are in memory, so no path leads out of the book, and a rebuild never shows half a page.
//! The standard library is enough for one reader; axum, hyper and tokio took longer to compile than
//! everything else that this package needs besides mdBook.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, SystemTime};

use percent_encoding::percent_decode_str;

use crate::book::{Files, edition::CHINESE};

/// How long a browser may take to send the next part of its request, or to take the next part of the
/// answer. A slow one keeps only its own thread busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most bytes of a request that are read. Cookies of other programs on this machine come along.
const MOST_BYTES: u64 = 64 * 1024;

/// How long a page's question for a newer version stays open. A page that has gone doesn't take its
/// question back, so this bounds how many threads wait.
const QUESTION: Duration = Duration::from_secs(30);

/// How long to wait when no connection can be accepted, for lack of descriptors for example.
const BREATHER: Duration = Duration::from_millis(100);

/// What makes a page reload itself.
const RELOAD: &str = include_str!("reload.js");

/// The newest version of the book, and who waits for the next.
#[derive(Default)]
pub struct Site {
    newest: Mutex<Version>,
    published: Condvar,
}

#[derive(Default)]
struct Version {
    /// When it was published, in nanoseconds since 1970: no two are alike, also of different servers.
    number: u128,
    files: Files,
}

/// A status, the header that only answers of this kind have, and the body.
type Answer = (&'static str, String, Vec<u8>);

impl Site {
    /// Shows these files from now on, instead of those before. Open pages reload themselves.
    pub fn publish(&self, mut files: Files) {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let number = time.unwrap_or_default().as_nanos();
        let script = RELOAD.replace("VERSION", &number.to_string());
        for (_, page) in files.iter_mut().filter(|(name, _)| name.ends_with(".html")) {
            page.extend(format!("<script>\n{script}</script>\n").bytes());
        }
        *self.newest() = Version { number, files };
        self.published.notify_all();
    }

    fn newest(&self) -> MutexGuard<'_, Version> {
        self.newest
            .lock()
            .expect("nothing panics while it holds the lock")
    }

    /// The file at this path of a URL, or the page of the book for what isn't there.
    fn file(&self, path: &str) -> Answer {
        let newest = self.newest();
        let path = path.trim_start_matches('/');
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        let name = match decoded.is_empty() || decoded.ends_with('/') {
            true => format!("{decoded}index.html"),
            false => decoded.into_owned(),
        };
        if let Some(body) = newest.files.get(&name) {
            return ("200 OK", content_type(&name), body.clone());
        }
        if newest.files.contains_key(&format!("{name}/index.html")) {
            // The links of that page are relative to its folder.
            let location = format!("Location: /{path}/");
            return ("307 Temporary Redirect", location, Vec::new());
        }
        let edition = match name.starts_with(CHINESE.path) {
            true => CHINESE.path,
            false => "",
        };
        let name = format!("{edition}404.html");
        let lost = newest.files.get(&name).cloned().unwrap_or_default();
        ("404 Not Found", content_type(&name), lost)
    }

    /// Answers a page of this version when there's another one, in the form that `EventSource` reads.
    fn live_reload(&self, version: &str) -> Answer {
        let is_newest = |newest: &mut Version| newest.number.to_string() == version;
        let waited = self
            .published
            .wait_timeout_while(self.newest(), QUESTION, is_newest);
        let (mut newest, _) = waited.expect("nothing panics while it holds the lock");
        let says = match is_newest(&mut newest) {
            true => "retry: 100\n\n",
            false => "data: reload\n\n",
        };
        let header = "Content-Type: text/event-stream".to_string();
        ("200 OK", header, says.into())
    }
}

/// The header for a file that mdBook writes.
fn content_type(name: &str) -> String {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let content_type = match extension {
        "css" => "text/css",
        "html" => "text/html",
        "js" => "text/javascript",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    };
    format!("Content-Type: {content_type}")
}

/// Serves the site to everyone who connects.
pub fn serve(listener: &TcpListener, site: &Arc<Site>) -> ! {
    loop {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(BREATHER);
            continue;
        };
        let site = Arc::clone(site);
        // A browser that goes away misses its answer, and so does one for which there's no thread.
        let _ = thread::Builder::new().spawn(move || answer(&stream, &site));
    }
}

/// Answers one request.
fn answer(mut stream: &TcpStream, site: &Site) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.take(MOST_BYTES)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // Nothing else in it matters here, but closing a connection with unread bytes resets it.
    while lines.next().transpose()?.is_some_and(|l| !l.is_empty()) {}
    let mut words = request.split(' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let (status, header, body) = match method {
        Some("GET" | "HEAD") => match path.strip_prefix("/live-reload/") {
            Some(version) => site.live_reload(version),
            None => site.file(path),
        },
        _ => (
            "405 Method Not Allowed",
            "Allow: GET, HEAD".into(),
            Vec::new(),
        ),
    };
    // A browser that compares the time of a file, in whole seconds, may miss a rebuild.
    let head = format!(
        "HTTP/1.1 {status}\r\n{header}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    if method != Some("HEAD") {
        stream.write_all(&body)?;
    }
    Ok(())
}
