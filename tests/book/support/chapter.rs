//! One Markdown file: its fences, headings, lists and includes.

use std::ops::Range;

use companion::book::include::{self, Include};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::{
    files::{line_of, resolve},
    problem::Problem,
};

/// One Markdown file.
#[derive(Clone)]
pub(crate) struct Chapter {
    pub path: String,
    /// The file's name without `.md`, which a stage shares with its chapter.
    pub name: String,
    pub text: String,
}

/// A code block, as it stands in the source of a chapter.
pub(crate) struct Fence {
    /// The line of the opening fence.
    pub line: usize,
    /// What follows the three backquotes, or `indented code`.
    pub info: String,
    pub text: String,
    pub range: Range<usize>,
}

/// A heading.
pub(crate) struct Heading {
    pub level: usize,
    pub text: String,
    pub range: Range<usize>,
}

impl Chapter {
    /// A problem at one of this chapter's lines.
    pub(crate) fn problem(&self, line: usize, what: impl Into<String>) -> Problem {
        Problem::new(&self.path, line, what)
    }

    /// The line, counted from 1, of a byte of the text.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        line_of(&self.text, offset)
    }

    /// The Markdown events of the chapter, each with the bytes that it comes from.
    pub(crate) fn events(&self) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
        let options = Options::ENABLE_TABLES
            | Options::ENABLE_FOOTNOTES
            | Options::ENABLE_STRIKETHROUGH
            | Options::ENABLE_TASKLISTS
            | Options::ENABLE_HEADING_ATTRIBUTES
            | Options::ENABLE_DEFINITION_LIST;
        Parser::new_ext(&self.text, options).into_offset_iter()
    }

    /// The code blocks.
    pub(crate) fn fences(&self) -> Vec<Fence> {
        let mut fences = Vec::new();
        let mut events = self.events();
        while let Some((event, range)) = events.next() {
            if let Event::Start(Tag::CodeBlock(kind)) = event {
                let info = match kind {
                    CodeBlockKind::Fenced(info) => info.to_string(),
                    CodeBlockKind::Indented => "indented code".to_string(),
                };
                fences.push(Fence {
                    line: self.line_of(range.start),
                    info,
                    text: text_before(&mut events, |end| *end == TagEnd::CodeBlock),
                    range,
                });
            }
        }
        fences
    }

    /// The fences that hold Rust.
    pub(crate) fn rust_fences(&self) -> impl Iterator<Item = Fence> {
        let fences = self.fences().into_iter();
        fences.filter(|fence| fence.info.starts_with("rust"))
    }

    /// The headings.
    pub(crate) fn headings(&self) -> Vec<Heading> {
        let mut headings = Vec::new();
        let mut events = self.events();
        while let Some((event, range)) = events.next() {
            if let Event::Start(Tag::Heading { level, .. }) = event {
                headings.push(Heading {
                    level: level as usize,
                    text: text_before(&mut events, |end| matches!(end, TagEnd::Heading(_))),
                    range,
                });
            }
        }
        headings
    }

    /// The bytes below a heading of level 2, up to the next one.
    pub(crate) fn section(&self, heading: &str) -> Option<Range<usize>> {
        let mut headings = self.headings();
        headings.retain(|heading| heading.level == 2);
        let place = headings.iter().position(|found| found.text == heading)?;
        let end = headings.get(place + 1).map(|next| next.range.start);
        Some(headings[place].range.end..end.unwrap_or(self.text.len()))
    }

    /// How many items the first list after this byte has, if that is a numbered one.
    pub(crate) fn numbered_list_after(&self, offset: usize) -> Option<usize> {
        let events = self.events().map(|(event, range)| (range.start, event));
        let mut events = events.skip_while(|(start, _)| *start < offset);
        let is_list = |event: &Event| matches!(event, Event::Start(Tag::List(_)));
        let (_, list) = events.find(|(_, event)| is_list(event))?;
        let (mut depth, mut items) = (1, 0);
        for (_, event) in events {
            match event {
                Event::Start(Tag::List(_)) => depth += 1,
                Event::Start(Tag::Item) if depth == 1 => items += 1,
                Event::End(TagEnd::List(_)) if depth == 1 => break,
                Event::End(TagEnd::List(_)) => depth -= 1,
                _ => {}
            }
        }
        (list == Event::Start(Tag::List(Some(1)))).then_some(items)
    }

    /// The includes of the chapter, each with the path that it leads to, from the root. One with a backslash
    /// before it is shown, and isn't among them.
    pub(crate) fn includes(&self) -> Vec<(String, Include<'_>)> {
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let includes = include::includes(&self.text);
        let includes = includes.map(|include| (resolve(folder, include.path), include));
        includes.collect()
    }

    /// The text outside code blocks, including code spans.
    pub(crate) fn prose(&self) -> String {
        let mut prose = String::new();
        let mut events = self.events();
        while let Some((event, _)) = events.next() {
            match event {
                Event::Start(Tag::CodeBlock(_)) => {
                    text_before(&mut events, |end| *end == TagEnd::CodeBlock);
                }
                Event::Text(text) | Event::Code(text) => prose += &text,
                Event::SoftBreak | Event::HardBreak | Event::End(_) => prose.push('\n'),
                _ => {}
            }
        }
        prose
    }
}

/// The text of the events up to this end, which are taken.
fn text_before<'a>(
    events: impl Iterator<Item = (Event<'a>, Range<usize>)>,
    is_end: impl Fn(&TagEnd) -> bool,
) -> String {
    let inside = events.map_while(|(event, _)| match event {
        Event::End(end) if is_end(&end) => None,
        Event::Text(text) | Event::Code(text) => Some(text),
        _ => Some("".into()),
    });
    inside.fold(String::new(), |all, text| all + &text)
}
