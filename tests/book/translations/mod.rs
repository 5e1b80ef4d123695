//! The Chinese edition: in step with the English one, with one word for one thing, and written as Chinese
//! is written. CONTRIBUTING.md, "The Chinese edition", has the rules and their reasons.
//!
//! `parts` compares what the chapters are made of, `record` which English text they render, `terms` the words
//! of the glossary; `writing` reads the Chinese alone.

mod parts;
mod record;
mod seen_to_fail;
mod terms;
mod writing;

use std::env;

use companion::book::edition::{CHINESE, ENGLISH};
use pulldown_cmark::{Event, Tag, TagEnd};

pub(crate) use self::{parts::id_of, terms::glossary};
use crate::support::{self, Book, Chapter, Language};

#[test]
fn chinese_chapters_are_those_of_the_english_edition() {
    support::assert_none(&parts::files(&Book::load()));
}

#[test]
fn chinese_chapters_have_the_parts_of_the_english_ones() {
    support::assert_none(&parts::parts(&Book::load()));
}

/// `RENDERED=07-broker` records for a chapter that its Chinese text renders the English one as it is now.
#[test]
fn chinese_chapters_render_the_english_text_of_today() {
    let mut book = Book::load();
    if let Ok(names) = env::var("RENDERED") {
        support::assert_none(&record::confirm(&book, &names));
        book = Book::load();
    }
    support::assert_none(&record::outdated(&book));
}

#[test]
fn one_term_has_one_rendering() {
    support::assert_none(&terms::terms(&Book::load()));
}

#[test]
fn chinese_is_written_as_chinese() {
    support::assert_none(&writing::writing(&Book::load()));
}

/// The English and the Chinese edition.
pub(crate) fn editions(book: &Book) -> [&Language; 2] {
    [ENGLISH.language, CHINESE.language].map(|name| {
        let mut languages = book.languages.iter();
        let found = languages.find(|language| language.name == name);
        found.expect("the book is there in English and in Chinese")
    })
}

/// Every text that is there in both languages, the English one first.
fn pairs(book: &Book) -> impl Iterator<Item = (&Chapter, &Chapter)> {
    let [english, chinese] = editions(book);
    english.texts().filter_map(|text| {
        let same = chinese.texts().find(|other| other.name == text.name)?;
        Some((text, same))
    })
}

/// The paragraphs of a chapter as they are read, each with its line: without code blocks, marks and comments,
/// and with an `x` in the place of each piece of code.
fn flat(chapter: &Chapter) -> Vec<(String, usize)> {
    let mut paragraphs: Vec<(String, usize)> = Vec::new();
    // Whether this is inside of a block that is not read, and whether a paragraph has begun.
    let (mut hidden, mut open) = (false, false);
    for (event, range) in chapter.events() {
        let piece = match event {
            Event::Start(Tag::Emphasis | Tag::Strong | Tag::Link { .. } | Tag::Image { .. })
            | Event::End(TagEnd::Emphasis | TagEnd::Strong | TagEnd::Link | TagEnd::Image) => {
                continue;
            }
            Event::Text(text) if !hidden => text.to_string(),
            Event::Code(_) => "`x`".to_string(),
            // Each line of the summary is an entry.
            Event::SoftBreak if chapter.name != "SUMMARY" => " ".to_string(),
            Event::Html(html) if !hidden => {
                open = false;
                // What is between the tags.
                html.split(['<', '>']).step_by(2).collect()
            }
            event => {
                match event {
                    Event::Start(Tag::CodeBlock(_)) => hidden = true,
                    Event::Start(Tag::HtmlBlock) => {
                        hidden = chapter.text[range.start..].starts_with("<!--");
                    }
                    Event::End(TagEnd::CodeBlock | TagEnd::HtmlBlock) => hidden = false,
                    _ => {}
                }
                open = false;
                continue;
            }
        };
        match paragraphs.last_mut().filter(|_| open) {
            Some((text, _)) => *text += &piece,
            None => paragraphs.push((piece, chapter.line_of(range.start))),
        }
        open = true;
    }
    paragraphs.retain(|(text, _)| !text.trim().is_empty());
    paragraphs
}
