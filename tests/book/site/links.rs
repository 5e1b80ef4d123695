//! Where links lead: those of the pages, "Suggest an edit", and the sections that the examiner names.

use std::sync::LazyLock;

use percent_encoding::percent_decode_str;
use regex::Regex;

use super::{Site, edition_of, target};
use crate::support::{Book, Chapter, Problem};

/// An address with a full domain name and without a character that needs an escape.
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^https://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+([/?#][^\s<>"{}|\\^`]*)?$"#)
        .expect("a valid pattern")
});

/// Links that lead nowhere.
pub(super) fn broken_links(book: &Book, site: &Site) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, page) in &site.pages {
        let chapter = source(book, name);
        for link in &page.links {
            let Some(what) = broken(site, name, link) else {
                continue;
            };
            problems.push(match chapter {
                Some(chapter) => chapter.problem(line_with(chapter, link), what),
                None => Problem::new(name, 0, what),
            });
        }
    }
    problems.sort();
    problems.dedup();
    // The printed book and the first page repeat the links of chapters. A fault of theirs counts when no
    // chapter has any.
    if problems
        .iter()
        .any(|problem| problem.path.starts_with("src/"))
    {
        problems.retain(|problem| problem.path.starts_with("src/"));
    }
    problems
}

/// The chapter that a page shows, unless it is made of the whole book.
fn source<'a>(book: &'a Book, page: &str) -> Option<&'a Chapter> {
    let (edition, name) = edition_of(page);
    let path = format!("{}/{}.md", edition.source, name.trim_end_matches(".html"));
    book.chapters().find(|chapter| chapter.path == path)
}

/// The line of a chapter in which a link is written, or 0.
fn line_with(chapter: &Chapter, link: &str) -> usize {
    let written = link.replace(".html", ".md");
    let mut lines = chapter.text.lines().zip(1..);
    let found = lines.find(|(line, _)| line.contains(&written) || line.contains(link));
    found.map_or(0, |(_, number)| number)
}

/// Why a link of a page is broken, if it is.
fn broken(site: &Site, page: &str, link: &str) -> Option<String> {
    // A program on the reader's machine has no certificate.
    let allowed = ["data:", "http://127.0.0.1", "http://localhost"];
    if allowed.iter().any(|start| link.starts_with(start)) {
        return None;
    }
    let (scheme, _) = link.split_once(':').unwrap_or_default();
    match scheme {
        "https" if ADDRESS.is_match(link) => return None,
        "https" => return Some(format!("`{link}` isn't a valid address; correct it")),
        // It's a path, whose fragment may contain a colon.
        _ if scheme.is_empty() || scheme.contains(['/', '#', '.']) => {}
        _ => return Some(format!("`{link}` uses {scheme}; link to an https address")),
    }
    let decode = |text| percent_decode_str(text).decode_utf8_lossy();
    let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
    let target = match path.split('?').next().unwrap_or_default() {
        "" => page.to_string(),
        path => target(page, &decode(path)),
    };
    if !site.files.contains_key(&target) {
        return Some(format!("`{link}` leads to no file of the book; correct it"));
    }
    let (fragment, page) = (decode(fragment), site.pages.get(&target));
    // An empty fragment is the top of the page.
    if fragment.is_empty() || page.is_some_and(|page| page.ids.contains(&*fragment)) {
        return None;
    }
    let what =
        format!("`{link}`: {target} has no heading or anchor `{fragment}`; correct the link");
    Some(what)
}

/// Sections that conversations tell a reader to read, each with the place that names it, and that don't exist.
pub(super) fn missing_sections(site: &Site, sections: &[(String, String)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (place, section) in sections {
        let (chapter, heading) = section.split_once('#').unwrap_or((section, ""));
        let what = broken(site, "index.html", &format!("{chapter}.html#{heading}"));
        problems.extend(what.map(|what| Problem::new(place, 0, what)));
    }
    problems
}

/// The first page whose "Suggest an edit" leads to no file of the repository: one cause breaks all of them.
///
/// Where no address of the repository is known, no page has the link.
pub(super) fn edit_links(book: &Book, site: &Site) -> Option<Problem> {
    // These are made of the whole book.
    let whole = ["404.html", "print.html", "toc.html"];
    let leads_to_a_file = |link: &str| {
        let path = link.find("/src/").map(|start| &link[start + 1..]);
        path.is_some_and(|path| book.root.join(path).is_file())
    };
    if site.pages.values().all(|page| page.edit.is_none()) {
        return None;
    }
    let mut pages = site.pages.iter();
    let (name, page) = pages.find(|(name, page)| {
        let link = page.edit.as_deref();
        !whole.contains(&edition_of(name).1) && !link.is_some_and(leads_to_a_file)
    })?;
    let link = page.edit.as_deref().unwrap_or("which it doesn't have");
    let what = format!(
        "the edit link of {name}, {link}, names no file of the repository; correct \
         output.html.edit-url-template (mdBook replaces `{{path}}` by src/…)"
    );
    Some(Problem::new("book.toml", 0, what))
}
