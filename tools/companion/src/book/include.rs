//! The includes of a chapter and the anchors of a file, as mdBook reads them.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

/// One `{{#include PATH:PART}}` or `{{#rustdoc_include PATH:PART}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Include<'a> {
    /// The line of the text, counted from 1.
    pub line: usize,
    /// All of it, as written.
    pub text: &'a str,
    /// `include` or `rustdoc_include`.
    pub kind: &'a str,
    /// The path as written, relative to the folder of the chapter.
    pub path: &'a str,
    /// The anchor, if it names one.
    pub anchor: Option<&'a str>,
    /// The lines that it picks by number, as written: `3`, `3:7`, `:7`. Never beside an anchor.
    pub lines: Option<&'a str>,
}

/// The includes of a chapter, in order.
///
/// A backslash before one shows it instead of using it. mdBook then skips the rest of the line up to
/// the last `}}`, and so does this.
pub fn includes(text: &str) -> impl Iterator<Item = Include<'_>> {
    static INCLUDE: LazyLock<Regex> = LazyLock::new(|| {
        let escaped = r"\\\{\{#.*\}\}";
        let used = r"\{\{\s*#(include|rustdoc_include)\s+([^\s:}]+)(?::([^\s}]*))?[^}]*\}\}";
        Regex::new(&format!("{escaped}|{used}")).expect("the pattern is a constant")
    });
    INCLUDE.captures_iter(text).filter_map(|found| {
        let (whole, kind, path) = (found.get(0)?, found.get(1)?, found.get(2)?);
        let part = found.get(3).map_or("", |part| part.as_str());
        let first = part.split(':').next().unwrap_or_default();
        let by_number = first.is_empty() || first.parse::<usize>().is_ok();
        Some(Include {
            line: text[..whole.start()].matches('\n').count() + 1,
            text: whole.as_str(),
            kind: kind.as_str(),
            path: path.as_str(),
            anchor: (!by_number).then_some(first),
            lines: (by_number && !part.is_empty()).then_some(part),
        })
    })
}

/// What a line of a file marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark<'a> {
    /// `ANCHOR: name`
    Start(&'a str),
    /// `ANCHOR_END: name`
    End(&'a str),
}

/// The mark in this line of a file, if there is one.
pub fn mark(line: &str) -> Option<Mark<'_>> {
    static MARK: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"ANCHOR(_END)?:\s*([\w-]+)").expect("the pattern is a constant")
    });
    let found = MARK.captures(line)?;
    let name = found.get(2)?.as_str();
    Some(match found.get(1) {
        None => Mark::Start(name),
        Some(_) => Mark::End(name),
    })
}

/// The names of the anchors that start in a file, in order. One that starts twice is there twice.
pub fn anchors(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| match mark(line)? {
        Mark::Start(name) => Some(name),
        Mark::End(_) => None,
    })
}

/// Every include of the chapter in this file that shows nothing, with its line and the reason. mdBook
/// is silent about a wrong anchor, and names no chapter when a file is missing.
pub(super) fn broken(chapter: &Path, text: &str) -> Vec<(usize, String)> {
    let folder = chapter.parent().unwrap_or(chapter);
    includes(text)
        .filter_map(|include| {
            let why = match (
                fs::read_to_string(folder.join(include.path)),
                include.anchor,
            ) {
                (Err(error), _) => format!("cannot read the file: {error}"),
                (Ok(file), Some(anchor)) if !anchors(&file).any(|name| name == anchor) => {
                    format!("the file has no anchor `{anchor}`")
                }
                _ => return None,
            };
            Some((include.line, format!("{}: {why}", include.text)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_read_as_mdbook_reads_them() {
        let text = "{{#include a.rs}} {{ #rustdoc_include ../b.rs:main x }}\n\n\
                    \\{{#include c.rs}} {{#include d.rs}}\n{{#include e.rs:3:7}}{{#include f.rs::7}}\n\
                    {{#playground g.rs}} {{#include h.rs:}}\n";
        let found: Vec<_> = includes(text)
            .map(|i| (i.line, i.kind, i.path, i.anchor, i.lines))
            .collect();
        assert_eq!(
            found,
            [
                (1, "include", "a.rs", None, None),
                (1, "rustdoc_include", "../b.rs", Some("main"), None),
                (4, "include", "e.rs", None, Some("3:7")),
                (4, "include", "f.rs", None, Some(":7")),
                (5, "include", "h.rs", None, None),
            ]
        );
    }

    #[test]
    fn marks_start_and_end_anchors() {
        let file =
            "// ANCHOR: one\nlet a = 1; // ANCHOR:two-2\n// ANCHOR_END: one\n// ANCHOR_END\n";
        assert_eq!(anchors(file).collect::<Vec<_>>(), ["one", "two-2"]);
        let marks: Vec<_> = file.lines().map(mark).collect();
        assert_eq!(marks[2..], [Some(Mark::End("one")), None]);
    }
}
