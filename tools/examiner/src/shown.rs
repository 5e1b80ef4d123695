//! Makes bytes from a server readable for people.

use std::fmt::Write as _;

/// The most characters of a line in a transcript or a message.
const LONGEST: usize = 60;

/// The bytes as a person would write them: without the line ending, cut if they're long, and with escapes for
/// whatever can't be seen or would control a terminal.
pub(crate) fn shown(bytes: &[u8]) -> String {
    shown_up_to(LONGEST, bytes)
}

/// The same, cut if there are more characters than `longest`.
pub(crate) fn shown_up_to(longest: usize, bytes: &[u8]) -> String {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut text = String::new();
    for chunk in line.utf8_chunks() {
        // What comes after these is cut, and a long line takes its time.
        for c in chunk.valid().chars().take(longest + 1) {
            // Quotation marks and the backslash are visible, so they stay as they are.
            match c.escape_debug().nth(1) {
                Some(escaped) if !['"', '\'', '\\'].contains(&escaped) => {
                    text.extend(c.escape_debug())
                }
                _ => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if text.chars().count() > longest {
        let start: String = text.chars().take(longest / 2).collect();
        text = format!("{start}…  ({} bytes)", bytes.len());
    }
    text
}
