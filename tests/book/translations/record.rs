//! Which English text a Chinese one renders: a hash of each English paragraph, in a comment at its end.

use std::{collections::BTreeSet, fs, sync::LazyLock};

use regex::Regex;
use sha2::{Digest, Sha256};
use similar::{Algorithm, DiffTag, capture_diff_slices};

use super::pairs;
use crate::support::{self, Book, Chapter, Problem};

/// The start of the record.
const RECORD: &str = "<!-- renders ";

/// Records that the Chinese texts of these names render today's English.
pub(super) fn confirm(book: &Book, names: &str) -> Vec<Problem> {
    let names = names.split([',', ' ']).filter(|name| !name.is_empty());
    let mut names: BTreeSet<&str> = names.collect();
    for (english, chinese) in pairs(book) {
        if names.remove(english.name.as_str()) {
            let hashes = hashes(&blocks(&english.text));
            let rows: Vec<String> = hashes.chunks(10).map(|row| row.join(" ")).collect();
            let (text, _) = split_record(chinese, english);
            let (text, rows, path) = (text.trim_end(), rows.join("\n"), &english.path);
            let text = format!("{text}\n\n{RECORD}{path}:\n{rows}\n-->\n");
            fs::write(book.root.join(&chinese.path), text).expect("the chapter can be written");
        }
    }
    let unknown = names.into_iter().map(|name| {
        let what = format!("{name} isn't there in both languages; name a file like 07-broker");
        Problem::new("RENDERED", 0, what)
    });
    unknown.collect()
}

/// Chinese texts whose English has changed since it was recorded.
pub(super) fn outdated(book: &Book) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (english, chinese) in pairs(book) {
        let (path, name) = (&english.path, &english.name);
        let before = problems.len();
        let (text, recorded) = split_record(chinese, english);
        let what = match &recorded {
            Some(recorded) => {
                problems.extend(changes(english, chinese, text, recorded));
                format!("bring it up to date (`git log -p -- {path}` shows the old English)")
            }
            None => format!("doesn't say which text of {path} it renders; compare the two"),
        };
        if recorded.is_none() || problems.len() > before {
            let then = format!("then run `RENDERED={name} cargo test --test book translations`");
            problems.push(chinese.problem(0, format!("{what}, {then}")));
        }
    }
    problems
}

/// How the English differs from the text of a record, paragraph by paragraph.
fn changes(english: &Chapter, chinese: &Chapter, text: &str, recorded: &[String]) -> Vec<Problem> {
    let (ours, mut theirs) = (blocks(&english.text), blocks(text));
    theirs.retain(|(_, block)| !block.starts_with("<!--"));
    // Only with as many paragraphs as the English had does each have its counterpart.
    if theirs.len() != recorded.len() {
        theirs.clear();
    }
    let mut problems = Vec::new();
    for change in capture_diff_slices(Algorithm::Myers, recorded, &hashes(&ours)) {
        let (old, new) = (change.old_range(), change.new_range());
        let line = theirs.get(old.start).or(theirs.last());
        let at = ours.get(new.start).map_or(0, |(line, _)| *line);
        let now: Vec<&str> = ours[new].iter().map(|(_, block)| *block).collect();
        let now = format!("{}:{at} now has:\n{}\n", english.path, now.join("\n\n"));
        let count = old.len();
        let what = match change.tag() {
            DiffTag::Equal => continue,
            DiffTag::Delete => format!("the English of {count} paragraph(s) from here on is gone"),
            DiffTag::Insert => format!("something is new before this; {now}"),
            DiffTag::Replace => format!("{count} paragraph(s) from here on have changed; {now}"),
        };
        problems.push(chinese.problem(line.map_or(0, |(line, _)| *line), what));
    }
    problems
}

/// What stands between blank lines, each with its line: a paragraph, a heading, a list.
fn blocks(text: &str) -> Vec<(usize, &str)> {
    static BLOCK: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(.*\S.*\n?)+").expect("a valid pattern"));
    let blocks = BLOCK.find_iter(text).map(|block| {
        let line = support::line_of(text, block.start());
        (line, block.as_str().trim_end())
    });
    blocks.collect()
}

/// A hash of each block. Four bytes are enough to tell a paragraph from its next version.
fn hashes(blocks: &[(usize, &str)]) -> Vec<String> {
    let hashes = blocks.iter().map(|(_, block)| {
        let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(block));
        format!("{a:02x}{b:02x}{c:02x}{d:02x}")
    });
    hashes.collect()
}

/// A Chinese text without its record, and the hashes of the record, if it names this English text.
fn split_record<'a>(chinese: &'a Chapter, english: &Chapter) -> (&'a str, Option<Vec<String>>) {
    let Some((text, record)) = chinese.text.rsplit_once(RECORD) else {
        return (&chinese.text, None);
    };
    let hashes = record.trim_end().trim_end_matches("-->");
    let hashes = hashes.strip_prefix(&format!("{}:", english.path));
    let hashes = hashes.map(|hashes| hashes.split_whitespace().map(str::to_string).collect());
    (text, hashes)
}
