//! The two languages: each page leads to its counterpart, and a Chinese page is Chinese all over.

use std::collections::BTreeMap;

use companion::book::edition::{CHINESE, ENGLISH, Edition};

use super::{Site, edition_of, target};
use crate::support::Problem;

/// English words that are right on a Chinese page: names, a key, and the other language.
const NAMES: [&str; 4] = ["Rust", "Git", "Esc", "English"];

/// Pages that don't lead to themselves in the other language, or don't tell search engines about both.
pub(super) fn unpaired(site: &Site) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, page) in &site.pages {
        let (edition, name) = edition_of(path);
        // The table of contents is a frame inside other pages.
        if name == "toc.html" {
            continue;
        }
        let other = match edition.language == ENGLISH.language {
            true => &CHINESE,
            false => &ENGLISH,
        };
        let in_edition = |edition: &Edition, name| format!("{}{name}", edition.path);
        let counterpart = site.pages.get(&in_edition(other, name));
        let switch = in_edition(other, counterpart.map_or("index.html", |_| name));
        let mut wanted = BTreeMap::from([("switch", switch)]);
        // The page for addresses that don't exist has none of its own.
        if name != "404.html" {
            wanted.insert("canonical", path.clone());
            if counterpart.is_some() {
                wanted.insert(ENGLISH.language, in_edition(&ENGLISH, name));
                wanted.insert(CHINESE.language, in_edition(&CHINESE, name));
                wanted.insert("x-default", in_edition(&ENGLISH, name));
            }
        }
        let links = page.addresses.iter();
        let found: BTreeMap<_, _> = links
            .map(|(key, link)| (&**key, target(path, link)))
            .collect();
        let mut problem = |what: String| problems.push(Problem::new(path, 0, what));
        if found != wanted {
            problem(format!("its addresses are {found:?}, not {wanted:?}"));
        }
        let lang = page.lang.as_deref().unwrap_or_default();
        if lang != edition.language {
            problem(format!("its `lang` is “{lang}”, not {}", edition.language));
        }
        // The printed book has the chapters of its language.
        let counterpart = counterpart.filter(|_| !["404.html", "print.html"].contains(&name));
        for id in counterpart
            .iter()
            .flat_map(|other| page.ids.difference(&other.ids))
        {
            problem(format!(
                "{} has no `{id}`, so the language switch loses the section; give both headings \
                 the same {{#id}}",
                in_edition(other, name)
            ));
        }
    }
    problems
}

/// English words around the text of Chinese pages.
pub(super) fn left_in_english(site: &Site) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, page) in &site.pages {
        if !name.starts_with(CHINESE.path) {
            continue;
        }
        for text in &page.around {
            let mut words = text.split(|c: char| !c.is_ascii_alphabetic());
            if words.any(|word| word.len() > 1 && !NAMES.contains(&word)) {
                let text = text.trim();
                let what = format!(
                    "says `{text}` in English; translate it in tools/companion/src/book/zh-CN.toml"
                );
                problems.push(Problem::new(name, 0, what));
            }
        }
    }
    problems
}
