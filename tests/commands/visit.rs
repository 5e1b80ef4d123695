//! Asks a book that is served for pages, as a browser does.

use std::{path::Path, time::Instant};

use minreq::Response;

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
        get(self.port, path)
    }

    /// The text of a page, which must be there.
    pub(crate) fn page(&self, path: &str) -> String {
        let page = self.get(path);
        assert_eq!(page.status_code, 200, "{path}");
        page.as_str().expect("a page is text").to_string()
    }

    /// Asks what the script of this page asks: whether there's a newer version.
    pub(crate) fn listen(&self, page: &str) -> OpenPage {
        let mut texts = page.split('"');
        let question = texts.find(|text| text.starts_with("/live-reload/"));
        let question = question.unwrap_or_else(|| panic!("this page does not ask: {page}"));
        OpenPage {
            port: self.port,
            question: question.to_string(),
        }
    }

    pub(crate) fn open(&self, path: &str) -> OpenPage {
        self.listen(&self.page(path))
    }
}

/// A page that waits until it is to be loaded again, as its script does.
pub(crate) struct OpenPage {
    port: u16,
    question: String,
}

impl OpenPage {
    pub(crate) fn must_reload(&self) {
        let deadline = Instant::now() + PATIENCE;
        // Without news, the server ends its answer after a while, and a browser asks again.
        while !self.says_reload() {
            assert!(Instant::now() < deadline, "there is nothing new");
        }
    }

    fn says_reload(&self) -> bool {
        let answer = get(self.port, &self.question);
        answer
            .as_str()
            .expect("it is text")
            .contains("data: reload\n\n")
    }
}

fn get(port: u16, path: &str) -> Response {
    let request = minreq::get(format!("http://127.0.0.1:{port}{path}"));
    let answer = request.with_timeout(PATIENCE.as_secs()).send();
    answer.expect("it is answered")
}
