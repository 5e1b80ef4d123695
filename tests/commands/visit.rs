//! Asks a book that is served for pages, as a browser does.

use std::{net::TcpStream, path::Path};

use minreq::Response;
use tungstenite::WebSocket;

use crate::program::{PATIENCE, Running, companion};

/// A book that is served, as long as this value lives.
pub(crate) struct Served {
    pub(crate) running: Running,
    pub(crate) port: u16,
}

impl Served {
    /// Serves the book in this folder, on any port.
    pub(crate) fn start(root: &Path) -> Self {
        let mut command = companion("--port 0 --no-open --root .");
        Self::of(Running::start(command.current_dir(root)))
    }

    pub(crate) fn of(running: Running) -> Self {
        let line = running.stdout.until("http://127.0.0.1:");
        let port = line.split([':', '/']).find_map(|word| word.parse().ok());
        let port = port.expect("the address has a port");
        Self { running, port }
    }

    /// Stops it as Ctrl-C does, which removes its pages.
    #[cfg(unix)]
    pub(crate) fn stop(mut self) {
        self.running.signal("INT");
        self.running.end().with(0);
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        let request = minreq::get(format!("http://127.0.0.1:{}{path}", self.port));
        let answer = request.with_timeout(PATIENCE.as_secs()).send();
        answer.expect("it is answered")
    }

    /// The text of a page, which must be there.
    pub(crate) fn page(&self, path: &str) -> String {
        let page = self.get(path);
        assert_eq!(page.status_code, 200, "{path}");
        page.as_str().expect("a page is text").to_string()
    }

    /// Listens as this page does, which must be one of this book.
    pub(crate) fn listen(&self, page: &str) -> OpenPage {
        let mut texts = page.split('"');
        let path = texts.find(|text| text.starts_with("live-reload/"));
        let path = path.unwrap_or_else(|| panic!("this page does not listen: {page}"));
        let address = format!("ws://127.0.0.1:{}/{path}", self.port);
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it is served");
        let limited = stream.set_read_timeout(Some(PATIENCE));
        limited.expect("the timeout is not zero");
        let (socket, _) = tungstenite::client(address, stream).expect("it is answered");
        OpenPage(socket)
    }

    pub(crate) fn open(&self, path: &str) -> OpenPage {
        self.listen(&self.page(path))
    }
}

/// A page that waits until it is to be loaded again, as its script does.
pub(crate) struct OpenPage(WebSocket<TcpStream>);

impl OpenPage {
    pub(crate) fn must_reload(&mut self) {
        let message = self.0.read().expect("a message");
        assert_eq!(message.to_text().expect("it is text"), "reload");
    }
}
