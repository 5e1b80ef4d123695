//! `cargo run`: serves the book, rebuilds it when a file changes, and says what is wrong with it.

use std::{fs, net::TcpListener, thread, time::Instant};

use examiner::stages;

use crate::{
    program::{Folder, PATIENCE, Running, companion, errors, has, rows},
    visit::Served,
};

#[test]
fn serves_this_book_with_its_title_and_types() {
    let served = Served::start(stages::root());
    let index = served.page("/");
    has(&index, "A Chat Server in Async Rust");
    let kinds = "
        .html | text/html
        .css  | text/css
        .js   | text/javascript
    ";
    for [end, kind] in rows(kinds) {
        // The names carry hashes, so they are taken from the page.
        let mut texts = index.split('"');
        let name = texts.find(|text| text.ends_with(end) && !text.contains("://"));
        let name = name.unwrap_or_else(|| panic!("no {end} in {index}"));
        let file = served.get(&format!("/{name}"));
        assert_eq!(file.status_code, 200, "{name}");
        assert_eq!(file.header("content-type"), Some(kind), "{name}");
    }
    // Killed, it leaves its pages in this repository.
    #[cfg(unix)]
    served.stop();
}

#[test]
fn serves_one_language_or_two_and_answers_an_unknown_page_with_one_of_the_book() {
    let books = ["small", "languages"].map(Folder::of_book);
    let [small, both] = books.each_ref().map(|book| Served::start(book.path()));
    let pages = r#"
        small     | /nowhere.html       | 404 | Page not found - A small book
        small     | /no/where.html      | 404 | Page not found - A small book
        languages | /                   | 200 | href="zh-CN/index.html" hreflang="zh-CN"
        languages | /zh-CN/             | 200 | href="../index.html" hreflang="en"
        languages | /zh-CN/             | 200 | 用异步 Rust 写聊天服务器
        languages | /nowhere.html       | 404 | <title>Page not found -
        languages | /zh-CN/nowhere.html | 404 | <title>页面不存在 -
    "#;
    for [book, path, status, shown] in rows(pages) {
        let served = if book == "small" { &small } else { &both };
        let page = served.get(path);
        assert_eq!(page.status_code.to_string(), status, "{path}");
        has(page.as_str().expect("a page is text"), shown);
    }
}

#[test]
fn shows_an_edit_and_reloads_the_pages() {
    let book = Folder::of_book("small");
    let served = Served::start(book.path());
    for word in ["apple", "banana", "cherry"] {
        let old = served.page("/first.html");
        let page = served.listen(&old);
        book.write("src/first.md", &format!("One {word}.\n"));
        let reloads = thread::spawn(move || page.must_reload());
        // A reader who clicks around meanwhile must never find a page missing, or half of one.
        while !reloads.is_finished() {
            has(&served.page("/second.html"), "</html>");
        }
        reloads.join().expect("the open page reloads");
        let page = served.get("/first.html");
        has(page.as_str().expect("it is text"), &format!("One {word}."));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        // One that was fetched before the rebuild, and listens only now.
        served.listen(&old).must_reload();
    }
}

#[test]
fn rebuilds_for_every_kind_of_source() {
    let book = Folder::of_book("small");
    let served = Served::start(book.path());
    // There is no folder `theme`, so this is also about one that appears later.
    let edits = r#"
        code/listing.txt | a listing    | another listing
        book.toml        | A small book | Another title
        theme/head.hbs   |  | <meta name="new">
        theme/head.hbs   | <meta name="new"> | <meta name="newer">
    "#;
    for [file, old, new] in rows(edits) {
        let page = served.open("/second.html");
        let before = fs::read_to_string(book.path().join(file)).unwrap_or_default();
        book.write(file, &before.replacen(old, new, 1));
        page.must_reload();
        // A new folder and the file in it may show one after the other.
        let deadline = Instant::now() + PATIENCE;
        while !served.page("/second.html").contains(new) {
            assert!(Instant::now() < deadline, "{file} does not show");
        }
    }
}

#[test]
fn keeps_the_last_good_version_and_says_what_is_wrong_in_one_line() {
    let book = Folder::of_book("small");
    let served = Served::start(book.path());
    let faults = r"
        src/first.md   | \n\n{{#include nothing}} | src/first.md:3: {{#include nothing}}: cannot read the file
        src/first.md   | {{#include first.md:whole}} | {{#include first.md:whole}}: the file has no anchor `whole`
        src/SUMMARY.md | - [First](first.md   | SUMMARY.md
        src/SUMMARY.md | - [First](frist.md)  | `frist.md`
        book.toml      | [book                | TOML
    ";
    for [file, text, says] in rows(faults) {
        let good = book.read(file);
        book.write(file, &text.replace(r"\n", "\n"));
        let said = served.running.stderr.until("the pages stay as they were");
        assert!(
            errors(&said).len() == 1 && !said.contains("panicked"),
            "{said}"
        );
        has(&errors(&said)[0], says);
        has(&served.page("/first.html"), "The first chapter");
        book.write(file, &good);
        served.running.stderr.until("rebuilt in");
    }
}

#[test]
fn takes_another_port_than_the_usual_one_and_one_address_only() {
    // Whatever has it, if not this test, it is taken.
    let _taken = TcpListener::bind(("127.0.0.1", 3000));
    let book = Folder::of_book("small");
    let mut command = companion("--no-open --root .");
    let served = Served::of(Running::start(command.current_dir(book.path())));
    assert_ne!(served.port, 3000);
    served.page("/");
    #[cfg(target_os = "linux")]
    {
        // A server on all addresses would have this one too.
        let refused = std::net::TcpStream::connect(("127.0.0.2", served.port));
        let why = refused.expect_err("it has one address").kind();
        assert_eq!(why, std::io::ErrorKind::ConnectionRefused);
    }
}

#[test]
#[cfg(unix)]
fn stops_at_ctrl_c_and_leaves_the_checkout_clean() {
    use crate::program::files;
    let book = Folder::of_book("small");
    let served = Served::start(book.path());
    // An open page must not keep it from stopping.
    let _page = served.open("/first.html");
    served.stop();
    let before = Folder::of_book("small");
    assert_eq!(files(book.path()), files(before.path()));
}
