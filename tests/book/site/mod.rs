//! The rendered site, as mdBook and the companion make it of the book.
//!
//! `page` reads an HTML file; `links`, `languages` and `search` each hold checks.

mod languages;
mod links;
mod page;
mod search;
mod seen_to_fail;

use std::collections::BTreeMap;

use companion::book::edition::{CHINESE, ENGLISH, Edition};
use examiner::conversation;

use self::page::Page;
use crate::support::{self, Book, Problem};

#[test]
fn site_is_sound() {
    let conversations = conversation::all().expect("the conversations can be read");
    let sections: Vec<_> = conversations
        .into_iter()
        .filter_map(|conversation| Some((conversation.place, conversation.section?)))
        .collect();
    support::assert_none(&problems(&Book::load(), &sections));
}

/// Everything that is wrong with the site, and with the sections that conversations name.
fn problems(book: &Book, sections: &[(String, String)]) -> Vec<Problem> {
    let (site, mut problems) = match render(book) {
        Ok(rendered) => rendered,
        Err(problem) => return vec![problem],
    };
    problems.extend(links::broken_links(book, &site));
    problems.extend(links::missing_sections(&site, sections));
    problems.extend(links::edit_links(book, &site));
    problems.extend(run_button(&site));
    problems.extend(languages::unpaired(&site));
    problems.extend(languages::left_in_english(&site));
    problems.extend(search::not_found(book, &site));
    problems
}

/// A built book.
struct Site {
    /// The files by their names from the root of the site, with `/`.
    files: BTreeMap<String, Vec<u8>>,
    pages: BTreeMap<String, Page>,
}

/// Builds the book and reads its pages. What mdBook warns of is a problem too.
fn render(book: &Book) -> Result<(Site, Vec<Problem>), Problem> {
    let problem = |what: String| Problem::new("book.toml", 0, what);
    let built = companion::book::build(&book.root, None)
        .map_err(|error| problem(format!("the book can't be built: {error:#}")))?;
    let lines = built.faults.iter().chain(&built.warnings);
    let problems = lines.map(|line| problem(format!("mdBook says: {line}")));
    let problems = problems.collect();
    let html = built
        .files
        .iter()
        .filter(|(name, _)| name.ends_with(".html"));
    let pages = html.map(|(name, html)| (name.clone(), Page::read(&String::from_utf8_lossy(html))));
    let pages = pages.collect();
    let files = built.files;
    Ok((Site { files, pages }, problems))
}

/// The edition of a page, and the page's name in it.
fn edition_of(page: &str) -> (&'static Edition, &str) {
    match page.strip_prefix(CHINESE.path) {
        Some(name) => (&CHINESE, name),
        None => (&ENGLISH, page),
    }
}

/// Where a relative link of a page leads, from the root of the site.
fn target(page: &str, link: &str) -> String {
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    support::resolve(folder, link)
}

/// The first page with a button that would send a snippet to the playground, where it can't run.
fn run_button(site: &Site) -> Option<Problem> {
    let (name, _) = site.pages.iter().find(|(_, page)| page.runs)?;
    let what = format!("{name} has a Run button; set output.html.playground.runnable = false");
    Some(Problem::new("book.toml", 0, what))
}
