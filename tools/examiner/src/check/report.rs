//! The results in words for people, with what the book says about a failure.

use std::{collections::BTreeMap, fs};

use anstyle::{AnsiColor, Style};
use regex::Regex;

use super::verdict::{FellShort, Verdict};
use crate::{
    Error,
    conversation::{Conversation, Until},
    play::Shortfall,
    stages::{self, List},
};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Where `cargo run` serves the book.
const BOOK: &str = "http://127.0.0.1:3000";

const SPECIFICATION: &str = "src/en/specification.md";

/// What each chapter demands.
pub(super) fn list(stages: &List, conversations: &[Conversation]) -> String {
    let mut chapters: BTreeMap<&str, String> = BTreeMap::new();
    for conversation in conversations {
        let Conversation { name, about, .. } = conversation;
        let Some(stage) = conversation.since() else {
            continue;
        };
        let until = conversation.until.as_ref();
        let until = until.map(|Until { stage, because }| format!(" (until {stage}: {because})"));
        let until = until.unwrap_or_default();
        *chapters.entry(stage).or_default() +=
            &format!("   {about}{until}\n      {DIM}{name}{DIM:#}\n");
    }
    let mut list = String::new();
    for (chapter, conversations) in chapters {
        let title = stages.get(chapter).map_or("", |stage| &stage.title);
        list += &format!("{BOLD}{chapter}{BOLD:#}  {title}\n{conversations}\n");
    }
    list + "Examine a server of the book:   cargo run -- check 07-broker\n\
            or your own:                    cargo run -- check 07-broker --dir ../my-chat\n\
            or one conversation:            cargo run -- check 07-broker two-people-chat"
}

/// One requirement and its verdict.
pub(super) fn requirement(conversation: &Conversation, verdict: &Verdict, hint: bool) -> String {
    let about = &conversation.about;
    match verdict {
        Verdict::Held(_) => format!("{GOOD}✓{GOOD:#}  {about}"),
        Verdict::NotExamined(why) => format!("-  {about} ({why})"),
        Verdict::Gone(why) => format!(
            "{BAD}✗{BAD:#}  {about}\n\n   The server answered earlier conversations, and now it's gone:\n   {why}"
        ),
        Verdict::FellShort(fell_short) => {
            let paragraphs = explanation(conversation, fell_short, hint);
            let indented = paragraphs.map(|text| format!("\n   {}", text.replace('\n', "\n   ")));
            let indented = indented.collect::<Vec<_>>().join("\n");
            format!("{BAD}✗{BAD:#}  {about}\n{indented}")
        }
    }
}

/// What a teacher would say: the rule, what was said, what should have come, and why it may not have.
fn explanation(
    conversation: &Conversation,
    fell_short: &FellShort,
    hint: bool,
) -> impl Iterator<Item = String> {
    let Shortfall { expected, seen, .. } = &fell_short.shortfall;
    let mut paragraphs = Vec::new();
    if let Some(rule) = &conversation.rule {
        // A test makes sure that each rule exists; without the text, its number still helps.
        let words = rule_in_words(rule).unwrap_or_default();
        paragraphs.push(format!("The specification, rule {rule}: {words}"));
    }
    let indented = |lines: &str| format!("   {}", lines.trim_end().replace('\n', "\n   "));
    if !fell_short.transcript.is_empty() {
        paragraphs.push("The conversation went like this:".to_string());
        paragraphs.push(indented(&fell_short.transcript));
    }
    paragraphs.push(format!(
        "Expected: {expected}\nBut:      {BAD}{seen}{BAD:#}"
    ));
    // Where a report was expected, what the server reported instead has just been said.
    if !fell_short.last_words.is_empty() && !expected.starts_with("the server reports") {
        paragraphs.push("The server's last words on stderr:".to_string());
        paragraphs.push(indented(&fell_short.last_words.join("\n")));
    }
    let causes = likely_causes(conversation, &fell_short.shortfall);
    if !causes.is_empty() {
        let causes = causes.join("\n- ");
        paragraphs.push(format!("Likely causes, the likeliest first:\n- {causes}"));
    }
    match &conversation.hint {
        Some(text) if hint => paragraphs.push(format!("Hint: {text}")),
        Some(_) => paragraphs.push(format!("{DIM}--hint says what to do.{DIM:#}")),
        None => {}
    }
    if let Some(link) = link(conversation) {
        paragraphs.push(format!(
            "To read: {link} {DIM}(served by `cargo run`){DIM:#}"
        ));
    }
    paragraphs.into_iter()
}

/// How many requirements came to which verdict.
pub(super) fn summary(stage: &str, counts: &[(&str, usize)]) -> String {
    let shown = counts
        .iter()
        .filter(|(name, count)| *count > 0 || *name == "held");
    let shown: Vec<String> = shown
        .map(|(name, count)| format!("{count} {}", name.replace('-', " ")))
        .collect();
    format!("\n{stage}: {}", shown.join(", "))
}

/// The causes that fit what was seen, the likeliest first.
pub fn likely_causes<'a>(conversation: &'a Conversation, shortfall: &Shortfall) -> Vec<&'a str> {
    let seen = format!("expected {}; {}", shortfall.expected, shortfall.seen);
    conversation
        .causes
        .iter()
        .filter(|cause| cause.when.as_ref().is_none_or(|when| when.is_match(&seen)))
        .map(|cause| cause.text.as_str())
        .collect()
}

/// The address of the section that explains a conversation, if it names one.
pub(super) fn link(conversation: &Conversation) -> Option<String> {
    let section = conversation.section.as_deref()?;
    let (chapter, heading) = section.split_once('#').unwrap_or((section, ""));
    Some(format!("{BOOK}/{chapter}.html#{heading}"))
}

/// The text of a rule of the specification, without its links.
///
/// # Errors
///
/// When the specification can't be read, or has no such rule.
pub fn rule_in_words(rule: &str) -> Result<String, Error> {
    let text = fs::read_to_string(stages::root().join(SPECIFICATION))
        .map_err(|error| Error::io(format!("cannot read {SPECIFICATION}"), error))?;
    let start = format!("**{rule}** ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    let line = line.ok_or_else(|| Error::malformed(SPECIFICATION, format!("no rule {rule}")))?;
    let link = Regex::new(r"\[([^\]]*)\]\([^)]*\)").expect("the pattern is valid");
    Ok(link.replace_all(line, "$1").into_owned())
}
