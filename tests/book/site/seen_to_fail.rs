//! Each check, held against a sound book in two languages with faults put in.

use super::*;
use crate::fixture::{Fixture, assert_found};

const BOOK: &str = r#"
[book]
title = "A book"
src = "src/en"
[output.html]
playground.runnable = false
git-repository-url = "https://git.example/"
edit-url-template = "https://git.example/edit/main/{path}"
"#;

const GLOSSARY: &str = "# 术语表 {#glossary}

| 英文 | 中文 |
| --- | --- |
| half-close | 半关闭 |
| lock | 锁 |

## 半关闭 {#half-close}

## 锁 {#lock}
";

/// The sound book, of which Chinese has the specification and a glossary.
fn sound() -> Fixture {
    let summary = "[Spec](00-spec.md)\n[Glossary](glossary.md)\n[Quiet](01-quiet.md)\n";
    Fixture::new()
        .write("book.toml", BOOK)
        .write("src/en/SUMMARY.md", summary)
        .write("src/en/404.md", "# None\n")
        .write(
            "src/en/glossary.md",
            "# Glossary\n\n## Half-close\n\n## Lock\n",
        )
        .write(
            "src/zh-CN/SUMMARY.md",
            "[规范](00-spec.md)\n[术语表](glossary.md)\n",
        )
        .write("src/zh-CN/404.md", "# 没有\n")
        .write("src/zh-CN/00-spec.md", "# 规范 {#spec}\n")
        .write("src/zh-CN/glossary.md", GLOSSARY)
}

/// A conversation that names this section.
fn section(name: &str) -> [(String, String); 1] {
    [("a.kdl:3".to_string(), name.to_string())]
}

#[test]
fn a_sound_site_passes() {
    let links = "# Spec\n[a](01-quiet.md#run-it) [b](#spec) [c](https://example.org/a?b=c#d) \
                 [d](01-quiet.md) <http://127.0.0.1:3000/> [e](01%2Dquiet.md#run%2Dit)\n";
    let fixture = sound().write("src/en/00-spec.md", links);
    assert_eq!(problems(&fixture.load(), &section("01-quiet#run-it")), []);
}

#[test]
fn broken_links() {
    let links = "# Spec\n[a](09-none.md)\n[a](01-quiet.md#run)\n![a](images/none.svg)\n\
                 [a](http://example.org/)\n[a](https://example/)\n";
    let fixture = sound().write("src/en/00-spec.md", links);
    assert_found(
        &problems(&fixture.load(), &section("00-spec#none")),
        &[
            "src/en/00-spec.md:2: `09-none.html` leads to no file of the book;",
            "src/en/00-spec.md:3: `01-quiet.html#run`: 01-quiet.html has no heading or anchor `run`;",
            "src/en/00-spec.md:4: `images/none.svg` leads to no file of the book;",
            "src/en/00-spec.md:5: `http://example.org/` uses http;",
            "src/en/00-spec.md:6: `https://example/` isn't a valid address;",
            "a.kdl:3: `00-spec.html#none`: 00-spec.html has no heading or anchor `none`;",
        ],
    );
}

/// These faults are in one book, because it takes some time to build one.
#[test]
fn faults_of_the_configuration_and_of_a_translation() {
    let toml = BOOK
        .replace("main/{path}", "main/src/en/{path}")
        .replace("runnable = false", "runnable = true");
    let fixture = sound()
        .write("book.toml", &toml)
        .edit("src/en/00-spec.md", "# Spec\n", "# Spec\n<b>\n")
        .edit("src/zh-CN/00-spec.md", "{#spec}", "{#specification}")
        .edit("src/zh-CN/glossary.md", "## 半关闭", "## 半闭")
        // A header of our own stands for words that a new version of mdBook adds.
        .write("theme/header.hbs", "<p title=\"Hello\">Press a key</p>\n");
    let found = problems(&fixture.load(), &[]);
    for expected in [
        "book.toml: mdBook says: unclosed HTML tag `<b>`",
        "book.toml: the edit link of 00-spec.html, https://git.example/edit/main/src/en/src/en/00-spec.md, names no file",
        "book.toml: 01-quiet.html has a Run button;",
        "00-spec.html: zh-CN/00-spec.html has no `spec`, so the language switch loses the section;",
        "zh-CN/00-spec.html: says `Hello` in English;",
        "zh-CN/00-spec.html: says `Press a key` in English;",
        "src/zh-CN/glossary.md:5: a search for 半关闭 doesn't find the entry #half-close;",
    ] {
        let is_there = found
            .iter()
            .any(|problem| problem.to_string().starts_with(expected));
        assert!(is_there, "{expected}\nis not among\n{found:#?}");
    }
}

#[test]
fn missing_chapter() {
    let found = problems(&sound().remove("src/en/00-spec.md").load(), &[]);
    assert_found(&found, &["book.toml: the book can't be built: "]);
}

#[test]
fn no_address_of_the_repository_and_pages_by_hand() {
    let toml = BOOK
        .replace("git-repository-url", "# ")
        .replace("edit-url-template", "# ");
    let fixture = sound().write("book.toml", &toml);
    let book = fixture.load();
    let (mut site, _) = render(&book).unwrap();
    for page in site.pages.values() {
        let external = page.links.iter().find(|link| link.contains("://"));
        assert_eq!((&page.edit, external), (&None, None));
    }

    let by_hand = Page::read("<html lang=\"en\"><a rel=\"edit\" href=\"https://git.example/\">");
    site.pages.insert("zh-CN/00-spec.html".to_string(), by_hand);
    let found = links::edit_links(&book, &site);
    let expected = "book.toml: the edit link of 00-spec.html, which it doesn't have, names no file";
    assert_found(found.as_slice(), &[expected]);
    let found = languages::unpaired(&site);
    assert_found(
        &found[found.len() - 2..],
        &[
            "zh-CN/00-spec.html: its addresses are {}, not {\"canonical\": \"zh-CN/00-spec.html\", \"en\": \
         \"00-spec.html\", \"switch\": \"00-spec.html\", \"x-default\": \"00-spec.html\", \"zh-CN\": ",
            "zh-CN/00-spec.html: its `lang` is “en”, not zh-CN",
        ],
    );
}
