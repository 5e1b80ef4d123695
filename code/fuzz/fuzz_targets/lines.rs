//! Whatever bytes come, and however they are cut: the lines are the same, and what is made of them is a
//! whole line of the right kind for each. Run it in `code`, with cargo-fuzz:
//! `cargo +nightly fuzz run lines -- -max_total_time=60`.
#![no_main]

use chat::protocol::{Format, Line, LineBuffer, parse_name};
use libfuzzer_sys::fuzz_target;

/// Short, so that inputs reach it.
const MAX_LINE: usize = 40;

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let lines = lines(pieces.iter().map(Vec::as_slice));
    assert_eq!(lines, self::lines([pieces.concat().as_slice()].into_iter()));
    let mut format = Format::new("ann");
    for line in &lines {
        match line {
            Ok(line) => {
                format.message(line);
                if let Some(name) = parse_name(line) {
                    assert_eq!(parse_name(&name).as_ref(), Some(&name));
                }
            }
            Err(error) => format.error(error),
        }
    }
    let parts = format.take();
    let count: usize = parts.iter().map(|part| part.count).sum();
    assert_eq!(count, lines.len());
    for part in parts {
        assert!(part.lines.ends_with('\n'));
        assert_eq!(part.lines.split_terminator('\n').count(), part.count);
        for line in part.lines.split_terminator('\n') {
            assert!(line.starts_with("from ann: ") || line.starts_with("error "));
            assert!(!line.contains(|c: char| c.is_control() && c != '\t'));
        }
    }
});

/// The lines of a client that sends these pieces, or why one is none.
fn lines<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Result<String, String>> {
    let mut buffer = LineBuffer::new(MAX_LINE);
    let mut lines = Vec::new();
    let mut ended = false;
    let mut pieces = pieces.filter(|piece| !piece.is_empty());
    while !ended {
        // No bytes are the end.
        let piece = pieces.next().unwrap_or_default();
        buffer.room(piece.len())[..piece.len()].copy_from_slice(piece);
        buffer.filled(piece.len());
        ended = piece.is_empty();
        while let Some(line) = buffer.take_line() {
            match line {
                Line::Text(line) => lines.push(Ok(line.to_string())),
                Line::NotUtf8 => lines.push(Err("bad-utf8 it is not UTF-8".to_string())),
                Line::TooLong => {
                    lines.push(Err("line-too-long".to_string()));
                    return lines;
                }
            }
        }
    }
    lines
}
