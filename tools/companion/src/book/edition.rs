//! The two languages of the book: joins two books, which mdBook built one beside the other, to one.
//!
//! mdBook builds one language, and its own words are English. So its pages are completed here. They get
//! a switch that leads to the same section in the other language, the addresses that search engines ask
//! for, and, in the Chinese edition, words and a search that are Chinese.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use mdbook_driver::config::Config;

use super::{Files, search};

/// One language of the book.
#[derive(Debug)]
pub struct Edition {
    /// The language's code, for `lang` and `hreflang`.
    pub language: &'static str,
    /// The folder of its chapters.
    pub source: &'static str,
    /// Where its pages are, below the book's address: nothing, or a folder with `/`.
    pub path: &'static str,
    /// Its name in its own language, on the switch of the other edition.
    name: &'static str,
    /// What the switch does, in this language.
    switch: &'static str,
    /// What the switch does where the other edition has no such page.
    fallback: &'static str,
}

/// The edition that book.toml describes. Its pages are at the book's address itself.
pub const ENGLISH: Edition = Edition {
    language: "en",
    source: "src/en",
    path: "",
    name: "English",
    switch: "This page in Chinese",
    fallback: "There is no Chinese text of this page yet: to the first page",
};

/// The edition that takes all but its language from book.toml.
pub const CHINESE: Edition = Edition {
    language: "zh-CN",
    source: "src/zh-CN",
    path: "zh-CN/",
    name: "简体中文",
    switch: "本页的英文版",
    fallback: "本页没有英文版：回到首页",
};

/// The title of the Chinese edition.
const TITLE: &str = "用异步 Rust 写聊天服务器";

/// What search engines show of the Chinese edition.
const DESCRIPTION: &str =
    "用异步 Rust 一步一步写出一个网络程序；每一行代码都编译过、运行过、测试过。";

/// What the Chinese edition says instead of mdBook's own words, by the file that says them.
const WORDS: &str = include_str!("zh-CN.toml");

/// What keeps mdBook's pages from readers with a keyboard or a screen reader, and what stands there
/// instead.
const ACCESS: [(&str, &str); 3] = [
    (
        "<label id=\"mdbook-sidebar-toggle\" class=\"icon-button\" for=\"mdbook-sidebar-toggle-anchor\"",
        "<button id=\"mdbook-sidebar-toggle\" class=\"icon-button\" type=\"button\" \
         onclick=\"sidebar_toggle.click()\"",
    ),
    ("</label>", "</button>"),
    (
        "<div id=\"mdbook-menu-bar\"",
        "<div id=\"mdbook-menu-bar\" role=\"banner\"",
    ),
];

/// Keeps the section when the language changes, and remembers the choice.
const SWITCH: &str = include_str!("switch.js");

/// Leads a reader from the first page to the language of the last choice, or of the browser.
const LANDING: &str = include_str!("landing.js");

/// Shows the Chinese page for addresses that don't exist where it belongs: a server of static files
/// knows one such page only.
const LOST: &str = "if (location.pathname.includes('/zh-CN/')) {
    location.replace(document.baseURI + 'zh-CN/404.html');
}
";

/// Makes the configuration of the English edition that of the Chinese one.
pub(super) fn make_chinese(config: &mut Config) {
    config.book.src = CHINESE.source.into();
    config.book.language = Some(CHINESE.language.to_string());
    config.book.title = Some(TITLE.to_string());
    config.book.description = Some(DESCRIPTION.to_string());
}

/// Makes mdBook's own words and the search of the Chinese edition Chinese.
///
/// Returns what mdBook says in another way than this expects, one line each.
pub(super) fn translate(files: &mut Files) -> Result<Vec<String>> {
    let words: BTreeMap<String, BTreeMap<String, String>> = toml::from_str(WORDS)?;
    for name in pages(files, "") {
        edit(files, &name, |page| {
            for (english, chinese) in &words["*.html"] {
                *page = page.replace(english, chinese);
            }
        })?;
    }
    let mut missing = Vec::new();
    for name in ["book", "searcher"] {
        edit(files, &script(files, name)?, |script| {
            for (english, chinese) in &words[&format!("{name}.js")] {
                if !script.contains(english) {
                    missing.push(format!(
                        "{name}.js does not say `{english}`, which has a translation"
                    ));
                }
                *script = script.replace(english, chinese);
            }
        })?;
    }
    let index = script(files, "searchindex")?;
    edit(files, &index, search::index_again)??;
    Ok(missing)
}

/// Joins the books of the two languages to one. `address` is where it gets published, as far as that's
/// known.
///
/// Returns what mdBook says in another way than this expects, one line each.
pub(super) fn join(files: &mut Files, address: Option<&str>) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    let pages = [pages(files, ENGLISH.path), pages(files, CHINESE.path)];
    for (edition, other, own, others) in [
        (&ENGLISH, &CHINESE, &pages[0], &pages[1]),
        (&CHINESE, &ENGLISH, &pages[1], &pages[0]),
    ] {
        for name in own {
            let file = format!("{}{name}", edition.path);
            edit(files, &file, |page| {
                for (mark, better) in changes(edition, other, name, others, address) {
                    if !page.contains(mark) {
                        missing.push(format!("{file} has no `{mark}`"));
                    }
                    *page = page.replacen(mark, &better, 1);
                }
            })?;
        }
    }
    Ok(missing)
}

/// The pages in this folder. The table of contents of readers without scripts is in a frame of theirs.
fn pages(files: &Files, folder: &str) -> BTreeSet<String> {
    files
        .keys()
        .filter_map(|name| name.strip_prefix(folder))
        .filter(|name| name.ends_with(".html") && !name.contains('/') && *name != "toc.html")
        .map(str::to_string)
        .collect()
}

/// The full name of a script, to which mdBook adds a hash.
fn script(files: &Files, name: &str) -> Result<String> {
    let is_it = |file: &&String| file.starts_with(&format!("{name}-")) && file.ends_with(".js");
    let found = files.keys().find(is_it);
    found
        .cloned()
        .with_context(|| format!("mdBook wrote no {name}.js"))
}

/// Changes the text of a file.
fn edit<T>(files: &mut Files, name: &str, change: impl FnOnce(&mut String) -> T) -> Result<T> {
    let mut text = String::from_utf8(files.remove(name).unwrap_or_default())?;
    let done = change(&mut text);
    files.insert(name.to_string(), text.into_bytes());
    Ok(done)
}

/// Which texts of a page are replaced, each once, and by what.
fn changes(
    edition: &Edition,
    other: &Edition,
    name: &str,
    others: &BTreeSet<String>,
    address: Option<&str>,
) -> Vec<(&'static str, String)> {
    // The way from a page of this edition to one of the other.
    let up = "../".repeat(edition.path.matches('/').count());
    let (target, title, same) = match others.contains(name) {
        true => (name, edition.switch, " data-same"),
        false => ("index.html", edition.fallback, ""),
    };
    let switch = format!(
        "\n<a id=\"language\" href=\"{up}{}{target}\" hreflang=\"{language}\" lang=\"{language}\" \
         title=\"{title}\"{same}>{}</a>",
        other.path,
        other.name,
        language = other.language
    );
    let mut head = String::new();
    if name != "404.html" {
        let link = |edition: &Edition| match address {
            // Search engines want the whole address.
            Some(address) => format!("{address}{}{name}", edition.path),
            None => format!("{up}{}{name}", edition.path),
        };
        head += &format!("\n<link rel=\"canonical\" href=\"{}\">", link(edition));
        if others.contains(name) {
            for (language, edition) in [
                (ENGLISH.language, &ENGLISH),
                (CHINESE.language, &CHINESE),
                ("x-default", &ENGLISH),
            ] {
                head += &format!(
                    "\n<link rel=\"alternate\" hreflang=\"{language}\" href=\"{}\">",
                    link(edition)
                );
            }
        }
    }
    match (name, edition.path) {
        ("index.html", "") => head += &format!("\n<script>\n{LANDING}</script>"),
        ("404.html", "") => head += &format!("\n<script>\n{LOST}</script>"),
        _ => {}
    }
    let script = format!("\n<script>\n{SWITCH}</script>");
    let additions = [
        ("<div class=\"right-buttons\">", switch),
        ("<!-- Custom HTML head -->", head),
        ("<!-- Custom JS scripts -->", script),
    ];
    let additions = additions.map(|(mark, addition)| (mark, format!("{mark}{addition}")));
    let access = ACCESS.map(|(mark, better)| (mark, better.to_string()));
    additions.into_iter().chain(access).collect()
}
