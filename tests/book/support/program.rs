//! One file of code: its anchors, and its lines without what is there for the book alone.

use companion::book::include::{Mark, mark};

use super::problem::Problem;

/// One program of `code`, or one module.
pub(crate) struct Program {
    pub path: String,
    pub name: String,
    pub text: String,
}

/// What stands between two anchor marks.
pub(crate) struct Anchor<'a> {
    pub name: &'a str,
    /// The line of the start mark, counted from 1.
    pub line: usize,
    /// The lines inside, without any anchor marks, and their indices.
    pub lines: Vec<(usize, &'a str)>,
    pub is_ended: bool,
}

impl Program {
    /// A problem at one of this program's lines.
    pub(crate) fn problem(&self, line: usize, what: impl Into<String>) -> Problem {
        Problem::new(&self.path, line, what)
    }

    /// The anchors of the program, in the order of their start marks.
    pub(crate) fn anchors(&self) -> Vec<Anchor<'_>> {
        let lines: Vec<(usize, &str)> = self.text.lines().enumerate().collect();
        let marks: Vec<Option<Mark>> = lines.iter().map(|(_, line)| mark(line)).collect();
        let starts = marks.iter().zip(1..).filter_map(|(mark, line)| match mark {
            Some(Mark::Start(name)) => Some((*name, line)),
            _ => None,
        });
        let anchors = starts.map(|(name, line)| {
            let mut after = marks[line..].iter();
            let length = after.position(|mark| *mark == Some(Mark::End(name)));
            let end = length.map_or(lines.len(), |length| line + length);
            let inside = lines[line..end].iter().copied();
            let lines = inside.filter(|(index, _)| marks[*index].is_none());
            let (lines, is_ended) = (lines.collect(), length.is_some());
            Anchor {
                name,
                line,
                lines,
                is_ended,
            }
        });
        anchors.collect()
    }

    /// The lines that an include of this anchor shows, or of all when it names none, with their indices.
    pub(crate) fn shown(&self, anchor: Option<&str>) -> Vec<(usize, &str)> {
        let Some(name) = anchor else {
            return self.text.lines().enumerate().collect();
        };
        let mut anchors = self.anchors().into_iter();
        let anchor = anchors.find(|anchor| anchor.name == name);
        anchor.map_or(Vec::new(), |anchor| anchor.lines)
    }

    /// The program without anchor marks and numbered marks, each line with its index.
    pub(crate) fn plain(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines.filter_map(|(index, line)| {
            let code = match number(line) {
                Some(_) => line.rsplit_once("// ")?.0.trim_end(),
                None => line,
            };
            let is_mark = mark(line).is_some() || code.is_empty() && !line.is_empty();
            (!is_mark).then_some((index, code))
        })
    }
}

/// The number of a numbered mark: ` // 1` at the end of a line.
pub(crate) fn number(line: &str) -> Option<usize> {
    let (_, after) = line.rsplit_once("// ")?;
    let is_number = after.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| after.parse().ok()).flatten()
}

/// The words that could be identifiers, in order.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
}
