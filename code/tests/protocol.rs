//! What must hold for all bytes that a client can send.

use chat::protocol::{Format, Line, LineBuffer, parse_name};
use proptest::prelude::*;

/// Feeds bytes in pieces of these sizes, and returns the lines.
fn lines(max_line: usize, bytes: &[u8], pieces: &[usize]) -> Vec<String> {
    let mut buffer = LineBuffer::new(max_line);
    let mut rest = bytes;
    let mut found = Vec::new();
    let mut pieces = pieces.iter().copied().cycle();
    loop {
        while let Some(line) = buffer.take_line() {
            let is_last = line == Line::TooLong;
            found.push(format!("{line:?}"));
            if is_last {
                return found;
            }
        }
        if buffer.is_at_end() {
            return found;
        }
        let size = pieces.next().unwrap_or(1).min(rest.len());
        buffer.room(size.max(1))[..size].copy_from_slice(&rest[..size]);
        buffer.filled(size);
        rest = &rest[size..];
    }
}

proptest! {
    // A failure shows all that is needed to repeat it.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    // ANCHOR: packets
    /// How the bytes are spread over packets means nothing (1.1).
    #[test]
    fn packets_mean_nothing(
        bytes in prop::collection::vec(
            prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), any::<u8>()],
            0..200,
        ),
        pieces in prop::collection::vec(1..20usize, 1..10),
    ) {
        let whole = lines(16, &bytes, &[bytes.len().max(1)]);
        prop_assert_eq!(lines(16, &bytes, &pieces), whole);
    }
    // ANCHOR_END: packets

    // ANCHOR: forge
    /// No line of a client makes more than one line for another, or one of
    /// another kind, or a control character other than the tab (7.1).
    #[test]
    fn nobody_forges_a_line(line in "\\PC*|[a-z:, \t\r\u{1b}\u{85}]*") {
        prop_assume!(!line.contains('\n'));
        let mut format = Format::new("ann");
        format.message(&line);
        let parts = format.take();
        prop_assert_eq!(parts.len(), 1);
        let text = &parts[0].lines;
        prop_assert!(text.starts_with("from ann: ") || text.starts_with("error "));
        prop_assert_eq!(text.matches('\n').count(), 1);
        let bad = |c: char| c.is_control() && c != '\t' && c != '\n';
        prop_assert!(!text.contains(bad), "{:?}", text);
    }
    // ANCHOR_END: forge

    /// A name that was accepted is accepted again, as it is (8.2).
    #[test]
    fn a_name_is_its_own_name(line in "\\PC{0,40}|[a-zA-Z0-9_\\-\u{301}]{0,40}") {
        if let Some(name) = parse_name(&line) {
            prop_assert_eq!(parse_name(&name), Some(name));
        }
    }
}
