//! The two languages of the book: what makes two books, built by mdBook one beside the other, into one.
//!
//! mdBook builds one language, and its own words are English. So its pages are completed here: they get
//! a switch that leads to the same section in the other language, the addresses that search engines ask
//! for, and, in the Chinese edition, words and a search that are Chinese.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{file_of, search};

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
pub const TITLE: &str = "用异步 Rust 写聊天服务器";

/// What search engines show of the Chinese edition.
pub const DESCRIPTION: &str =
    "用异步 Rust 一步一步写出一个网络程序；每一行代码都编译过、运行过、测试过。";

/// What mdBook writes into every page, and what a Chinese page says instead.
const PAGES: [(&str, &str); 25] = [
    (r#"="Table of contents""#, r#"="目录""#),
    (r#"="Toggle Table of Contents""#, r#"="显示或隐藏目录""#),
    (r#"="Change theme""#, r#"="切换主题""#),
    (r#"="Themes""#, r#"="主题""#),
    (">Auto</button>", ">自动</button>"),
    (">Light</button>", ">浅色</button>"),
    (">Rust</button>", ">铁锈</button>"),
    (">Coal</button>", ">炭黑</button>"),
    (">Navy</button>", ">藏青</button>"),
    (">Ayu</button>", ">墨蓝</button>"),
    (r#"="Search (`/`)""#, r#"="搜索（`/`）""#),
    (r#"="Toggle Searchbar""#, r#"="显示或隐藏搜索栏""#),
    (r#"="Search this book ...""#, r#"="搜索本书……""#),
    (r#"="Print this book""#, r#"="打印本书""#),
    (r#"="Git repository""#, r#"="Git 仓库""#),
    (r#"="Suggest an edit""#, r#"="修改本页""#),
    (r#"="Page navigation""#, r#"="翻页""#),
    (r#"="Previous chapter""#, r#"="上一章""#),
    (r#"="Next chapter""#, r#"="下一章""#),
    (">Keyboard shortcuts<", ">键盘快捷键<"),
    (
        "<p>Press <kbd>←</kbd> or <kbd>→</kbd> to navigate between chapters</p>",
        "<p><kbd>←</kbd> 和 <kbd>→</kbd>：上一章、下一章</p>",
    ),
    (
        "<p>Press <kbd>S</kbd> or <kbd>/</kbd> to search in the book</p>",
        "<p><kbd>S</kbd> 或 <kbd>/</kbd>：搜索本书</p>",
    ),
    (
        "<p>Press <kbd>?</kbd> to show this help</p>",
        "<p><kbd>?</kbd>：显示本帮助</p>",
    ),
    (
        "<p>Press <kbd>Esc</kbd> to hide this help</p>",
        "<p><kbd>Esc</kbd>：关闭本帮助</p>",
    ),
    ("<title>Page not found - ", "<title>页面不存在 - "),
];

/// What mdBook's scripts write into a page, and what they write into a Chinese one.
const SCRIPTS: [(&str, &str, &str); 11] = [
    ("book", "'Copy to clipboard'", "'复制到剪贴板'"),
    ("book", "'Copied!'", "'已复制'"),
    ("book", "'Clipboard error!'", "'无法复制'"),
    ("book", r#""Show hidden lines""#, r#""显示隐藏的行""#),
    ("book", "'Show hidden lines'", "'显示隐藏的行'"),
    ("book", "'Hide lines'", "'隐藏这些行'"),
    (
        "searcher",
        r"count + ' search result for \'' + searchterm + '\':'",
        "'“' + searchterm + '”有 1 个结果：'",
    ),
    (
        "searcher",
        r"'No search results for \'' + searchterm + '\'.'",
        "'没有找到“' + searchterm + '”。'",
    ),
    (
        "searcher",
        r"count + ' search results for \'' + searchterm + '\':'",
        "'“' + searchterm + '”有 ' + count + ' 个结果：'",
    ),
    ("searcher", "Search Result Teaser", "结果摘录"),
    (
        "searcher",
        "makeTeaser(escapeHTML(result.doc.body), searchterms)",
        "window.search.teaser(escapeHTML(result.doc.body), searchterms)",
    ),
];

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

/// Shows the Chinese page for addresses that do not exist where it belongs: a server of static files
/// knows one such page only.
const LOST: &str = "if (location.pathname.includes('/zh-CN/')) {
    location.replace(document.baseURI + 'zh-CN/404.html');
}
";

/// Joins the books of the two languages, built into `dir` and the folder of the second below it, to one.
/// `address` is where the book gets published, as far as that is known.
///
/// Returns what mdBook says in another way than this expects, one line each.
///
/// # Errors
///
/// When a page cannot be read or written.
pub fn join(dir: &Path, address: Option<&str>) -> Result<Vec<String>> {
    let mut missing = translate(dir)?;
    let pages = [pages(dir, &ENGLISH)?, pages(dir, &CHINESE)?];
    for (edition, other, own, others) in [
        (&ENGLISH, &CHINESE, &pages[0], &pages[1]),
        (&CHINESE, &ENGLISH, &pages[1], &pages[0]),
    ] {
        for name in own {
            let file = dir.join(edition.path).join(name);
            let mut page = fs::read_to_string(&file)?;
            for (mark, better) in ACCESS {
                if !page.contains(mark) {
                    missing.push(format!("{}{name} has no `{mark}`", edition.path));
                }
                page = page.replacen(mark, better, 1);
            }
            for (mark, addition) in additions(edition, other, name, others, address) {
                match page.find(mark) {
                    Some(start) => page.insert_str(start + mark.len(), &addition),
                    None => missing.push(format!("{}{name} has no `{mark}`", edition.path)),
                }
            }
            fs::write(&file, page)?;
        }
    }
    search::index_again(&dir.join(CHINESE.path))?;
    Ok(missing)
}

/// The pages of an edition. The table of contents of readers without scripts is in a frame of theirs.
fn pages(dir: &Path, edition: &Edition) -> Result<BTreeSet<String>> {
    let mut pages = BTreeSet::new();
    for entry in fs::read_dir(dir.join(edition.path))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".html") && name != "toc.html" {
            pages.insert(name);
        }
    }
    Ok(pages)
}

/// What a page gets, and after which of its texts.
fn additions(
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
    let lost = name == "404.html";
    if !lost {
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
    let mut additions = vec![
        ("<div class=\"right-buttons\">", switch),
        ("<!-- Custom HTML head -->", head),
        (
            "<!-- Custom JS scripts -->",
            format!("\n<script>\n{SWITCH}</script>"),
        ),
    ];
    let script = match name {
        "index.html" => LANDING,
        "404.html" => LOST,
        _ => "",
    };
    if edition.path.is_empty() && !script.is_empty() {
        additions.push((
            "<!-- Custom HTML head -->",
            format!("\n<script>\n{script}</script>"),
        ));
    }
    additions
}

/// Makes mdBook's own words Chinese. Returns what is not there to be translated.
fn translate(dir: &Path) -> Result<Vec<String>> {
    let dir = dir.join(CHINESE.path);
    let mut found = [false; PAGES.len()];
    for entry in fs::read_dir(&dir)? {
        let file = entry?.path();
        if file.extension().is_none_or(|extension| extension != "html") {
            continue;
        }
        let mut page = fs::read_to_string(&file)?;
        for ((english, chinese), found) in PAGES.iter().zip(&mut found) {
            if page.contains(english) {
                *found = true;
                page = page.replace(english, chinese);
            }
        }
        fs::write(&file, page)?;
    }
    let mut missing = Vec::new();
    for ((english, _), _) in PAGES.iter().zip(found).filter(|(_, found)| !found) {
        missing.push(format!("no page says `{english}`, which has a translation"));
    }
    for (name, english, chinese) in SCRIPTS {
        let file = file_of(&dir, name, "js")?;
        let script = fs::read_to_string(&file).with_context(|| format!("cannot read {name}.js"))?;
        if !script.contains(english) {
            missing.push(format!(
                "{name}.js does not say `{english}`, which has a translation"
            ));
        }
        fs::write(&file, script.replace(english, chinese))?;
    }
    Ok(missing)
}
