//! The rendered site: its links, its edit links, and the spelling of what it says.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    fs,
    io::{self, Write},
    path::Path,
};

use html5ever::{
    tendril::StrTendril,
    tokenizer::{
        BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
        states::RawKind,
    },
};
use crate::support::{self, Book, Problem};
use typos::{Dictionary, Status, tokens};
use unicase::UniCase;

/// Where the pages of the Chinese edition are.
const CHINESE: &str = "zh-CN/";

/// What somebody looks for in Chinese, and a section that must be among what is found.
const SEARCHES: [(&str, &str); 4] = [
    ("背压", "glossary.html#backpressure"),
    ("代理", "glossary.html#broker"),
    ("断开连接", "06-disconnect.html#the-problem"),
    ("锁", "04-broker.html#the-alternative-a-lock"),
];

/// English words around a Chinese page: names, the key on a keyboard, and the other language's own name.
const NAMES: [&str; 4] = ["Rust", "Git", "Esc", "English"];

/// Words that the dictionary takes for misspellings, and that are right here.
const WORDS: [&str; 0] = [];

#[test]
fn site_is_sound() {
    let book = Book::load();
    let folder = tempfile::tempdir().expect("the system has a folder for temporary files");
    let problems = match render(&book, folder.path()) {
        Ok((site, mut problems)) => {
            report_weights(&site);
            problems.extend(broken_links(&book, &site));
            problems.extend(edit_links(&book, &site));
            problems.extend(run_buttons(&book, &site));
            problems.extend(languages(&site));
            problems.extend(left_in_english(&site));
            problems.extend(not_found(folder.path(), &SEARCHES));
            problems
        }
        Err(problem) => vec![problem],
    };
    support::assert_none(&problems);
}

#[test]
fn words_are_spelt_right() {
    let book = Book::load();
    let mut problems = Vec::new();
    for folder in ["", "src/en", "code/src/bin", "code/examples"] {
        for extension in ["md", "rs"] {
            let files = support::files(&book.root.join(folder), extension);
            for file in files.expect("the repository can be read") {
                let text = support::read(&file).expect("the repository can be read");
                let name = file.strip_prefix(&book.root).unwrap_or(&file);
                let path = name.to_string_lossy().replace('\\', "/");
                problems.extend(misspellings(&path, &text));
            }
        }
    }
    support::assert_none(&problems);
}

/// The files of a built book, and what its pages hold.
struct Site {
    /// Names from the root of the site, with `/`.
    files: HashSet<String>,
    pages: BTreeMap<String, Page>,
}

/// What is of interest in one HTML file.
#[derive(Default)]
struct Page {
    /// The targets of fragments.
    ids: HashSet<String>,
    /// What links, images, scripts and styles refer to.
    links: Vec<String>,
    /// Where "Suggest an edit" leads.
    edit: Option<String>,
    /// Whether a script of mdBook would put a Run button on it.
    runs: bool,
    /// Its language.
    lang: Option<String>,
    /// Its own address, and its addresses by language, as search engines are told.
    canonical: Option<String>,
    alternates: BTreeMap<String, String>,
    /// Where the language switch leads.
    switch: Option<String>,
    /// What is around the text of the chapter: words that are shown or read out.
    around: Vec<String>,
    bytes: usize,
}

/// Builds the book. What mdBook warns of is a problem too.
fn render(book: &Book, folder: &Path) -> Result<(Site, Vec<Problem>), Problem> {
    let problem = |what: String| Problem {
        path: "book.toml".to_string(),
        line: 0,
        what,
    };
    let built = companion::book::build(&book.root, folder, None)
        .map_err(|error| problem(format!("the book cannot be built: {error:#}")))?;
    let problems = built
        .faults
        .iter()
        .chain(&built.warnings)
        .map(|line| problem(format!("mdBook says: {line}")))
        .collect();
    let site = built.index.parent().unwrap_or(folder);
    let site = read_site(site)
        .map_err(|error| problem(format!("the built book cannot be read: {error}")))?;
    Ok((site, problems))
}

fn read_site(folder: &Path) -> io::Result<Site> {
    let mut site = Site {
        files: HashSet::new(),
        pages: BTreeMap::new(),
    };
    let mut folders = vec![String::new()];
    while let Some(under) = folders.pop() {
        for entry in fs::read_dir(folder.join(&under))? {
            let entry = entry?;
            let name = format!("{under}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push(format!("{name}/"));
                continue;
            }
            if name.ends_with(".html") {
                let page = read_page(&fs::read_to_string(entry.path())?);
                site.pages.insert(name.clone(), page);
            }
            site.files.insert(name);
        }
    }
    Ok(site)
}

/// Reads one page with the tokenizer that mdBook itself uses; no tree is needed.
fn read_page(html: &str) -> Page {
    let tokenizer = Tokenizer::new(Reader::default(), TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(html));
    // It pauses at scripts that could write into the page, and the sink below names none.
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    let mut page = tokenizer.sink.page.into_inner();
    page.bytes = html.len();
    page
}

#[derive(Default)]
struct Reader {
    page: RefCell<Page>,
    /// The elements inside which text is not around the chapter.
    inside: RefCell<Vec<String>>,
}

impl TokenSink for Reader {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut inside = self.inside.borrow_mut();
        let tag = match token {
            Token::CharacterTokens(text) if inside.is_empty() => {
                self.page.borrow_mut().around.push(text.to_string());
                return TokenSinkResult::Continue;
            }
            Token::TagToken(tag) => tag,
            _ => return TokenSinkResult::Continue,
        };
        if ["main", "script", "style"].contains(&&*tag.name) {
            match tag.kind {
                TagKind::StartTag => inside.push(tag.name.to_string()),
                TagKind::EndTag => drop(inside.pop()),
            }
        }
        if tag.kind != TagKind::StartTag {
            return TokenSinkResult::Continue;
        }
        self.page.borrow_mut().note(&tag);
        // What follows is text for the tokenizer only if it is told so.
        match &*tag.name {
            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
            "style" => TokenSinkResult::RawData(RawKind::Rawtext),
            "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
            _ => TokenSinkResult::Continue,
        }
    }
}

impl Page {
    fn note(&mut self, tag: &Tag) {
        let value = |name: &str| {
            tag.attrs
                .iter()
                .find(|attribute| &*attribute.name.local == name)
                .map(|attribute| attribute.value.to_string())
        };
        self.ids.extend(value("id"));
        if &*tag.name == "a" {
            self.ids.extend(value("name"));
        }
        self.around.extend(
            ["title", "aria-label", "placeholder"]
                .into_iter()
                .filter_map(value),
        );
        if &*tag.name == "html" {
            self.lang = value("lang");
        }
        match (value("rel").as_deref(), value("hreflang"), value("href")) {
            (Some("canonical"), _, href) => self.canonical = href,
            (Some("alternate"), Some(language), Some(href)) => {
                self.alternates.insert(language, href);
            }
            (None, Some(_), href) if value("id").as_deref() == Some("language") => {
                self.switch = href;
            }
            _ => {}
        }
        if value("rel").as_deref() == Some("edit") {
            self.edit = value("href");
        } else if &*tag.name != "base" {
            self.links.extend(value("href"));
            self.links.extend(value("src"));
        }
        let classes = value("class").unwrap_or_default();
        self.runs |= classes
            .split_whitespace()
            .any(|class| ["playground", "play-button"].contains(&class));
    }
}

/// The file and the line that a page's link comes from, as far as that can be told.
fn source(book: &Book, page: &str, link: &str) -> Problem {
    let (language, name) = match page.strip_prefix(CHINESE) {
        Some(name) => ("src/zh-CN/", name),
        None => ("src/en/", page),
    };
    let file = format!("{language}{}.md", name.trim_end_matches(".html"));
    let chapter = book.chapters().find(|chapter| chapter.path == file);
    let Some(chapter) = chapter else {
        return Problem {
            path: page.to_string(),
            line: 0,
            what: String::new(),
        };
    };
    let written = link.replace(".html", ".md");
    let line = chapter
        .text
        .lines()
        .position(|line| line.contains(&written) || line.contains(link));
    chapter.problem(line.map_or(0, |line| line + 1), "")
}

/// Links that lead nowhere.
fn broken_links(book: &Book, site: &Site) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, page) in &site.pages {
        for link in &page.links {
            if let Some(what) = broken(site, name, link) {
                problems.push(Problem {
                    what,
                    ..source(book, name, link)
                });
            }
        }
    }
    problems.sort_by(|a, b| (&a.path, a.line, &a.what).cmp(&(&b.path, b.line, &b.what)));
    problems.dedup();
    // A link of a chapter is also one of the printed book, and of the first page. Their problems
    // count when they are their own.
    if problems
        .iter()
        .any(|problem| problem.path.starts_with("src/"))
    {
        problems.retain(|problem| problem.path.starts_with("src/"));
    }
    problems
}

/// Why a link of a page is broken, if it is.
fn broken(site: &Site, page: &str, link: &str) -> Option<String> {
    // What the reader runs has no certificate.
    let loopback = ["http://127.0.0.1", "http://localhost"];
    if link.starts_with("data:") || loopback.iter().any(|start| link.starts_with(start)) {
        return None;
    }
    if let Some((scheme, _)) = link.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) {
        return match link.strip_prefix("https://") {
            Some(rest) if is_address(rest) => None,
            Some(_) => Some(format!("`{link}` is not a well-formed address")),
            None => Some(format!("`{link}` has the scheme {scheme}; link with https")),
        };
    }
    let (path, fragment) = match link.split_once('#') {
        Some((path, fragment)) => (path, Some(fragment)),
        None => (link, None),
    };
    let path = path.split('?').next().unwrap_or_default();
    let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
    let target = match path {
        "" => page.to_string(),
        path => support::resolve(folder, &decode(path)),
    };
    if !site.files.contains(&target) {
        return Some(format!("`{link}` leads to no file of the book"));
    }
    let fragment = decode(fragment?).into_owned();
    // Without a fragment, or with an empty one, a link leads to the top.
    let found = fragment.is_empty()
        || site
            .pages
            .get(&target)
            .is_some_and(|page| page.ids.contains(&fragment));
    (!found).then(|| format!("`{link}` leads to no heading or anchor `{fragment}` of {target}"))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Whether this can follow `https://`: a host with a domain, then anything that needs no escape.
fn is_address(rest: &str) -> bool {
    let (host, _) = rest.split_once(['/', '?', '#']).unwrap_or((rest, ""));
    let labels: Vec<&str> = host.split('.').collect();
    labels.len() > 1
        && labels.iter().all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
        && !rest.contains(|c: char| c.is_whitespace() || "<>\"{}|\\^`".contains(c))
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = (*first == b'%')
            .then(|| std::str::from_utf8(after.get(..2)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// A page whose "Suggest an edit" leads to no file of the repository: the first, they have one cause.
fn edit_links(book: &Book, site: &Site) -> Vec<Problem> {
    // These are made of the whole book, not of one chapter.
    let whole = ["404.html", "print.html", "toc.html"];
    let mut chapters = site
        .pages
        .iter()
        .filter(|(name, _)| !whole.contains(&name.trim_start_matches(CHINESE)));
    let problem = chapters.find_map(|(name, page)| {
        let what = match &page.edit {
            None => format!("{name} has no edit link; set output.html.edit-url-template"),
            Some(link) => {
                let path = link
                    .split_once("/edit/")
                    .and_then(|(_, rest)| rest.split_once('/'));
                if path.is_some_and(|(_, path)| book.root.join(path).is_file()) {
                    return None;
                }
                format!(
                    "the edit link of {name}, {link}, names no file of the repository; mend \
                     output.html.edit-url-template (its `{{path}}` starts with src/)"
                )
            }
        };
        Some(Problem {
            path: "book.toml".to_string(),
            line: 0,
            what,
        })
    });
    problem.into_iter().collect()
}

/// Pages with a button that would send a snippet to the playground, where it cannot run.
fn run_buttons(book: &Book, site: &Site) -> Vec<Problem> {
    site.pages
        .iter()
        .filter(|(_, page)| page.runs)
        .map(|(name, _)| Problem {
            what: "has a Run button; set output.html.playground.runnable = false in book.toml"
                .to_string(),
            ..source(book, name, "")
        })
        .map(|problem| Problem { line: 0, ..problem })
        .collect()
}

/// Pages that do not lead to themselves in the other language, or do not tell search engines of both.
fn languages(site: &Site) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, page) in &site.pages {
        let (language, other) = match name.strip_prefix(CHINESE) {
            Some(name) => ("zh-CN", name.to_string()),
            None => ("en", format!("{CHINESE}{name}")),
        };
        // The table of contents is a part of other pages. Without a Chinese edition there is no other.
        if name.ends_with("toc.html") || !site.files.contains(&format!("{CHINESE}index.html")) {
            continue;
        }
        let mut problem = |what: String| {
            problems.push(Problem {
                path: name.clone(),
                line: 0,
                what,
            });
        };
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let target =
            |link: &Option<String>| link.as_ref().map(|link| support::resolve(folder, link));
        if page.lang.as_deref() != Some(language) {
            problem(format!("its `lang` is {:?}, not {language}", page.lang));
        }
        let exists = site.pages.get(&other);
        let wanted = match (exists, language) {
            (Some(_), _) => other.clone(),
            (None, "en") => format!("{CHINESE}index.html"),
            (None, _) => "index.html".to_string(),
        };
        if target(&page.switch).as_ref() != Some(&wanted) {
            problem(format!(
                "its language switch leads to {:?}, not to {wanted}",
                page.switch
            ));
        }
        // What is shown in the place of missing pages has no address.
        let lost = name.ends_with("404.html");
        if !lost && target(&page.canonical).as_ref() != Some(name) {
            problem(format!("its canonical address is {:?}", page.canonical));
        }
        if let (Some(other_page), false) = (exists, lost) {
            let (english, chinese) = match language {
                "en" => (name, &other),
                _ => (&other, name),
            };
            for (language, wanted) in [("en", english), ("zh-CN", chinese), ("x-default", english)]
            {
                let link = page.alternates.get(language).cloned();
                if target(&link).as_ref() != Some(wanted) {
                    problem(format!(
                        "its address in the language {language} is {link:?}"
                    ));
                }
            }
            let mut only: Vec<&String> = page.ids.difference(&other_page.ids).collect();
            only.sort();
            // The printed book has the chapters that there are.
            if !only.is_empty() && !name.ends_with("print.html") {
                problem(format!(
                    "{other} has no {only:?}, so the switch cannot keep the section"
                ));
            }
        }
    }
    problems
}

/// English words around the text of Chinese pages.
fn left_in_english(site: &Site) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, page) in &site.pages {
        if !name.starts_with(CHINESE) {
            continue;
        }
        for text in &page.around {
            let mut words = text.split(|c: char| !c.is_ascii_alphabetic());
            let english = words.any(|word| word.len() > 1 && !NAMES.contains(&word));
            if english {
                problems.push(Problem {
                    path: name.clone(),
                    line: 0,
                    what: format!(
                        "says `{}`; translate it in tools/companion/src/book/edition.rs",
                        text.trim()
                    ),
                });
            }
        }
    }
    problems
}

/// Searches that do not find their section.
///
/// The browser cuts a word into pairs of characters, and finds the sections that have them all in one field.
fn not_found(folder: &Path, searches: &[(&str, &str)]) -> Vec<Problem> {
    let search = match read_search(&folder.join(CHINESE)) {
        Ok(search) => search,
        Err(what) => {
            let path = "searchindex.js".to_string();
            return vec![Problem {
                path,
                line: 0,
                what,
            }];
        }
    };
    let mut problems = Vec::new();
    for (word, section) in searches {
        let characters: Vec<char> = word.chars().collect();
        let pairs: Vec<String> = match characters.len() {
            1 => vec![word.to_string()],
            _ => characters
                .windows(2)
                .map(|pair| pair.iter().collect())
                .collect(),
        };
        let found = search["doc_urls"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
            .filter(|(number, _)| {
                ["title", "body", "breadcrumbs"].iter().any(|field| {
                    pairs.iter().all(|pair| {
                        let root = &search["index"]["index"][field]["root"];
                        let node = pair.chars().fold(root, |node, c| &node[c.to_string()]);
                        holds(node, &number.to_string())
                    })
                })
            })
            .any(|(_, url)| url == section);
        if !found {
            problems.push(Problem {
                path: "searchindex.js".to_string(),
                line: 0,
                what: format!("a search for {word} does not find {section}"),
            });
        }
    }
    problems
}

/// Whether a word that begins as this node does is in a document.
fn holds(node: &serde_json::Value, document: &str) -> bool {
    !node["docs"][document].is_null()
        || node.as_object().is_some_and(|children| {
            children
                .iter()
                .any(|(key, child)| key.chars().count() == 1 && holds(child, document))
        })
}

fn read_search(folder: &Path) -> Result<serde_json::Value, String> {
    let script = fs::read_dir(folder)
        .map_err(|error| error.to_string())?
        .flatten()
        .find(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("searchindex")
        })
        .ok_or("there is none")?;
    let script = fs::read_to_string(script.path()).map_err(|error| error.to_string())?;
    let json = script
        .split_once("JSON.parse('")
        .and_then(|(_, rest)| rest.split_once("'));\n"))
        .ok_or("it holds no JSON")?
        .0
        .replace("\\'", "'")
        .replace("\\\\", "\\");
    serde_json::from_str(&json).map_err(|error| error.to_string())
}

/// Tells how heavy the pages are. It is not for a test to judge.
fn report_weights(site: &Site) {
    let mut report = String::from("weight of the pages:");
    for (name, page) in &site.pages {
        report += &format!(
            " {} {} kB,",
            name.trim_end_matches(".html"),
            page.bytes / 1000
        );
    }
    // Past the capture of test output: this is for whoever runs the tests.
    let _ = writeln!(io::stderr(), "{}", report.trim_end_matches(','));
}

/// Known misspellings, each with its line.
fn misspellings(path: &str, text: &str) -> Vec<Problem> {
    let tokenizer = tokens::Tokenizer::new();
    typos::check_str(text, &tokenizer, &Misspellings)
        .map(|typo| {
            let better = match &typo.corrections {
                Status::Corrections(words) => words.join("` or `"),
                _ => String::new(),
            };
            Problem {
                path: path.to_string(),
                line: support::line_of(text, typo.byte_offset),
                what: format!(
                    "`{}` should be `{better}`; if it is right, add it to WORDS in tests/site.rs",
                    typo.typo
                ),
            }
        })
        .collect()
}

/// The dictionary of the `typos` project: words that are known to be wrong, and what they stand for.
struct Misspellings;

impl Dictionary for Misspellings {
    fn correct_ident<'s>(&'s self, _: tokens::Identifier<'_>) -> Option<Status<'s>> {
        None
    }

    fn correct_word<'s>(&'s self, word: tokens::Word<'_>) -> Option<Status<'s>> {
        let word = word.token();
        if WORDS.contains(&word) {
            return None;
        }
        let corrections = typos_dict::WORD.find(&UniCase::new(word))?;
        Some(Status::Corrections(
            corrections.iter().copied().map(Cow::Borrowed).collect(),
        ))
    }
}

/// The checks, held against a sound book with one fault put in.
mod seen_to_fail {
    use super::*;
    use crate::fixture::Fixture;

    const BOOK: &str = "[book]\nsrc = \"src/en\"\n[output.html]\nplayground.runnable = false\n\
                        edit-url-template = \"https://git.example/edit/main/{path}\"\n";

    /// Everything that is wrong with the rendered site.
    fn problems(fixture: Fixture) -> Vec<String> {
        let book = fixture.load();
        let folder = tempfile::tempdir().unwrap();
        let (site, mut problems) = match render(&book, folder.path()) {
            Ok(rendered) => rendered,
            Err(problem) => return vec![problem.to_string()],
        };
        problems.extend(broken_links(&book, &site));
        problems.extend(edit_links(&book, &site));
        problems.extend(run_buttons(&book, &site));
        problems.iter().map(Problem::to_string).collect()
    }

    fn sound() -> Fixture {
        Fixture::new().write("book.toml", BOOK)
    }

    /// The sound book with one more line at the end of a chapter, its line 2.
    fn with_line(line: &str) -> Vec<String> {
        problems(sound().write("src/en/00-spec.md", &format!("# Spec\n{line}\n")))
    }

    #[test]
    fn a_sound_site_passes() {
        let links = "[a](01-quiet.md#run-it) [b](#spec) [c](https://example.org/a?b=c#d) [d](01-quiet.md) <http://127.0.0.1:3000/>";
        assert_eq!(with_line(links), [""; 0]);
    }

    #[test]
    fn missing_page() {
        let found = with_line("[a](09-none.md)");
        assert_eq!(
            found,
            ["src/en/00-spec.md:2: `09-none.html` leads to no file of the book"]
        );
    }

    #[test]
    fn missing_fragment() {
        let found = with_line("[a](01-quiet.md#run)");
        assert_eq!(
            found,
            [
                "src/en/00-spec.md:2: `01-quiet.html#run` leads to no heading or anchor `run` of 01-quiet.html"
            ]
        );
    }

    #[test]
    fn missing_image() {
        let found = with_line("![a](images/none.svg)");
        assert_eq!(
            found,
            ["src/en/00-spec.md:2: `images/none.svg` leads to no file of the book"]
        );
    }

    #[test]
    fn unsafe_scheme() {
        let found = with_line("[a](http://example.org/)");
        assert_eq!(
            found,
            ["src/en/00-spec.md:2: `http://example.org/` has the scheme http; link with https"]
        );
    }

    #[test]
    fn malformed_address() {
        let found = with_line("[a](https://example/)");
        assert_eq!(
            found,
            ["src/en/00-spec.md:2: `https://example/` is not a well-formed address"]
        );
    }

    #[test]
    fn wrong_edit_link() {
        let toml = BOOK.replace("main/{path}", "main/src/en/{path}");
        let found = problems(sound().write("book.toml", &toml));
        assert_eq!(found.len(), 1, "{found:?}");
        let link = "https://git.example/edit/main/src/en/src/en/00-spec.md";
        let expected = format!("book.toml: the edit link of 00-spec.html, {link}, names no file");
        assert!(found[0].starts_with(&expected), "{found:?}");
    }

    #[test]
    fn no_edit_link() {
        let toml = BOOK.replace("edit-url-template", "# edit-url-template");
        let found = problems(sound().write("book.toml", &toml));
        assert_eq!(found.len(), 1, "{found:?}");
        let expected = "book.toml: 00-spec.html has no edit link;";
        assert!(found[0].starts_with(expected), "{found:?}");
    }

    #[test]
    fn run_button() {
        let toml = BOOK.replace("runnable = false", "runnable = true");
        let found = problems(sound().write("book.toml", &toml));
        // Two chapters with snippets, and all of them in the printed book.
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found[0].starts_with("src/en/01-quiet.md: has a Run button;"),
            "{found:?}"
        );
    }

    #[test]
    fn warning_of_mdbook() {
        let found = with_line("<b>");
        assert!(
            found[0].starts_with("book.toml: mdBook says: "),
            "{found:?}"
        );
    }

    #[test]
    fn missing_chapter() {
        let found = problems(sound().remove("src/en/00-spec.md"));
        assert!(
            found[0].starts_with("book.toml: the book cannot be built: "),
            "{found:?}"
        );
    }

    /// The sound book in two languages, with a chapter that is in English only.
    fn in_two_languages() -> Fixture {
        let toml = BOOK
            .replace("[book]", "[book]\ntitle = \"A book\"")
            .replace(
                "[output.html]",
                "[output.html]\ngit-repository-url = \"https://git.example/\"",
            );
        let summary = "[规范](00-spec.md)\n[安静](01-quiet.md)\n";
        let quiet = "# 安静 {#quiet}\n\n## {#run-it}\n\n## {#what-changed}\n\n## {#break-it}\n\n\
                     ## {#exercises}\n\n## {#check-yours}\n\n## {#summary}\n\n断开、断连接、连接。\n";
        sound()
            .write("book.toml", &toml)
            .write("src/zh-CN/SUMMARY.md", summary)
            .write("src/zh-CN/00-spec.md", "# 规范 {#spec}\n\n断开连接。\n")
            .write("src/zh-CN/01-quiet.md", quiet)
            .write("src/zh-CN/404.md", "# 没有\n")
            .write("src/en/404.md", "# None\n")
    }

    /// What is wrong with the languages, with what the fixture is made of.
    fn of_languages(fixture: &Fixture, searches: &[(&str, &str)]) -> Vec<String> {
        let book = fixture.load();
        let folder = tempfile::tempdir().unwrap();
        let (site, mut problems) = match render(&book, folder.path()) {
            Ok(rendered) => rendered,
            Err(problem) => return vec![problem.to_string()],
        };
        problems.extend(broken_links(&book, &site));
        problems.extend(edit_links(&book, &site));
        problems.extend(languages(&site));
        problems.extend(left_in_english(&site));
        problems.extend(not_found(folder.path(), searches));
        problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn a_sound_site_in_two_languages_passes() {
        let found = of_languages(&in_two_languages(), &[("断开连接", "00-spec.html#spec")]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn section_that_is_not_in_the_other_language() {
        let fixture =
            in_two_languages().edit("src/zh-CN/00-spec.md", "{#spec}", "{#specification}");
        let found = of_languages(&fixture, &[]);
        let expected = "00-spec.html: zh-CN/00-spec.html has no [\"spec\"], so the switch cannot keep the section";
        assert!(found.contains(&expected.to_string()), "{found:?}");
    }

    #[test]
    fn words_of_mdbook_left_in_english() {
        // A theme of one's own is what a new version of mdBook is: it says something else.
        let fixture =
            in_two_languages().write("theme/header.hbs", "<p title=\"Hello\">Press a key</p>\n");
        let found = of_languages(&fixture, &[]);
        for what in ["says `Hello`; translate", "says `Press a key`; translate"] {
            let expected = format!("zh-CN/00-spec.html: {what}");
            assert!(
                found.iter().any(|line| line.starts_with(&expected)),
                "{found:?}"
            );
        }
    }

    #[test]
    fn translation_of_what_mdbook_does_not_say() {
        let toml = "[book]\nsrc = \"src/en\"\n";
        let found = of_languages(&in_two_languages().write("book.toml", toml), &[]);
        let expected = "mdBook says: no page says `=\"Git repository\"`, which has a translation";
        assert!(
            found.iter().any(|line| line.contains(expected)),
            "{found:?}"
        );
    }

    #[test]
    fn search_that_finds_nothing() {
        let searches = [
            ("断连", "00-spec.html#spec"),
            ("开连", "01-quiet.html#summary"),
        ];
        let found = of_languages(&in_two_languages(), &searches);
        assert_eq!(
            found,
            [
                "searchindex.js: a search for 断连 does not find 00-spec.html#spec",
                "searchindex.js: a search for 开连 does not find 01-quiet.html#summary"
            ]
        );
    }

    #[test]
    fn page_in_another_language_or_without_its_addresses() {
        let page = |html: &str| read_page(html);
        let mut site = Site {
            files: HashSet::from(["zh-CN/index.html".to_string()]),
            pages: BTreeMap::new(),
        };
        site.pages
            .insert("a.html".to_string(), page("<html lang=\"en\"></html>"));
        site.pages.insert(
            "zh-CN/a.html".to_string(),
            page("<html lang=\"en\"></html>"),
        );
        let found: Vec<String> = languages(&site).iter().map(Problem::to_string).collect();
        assert_eq!(
            found,
            [
                "a.html: its language switch leads to None, not to zh-CN/a.html",
                "a.html: its canonical address is None",
                "a.html: its address in the language en is None",
                "a.html: its address in the language zh-CN is None",
                "a.html: its address in the language x-default is None",
                "zh-CN/a.html: its `lang` is Some(\"en\"), not zh-CN",
                "zh-CN/a.html: its language switch leads to None, not to a.html",
                "zh-CN/a.html: its canonical address is None",
                "zh-CN/a.html: its address in the language en is None",
                "zh-CN/a.html: its address in the language zh-CN is None",
                "zh-CN/a.html: its address in the language x-default is None",
            ]
        );
    }

    #[test]
    fn misspelling() {
        let found = misspellings("a.md", "One\ntow teh three\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0]
                .to_string()
                .starts_with("a.md:2: `teh` should be `the`;"),
            "{found:?}"
        );
    }
}
