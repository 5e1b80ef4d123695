//! What the bytes of a connection mean: lines, names, messages, and answers.
//! Numbers are those of the rules of the specification, chapter 00 of the book.

use std::{io::BufRead, mem, ops::Range, str, sync::Arc};

use unicode_normalization::UnicodeNormalization;

/// The longest name, in characters (8.1).
pub const MAX_NAME: usize = 32;
/// Letters by the rules of Unicode that nobody sees: the fillers of Hangul, and
/// the blanks of Egyptian hieroglyphs.
const INVISIBLE: [char; 6] =
    ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}', '\u{13441}', '\u{13442}'];
/// The most destinations of one line (9.3).
pub const MAX_DESTINATIONS: usize = 512;
/// What a destination takes besides its name, in bytes: an error, and a place in
/// the list.
const DEST: usize = 64;
/// What every client is told when the server stops (12.1).
pub const STOPPING: &str = "server-stopping the server is shutting down";

/// A line of a client, without its end, or why it is none.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// The line is good so far.
    Text(&'a str),
    /// It is not UTF-8 (10.2).
    NotUtf8,
    /// It has more bytes than are allowed (10.1). Its end was not seen, and it
    /// is not known where the next line begins.
    TooLong,
}

/// Cuts what has come from a client into lines. Keeps no more than a line of
/// `max_line` bytes, its end, and what was put into it last.
#[derive(Debug)]
pub struct LineBuffer {
    max_line: usize,
    buffer: Vec<u8>,
    /// Which part of the buffer was not taken up.
    rest: Range<usize>,
    /// Where in it the next line feed is, once that is known.
    line_feed: Option<usize>,
    ended: bool,
}

impl LineBuffer {
    /// An empty buffer for lines of up to `max_line` bytes.
    pub fn new(max_line: usize) -> Self {
        LineBuffer {
            max_line,
            buffer: Vec::new(),
            rest: 0..0,
            line_feed: None,
            ended: false,
        }
    }

    /// Room for so many bytes. Say with [`filled`](Self::filled) how many came.
    pub fn room(&mut self, bytes: usize) -> &mut [u8] {
        self.buffer.copy_within(self.rest.clone(), 0);
        self.rest = 0..self.rest.len();
        self.buffer.resize(self.rest.end + bytes, 0);
        self.buffer.shrink_to(2 * (self.rest.end + bytes));
        &mut self.buffer[self.rest.end..]
    }

    /// So many bytes were put into the [`room`](Self::room). None at all is the
    /// end of what the client sends.
    pub fn filled(&mut self, bytes: usize) {
        self.rest.end += bytes;
        self.ended = bytes == 0;
    }

    /// Whether [`take_line`](Self::take_line) has a line, or never will.
    pub fn is_ready(&mut self) -> bool {
        let rest = &self.buffer[self.rest.clone()];
        self.line_feed = self.line_feed.or_else(|| line_feed(rest));
        let is_too_long = rest.len() > self.max_line.saturating_add(1);
        self.ended || is_too_long || self.line_feed.is_some()
    }

    /// Whether everything was taken up, and nothing more comes.
    pub fn is_at_end(&self) -> bool {
        self.ended && self.rest.is_empty()
    }

    /// Takes up the next line, if it is there. The last one needs no end (1.3).
    pub fn take_line(&mut self) -> Option<Line<'_>> {
        if self.is_at_end() || !self.is_ready() {
            return None;
        }
        let rest = &self.buffer[self.rest.clone()];
        let line = match self.line_feed.take() {
            Some(end) => {
                self.rest.start += end + 1;
                rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end])
            }
            None => {
                self.rest.start = self.rest.end;
                rest
            }
        };
        if line.len() > self.max_line {
            return Some(Line::TooLong);
        }
        Some(str::from_utf8(line).map_or(Line::NotUtf8, Line::Text))
    }
}

/// Where the next line feed is. The standard library looks at many bytes at once.
fn line_feed(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let read = rest.skip_until(b'\n').ok()?;
    bytes[..read].ends_with(b"\n").then(|| read - 1)
}

/// A client's name, or `None` if the specification does not allow it (8.1).
pub fn parse_name(line: &str) -> Option<String> {
    let name = normalize(line);
    let letter = |c: char| c.is_alphanumeric() && !INVISIBLE.contains(&c);
    let allowed = |c: char| letter(c) || c == '_' || c == '-';
    let length = name.chars().count();
    ((1..=MAX_NAME).contains(&length) && name.chars().all(allowed))
        .then_some(name)
}

/// The form in which names are compared (8.2).
fn normalize(name: &str) -> String {
    name.trim().nfc().collect()
}

/// What some lines in a row have become that have the same destinations: what is
/// to be delivered, and how many lines it is.
#[derive(Clone, Debug)]
pub struct Part {
    /// Who gets the lines.
    pub to: Arc<[String]>,
    /// The lines, each with its end.
    pub lines: String,
    /// How many lines it is.
    pub count: usize,
}

/// Makes of a client's lines what is to be delivered.
pub struct Format {
    name: Arc<str>,
    /// Who gets the answers to mistakes: the client itself.
    itself: Arc<[String]>,
    /// The destinations of the last message, as it had them and as they are: the
    /// next one mostly has the same.
    dest: String,
    to: Arc<[String]>,
    /// Whether such messages stay apart: their sender is one of several
    /// destinations, and may get an error between two of them.
    apart: bool,
    parts: Vec<Part>,
    /// How many bytes the parts have.
    length: usize,
}

impl Format {
    /// For the lines of the client with this name.
    pub fn new(name: &str) -> Self {
        let itself: Arc<[String]> = Arc::new([name.to_string()]);
        Format {
            name: name.into(),
            dest: name.to_string(),
            to: Arc::clone(&itself),
            itself,
            apart: false,
            parts: Vec::new(),
            length: 0,
        }
    }

    /// Adds a message, or the answer to a line that is none.
    pub fn message(&mut self, line: &str) {
        if has_control(line) {
            return self.error("bad-line a line holds no control characters");
        }
        let same = line.strip_prefix(&*self.dest);
        let msg = match same.and_then(|rest| rest.strip_prefix(':')) {
            Some(msg) => msg,
            None => match self.redirect(line) {
                Ok(msg) => msg,
                Err(error) => return self.error(&error),
            },
        };
        let part = part(&mut self.parts, &self.to, self.apart);
        let msg = msg.trim();
        self.length += part.push(&["from ", &self.name, ": ", msg, "\n"]);
    }

    /// Remembers the destinations of a message, and returns its text.
    fn redirect<'a>(&mut self, line: &'a str) -> Result<&'a str, String> {
        let parts = line.split_once(':');
        let (dest, msg) =
            parts.ok_or("bad-line a line is DESTINATION: TEXT")?;
        self.to = parse_destinations(dest)?;
        self.apart = self.to.len() > 1
            && self.to.iter().any(|dest| **dest == *self.name);
        self.dest.clear();
        self.dest.push_str(dest);
        Ok(msg)
    }

    /// Adds an error for the client itself: a code, a space, and a detail (7.2).
    pub fn error(&mut self, error: &str) {
        let part = part(&mut self.parts, &self.itself, false);
        self.length += part.push(&["error ", error, "\n"]);
    }

    /// How many bytes have been made since [`take`](Self::take).
    pub fn length(&self) -> usize {
        self.length
    }

    /// Takes what was made since the last time.
    pub fn take(&mut self) -> Vec<Part> {
        self.length = 0;
        mem::take(&mut self.parts)
    }
}

/// The last part if it has the same destinations, or else a new one.
fn part<'a>(
    parts: &'a mut Vec<Part>,
    to: &Arc<[String]>,
    apart: bool,
) -> &'a mut Part {
    if apart || !parts.last().is_some_and(|last| Arc::ptr_eq(&last.to, to)) {
        let (to, lines) = (Arc::clone(to), String::new());
        parts.push(Part { to, lines, count: 0 });
    }
    parts.last_mut().expect("one was pushed if there was none")
}

impl Part {
    /// Adds a line, and returns what it takes: with the first one also its
    /// destinations, each of which may need an error.
    fn push(&mut self, pieces: &[&str]) -> usize {
        let mut length = pieces.iter().map(|piece| piece.len()).sum();
        self.lines.reserve(length);
        pieces.iter().for_each(|piece| self.lines.push_str(piece));
        if self.count == 0 {
            length +=
                self.to.iter().map(|dest| dest.len() + DEST).sum::<usize>();
        }
        self.count += 1;
        length
    }
}

/// Whether a line holds a control character, of which only the tab is allowed
/// (9.2).
fn has_control(line: &str) -> bool {
    let other = |byte: u8| !matches!(byte, b' '..=b'~');
    // Most lines are ASCII, and a loop without a branch looks at many at once.
    line.bytes().fold(false, |any, byte| any | other(byte))
        && line.contains(|c: char| c.is_control() && c != '\t')
}

/// The destinations, each once, in the form in which names are compared.
///
/// # Errors
///
/// The answer if there is none, or if there are too many (9.2, 9.3).
pub fn parse_destinations(dest: &str) -> Result<Arc<[String]>, String> {
    let mut to: Vec<String> = dest.split(',').map(normalize).collect();
    to.retain(|dest| !dest.is_empty());
    to.sort();
    to.dedup();
    match to.len() {
        0 => Err("bad-line there is no destination before the colon".into()),
        1..=MAX_DESTINATIONS => Ok(to.into()),
        _ => Err(format!(
            "too-many-destinations a line has {MAX_DESTINATIONS} at most"
        )),
    }
}

/// How many messages are in some lines, of which so many bytes were written. A
/// message of which only the beginning was is one of them.
pub fn messages(lines: &str, written: usize) -> usize {
    let mut end = 0;
    let lines = lines.split_inclusive('\n').filter(|line| {
        end += line.len();
        // The other lines are errors and the notice, and nobody misses them now.
        end > written && line.starts_with("from ")
    });
    lines.count()
}
