//! Search in Chinese: each word that the glossary explains is found there.

use companion::book::edition::CHINESE;
use serde_json::Value;

use super::Site;
use crate::{
    support::{Book, Problem},
    translations::{glossary, id_of},
};

/// Words of the Chinese glossary that a search doesn't find in their entry.
pub(super) fn not_found(book: &Book, site: &Site) -> Vec<Problem> {
    let (chapter, terms) = glossary(book);
    let index = index(site);
    let page = &site.pages[&format!("{}glossary.html", CHINESE.path)];
    let explained = terms.iter().filter_map(|(english, word, line)| {
        let id = id_of(english);
        let is_chinese = !word.contains(|c: char| c.is_ascii());
        (is_chinese && page.ids.contains(&id)).then_some((word, id, *line))
    });
    let explained: Vec<_> = explained.collect();
    let mut problems = Vec::new();
    if explained.is_empty() {
        problems.push(chapter.problem(0, "has no entry for any of its terms, to search for"));
    }
    for (word, id, line) in explained {
        if !finds(&index, word, &format!("glossary.html#{id}")) {
            let what = format!("a search for {word} doesn't find the entry #{id}; use it there");
            problems.push(chapter.problem(line, what));
        }
    }
    problems
}

/// Whether a search for a word finds a section.
///
/// The browser cuts the word into pairs of characters, and finds the sections that have all of them in one
/// field.
fn finds(search: &Value, word: &str, section: &str) -> bool {
    let characters: Vec<char> = word.chars().collect();
    let sections = search["doc_urls"].as_array().into_iter().flatten();
    let number = sections.into_iter().position(|url| url == section);
    let number = number.map_or(String::new(), |number| number.to_string());
    ["title", "body", "breadcrumbs"].iter().any(|field| {
        let root = &search["index"]["index"][field]["root"];
        let mut pairs = characters.windows(characters.len().min(2));
        pairs.all(|pair| {
            let node = pair.iter().fold(root, |node, c| &node[c.to_string()]);
            !node["docs"][&number].is_null()
        })
    })
}

/// The index of the Chinese edition, which is a string in a script.
fn index(site: &Site) -> Value {
    let start = format!("{}searchindex", CHINESE.path);
    let mut files = site.files.iter();
    let (_, script) = files
        .find(|(name, _)| name.starts_with(&start))
        .expect("mdBook writes an index");
    let script = String::from_utf8_lossy(script);
    let json = script
        .split_once("JSON.parse('")
        .and_then(|(_, rest)| rest.split_once("'));\n"));
    let (json, _) = json.expect("mdBook writes its index as a string");
    let json = json.replace("\\'", "'").replace("\\\\", "\\");
    serde_json::from_str(&json).expect("mdBook writes its index as JSON")
}
