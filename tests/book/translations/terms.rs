//! One word for one thing: the terms of the Chinese glossary.

use std::collections::{BTreeMap, BTreeSet};

use super::{editions, flat, pairs};
use crate::support::{Book, Chapter, Problem};

/// The start of a comment in the glossary. Each of its lines, `term: 01-a, 02-b`, lists chapters that use the
/// term only in another meaning, for which Chinese has another word.
const OTHER_MEANINGS: &str = "<!-- other meanings\n";

/// A term of the glossary in English and in Chinese, and its line.
type Term<'a> = (&'a str, &'a str, usize);

/// The Chinese glossary, and its table of terms word by word.
pub(crate) fn glossary(book: &Book) -> (&Chapter, Vec<Term<'_>>) {
    let [_, chinese] = editions(book);
    let mut chapters = chinese.chapters.iter();
    let glossary = chapters.find(|chapter| chapter.name == "glossary");
    let glossary = glossary.expect("the Chinese edition has a glossary");
    let mut terms = Vec::new();
    for (line, number) in glossary.text.lines().zip(1..) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", english, chinese, ""] = cells[..] else {
            continue;
        };
        if english == "英文" || english.starts_with('-') {
            continue;
        }
        // Several terms of one row have a word each, or one for all. Brackets hold an explanation.
        let words: Vec<&str> = chinese.split('、').collect();
        for (english, position) in english.split(", ").zip(0..) {
            let chinese = words.get(position).or(words.last()).unwrap_or(&chinese);
            let chinese = chinese.split('（').next().unwrap_or(chinese);
            terms.push((english, chinese, number));
        }
    }
    (glossary, terms)
}

/// Pairs of a chapter and a term that it uses only in another meaning.
fn other_meanings(glossary: &Chapter) -> BTreeSet<(&str, &str)> {
    let comment = glossary.text.split_once(OTHER_MEANINGS);
    let list = comment.and_then(|(_, rest)| rest.split_once("-->"));
    let lines = list.map_or("", |(list, _)| list).lines();
    lines
        .filter_map(|line| line.split_once(": "))
        .flat_map(|(term, chapters)| chapters.split(", ").map(move |chapter| (chapter, term)))
        .collect()
}

/// Terms with two renderings, and chapters that render one in another way.
pub(super) fn terms(book: &Book) -> Vec<Problem> {
    let (glossary, terms) = glossary(book);
    let mut problems = Vec::new();
    let mut lines = BTreeMap::new();
    for (english, chinese, line) in &terms {
        for word in [english, chinese] {
            let before = lines.insert(word, line).filter(|before| *before != line);
            if let Some(before) = before {
                let what = format!("{word} is in line {before} too; one word has one meaning");
                problems.push(glossary.problem(*line, what));
            }
        }
    }
    let mut excused = other_meanings(glossary);
    for (english, chinese) in pairs(book).filter(|(english, _)| english.name != "SUMMARY") {
        let (ours, theirs) = (text(english).to_lowercase(), text(chinese));
        let in_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let words: BTreeSet<&str> = ours.split(|c| !in_word(c)).collect();
        for (term, word, _) in &terms {
            let used = match term.contains(' ') {
                true => ours.contains(term),
                false => words.contains(term) || words.contains(&*format!("{term}s")),
            };
            if used && !theirs.contains(word) && !excused.remove(&(&*english.name, term)) {
                let what = format!(
                    "{word} doesn't occur here, but {} says “{term}”; write {word}, or, if the \
                     English always means something else, add this chapter to `{term}` in the \
                     comment `other meanings` of {}",
                    english.path, glossary.path
                );
                problems.push(chinese.problem(0, what));
            }
        }
    }
    for (chapter, term) in excused {
        let what = format!("`other meanings` doesn't need {chapter} for `{term}`; remove it");
        problems.push(glossary.problem(0, what));
    }
    problems
}

/// The paragraphs of a chapter, one in a line.
fn text(chapter: &Chapter) -> String {
    let paragraphs = flat(chapter).into_iter();
    paragraphs.map(|(text, _)| text + "\n").collect()
}
