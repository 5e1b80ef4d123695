//! Lines that count up: a start, ten digits, and some text.

use std::ops::Range;

/// Every number takes as much room.
const DIGITS: usize = 10;

/// The lines of one client for its destinations.
pub(super) struct Numbered {
    /// The next line, with its end.
    pub(super) line: Vec<u8>,
    digits: Range<usize>,
    /// The number of the next line.
    pub(super) number: u64,
}

impl Numbered {
    /// Lines that begin with `start`. The rest is `text` bytes long, at least [`DIGITS`].
    pub(super) fn new(start: &str, text: usize) -> Numbered {
        let mut line = start.as_bytes().to_vec();
        let digits = line.len()..line.len() + DIGITS;
        line.extend_from_slice(&[b'0'; DIGITS]);
        // Text in which every place is told from its neighbours, with no space at its ends.
        line.extend((b'a'..=b'z').cycle().take(text.saturating_sub(DIGITS)));
        line.push(b'\n');
        Numbered {
            line,
            digits,
            number: 0,
        }
    }

    pub(super) fn advance(&mut self) {
        self.number += 1;
        for digit in self.line[self.digits.clone()].iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
    }

    /// What every line begins with.
    pub(super) fn start(&self) -> &[u8] {
        &self.line[..self.digits.start]
    }
}
