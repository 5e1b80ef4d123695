//! The rendered site: its links, its edit links, and the spelling of what it says.

mod support;

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
use support::{Book, Problem};
use typos::{Dictionary, Status, tokens};
use unicase::UniCase;

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
    let mut page = tokenizer.sink.0.into_inner();
    page.bytes = html.len();
    page
}

#[derive(Default)]
struct Reader(RefCell<Page>);

impl TokenSink for Reader {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let Token::TagToken(tag) = token else {
            return TokenSinkResult::Continue;
        };
        if tag.kind != TagKind::StartTag {
            return TokenSinkResult::Continue;
        }
        self.0.borrow_mut().note(&tag);
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
    let name = page.trim_end_matches(".html");
    let chapter = book.chapters().find(|chapter| chapter.name == name);
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
        .filter(|(name, _)| !whole.contains(&name.as_str()));
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
    use support::fixture::Fixture;

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
