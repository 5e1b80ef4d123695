//! What the checks need to know of one HTML file.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What the checks need to know of one HTML file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Page {
    /// What the fragment of a link can name.
    pub(super) ids: BTreeSet<String>,
    /// What links lead to, and what images, scripts and styles load; without the edit link.
    pub(super) links: Vec<String>,
    /// Where "Suggest an edit" leads.
    pub(super) edit: Option<String>,
    /// Whether mdBook's script would put a Run button on it.
    pub(super) runs: bool,
    /// The value of `lang`.
    pub(super) lang: Option<String>,
    /// The page's addresses: `canonical`, one for each `hreflang`, and where the language `switch` leads.
    pub(super) addresses: BTreeMap<String, String>,
    /// The words that are not in the chapter's text, whether they are shown or read aloud.
    pub(super) around: Vec<String>,
}

impl Page {
    /// Reads what mdBook has written: values are in double quotes, and `<` is escaped everywhere but in scripts.
    pub(super) fn read(html: &str) -> Page {
        let mut page = Page::default();
        // Open elements whose text is not around the chapter.
        let mut inside: Vec<&str> = Vec::new();
        for piece in html.split('<') {
            let (tag, text) = piece.split_once('>').unwrap_or((piece, ""));
            let name = tag.split_whitespace().next().unwrap_or_default();
            match inside.last() {
                Some(open) if name.strip_prefix('/') == Some(open) => drop(inside.pop()),
                Some(&("script" | "style")) => {}
                _ => {
                    page.note(name, &attributes(tag));
                    if ["main", "script", "style"].contains(&name) {
                        inside.push(name);
                    }
                }
            }
            if inside.is_empty() {
                page.around.push(text.to_string());
            }
        }
        page
    }

    fn note(&mut self, name: &str, attributes: &HashMap<&str, &str>) {
        let value = |name| {
            attributes
                .get(name)
                .map(|value| value.replace("&amp;", "&"))
        };
        self.ids.extend(value("id"));
        let words = ["title", "aria-label", "placeholder"];
        self.around.extend(words.into_iter().filter_map(value));
        let (rel, href) = (attributes.get("rel"), value("href"));
        let address = match (rel, value("hreflang")) {
            (Some(&"canonical"), _) => Some("canonical".to_string()),
            (Some(&"alternate"), language) => language,
            (_, language) => language.map(|_| "switch".to_string()),
        };
        self.addresses.extend(address.zip(href.clone()));
        let classes = attributes.get("class").copied().unwrap_or_default();
        let mut classes = classes.split_whitespace();
        self.runs |= classes.any(|class| ["playground", "play-button"].contains(&class));
        match name {
            "html" => self.lang = value("lang"),
            "base" => {}
            _ if rel == Some(&"edit") => self.edit = href,
            _ => self.links.extend(href.into_iter().chain(value("src"))),
        }
    }
}

fn attributes(tag: &str) -> HashMap<&str, &str> {
    let parts: Vec<&str> = tag.split('"').collect();
    let pairs = parts.chunks_exact(2).filter_map(|pair| {
        let name = pair[0].strip_suffix('=')?;
        Some((name.rsplit(char::is_whitespace).next()?, pair[1]))
    });
    pairs.collect()
}
