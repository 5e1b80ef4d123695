//! What `cargo run` does for a reader and an author: serves the book, rebuilds it, says what is wrong,
//! and examines a server.
//!
//! Each test starts the real program, on a port and with a small book of its own.

use std::env::{self, consts::EXE_SUFFIX};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use examiner::{
    conversation::Conditions,
    play,
    process::{FreeAddr, Subject},
};
use tempfile::TempDir;

/// Long enough for a machine that is busy with other tests; nothing waits longer than it must.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn serves_this_book_with_its_title_and_types() {
    let companion = Companion::start(examiner::stages::root(), &["--port", "0"]);
    let index = companion.get("/");
    assert_eq!(index.status, 200);
    assert_eq!(index.header("content-type"), Some("text/html"));
    assert!(
        index.body.contains("A Chat Server in Async Rust"),
        "{}",
        index.body
    );

    // The names carry hashes, so they are taken from the page.
    for (end, mime) in [(".css", "text/css"), (".js", "text/javascript")] {
        let name = index
            .body
            .split('"')
            .find(|text| text.ends_with(end) && !text.contains("://"))
            .unwrap_or_else(|| panic!("no {end} in {}", index.body));
        let file = companion.get(&format!("/{name}"));
        assert_eq!(
            (file.status, file.header("content-type")),
            (200, Some(mime)),
            "{name}"
        );
    }
}

#[test]
fn answers_an_unknown_page_with_the_page_of_the_book() {
    let book = small_book();
    let companion = Companion::start(book.path(), &["--port", "0"]);
    for path in ["/nowhere.html", "/no/where.html"] {
        let page = companion.get(path);
        assert_eq!(page.status, 404, "{path}");
        assert!(
            page.body.contains("Page not found - A small book"),
            "{path}: {}",
            page.body
        );
    }
}

#[test]
fn serves_both_languages() {
    let book = book_in_two_languages();
    let companion = Companion::start(book.path(), &["--port", "0"]);
    for (path, status, shown) in [
        ("/", 200, "href=\"zh-CN/index.html\" hreflang=\"zh-CN\""),
        ("/zh-CN/", 200, "href=\"../index.html\" hreflang=\"en\""),
        ("/zh-CN/", 200, "用异步 Rust 写聊天服务器"),
        ("/nowhere.html", 404, "<title>Page not found - "),
        ("/zh-CN/nowhere.html", 404, "<title>页面不存在 - "),
    ] {
        let page = companion.get(path);
        assert!(
            page.status == status && page.body.contains(shown),
            "{path}: {}: {}",
            page.status,
            page.body
        );
    }
}

#[test]
fn opens_in_the_language_of_the_browser() {
    let pages = pages_in_two_languages();
    for (preferred, language) in [
        ("zh-CN", "zh-CN"),
        ("fr,zh-TW", "zh-CN"),
        ("fr,en,zh", "en"),
    ] {
        let Some(page) = browse(pages.path(), "index.html", preferred) else {
            return;
        };
        let html = format!("<html lang=\"{language}\"");
        assert!(page.contains(&html), "{preferred}: {page}");
    }
}

#[test]
fn keeps_the_section_when_the_language_changes_and_remembers_the_choice() {
    let pages = pages_in_two_languages();
    let Some(page) = browse(pages.path(), "second.html", "en") else {
        return;
    };
    let title = "<title>arrived at #part, zh-CN is remembered</title>";
    assert!(page.contains(title), "{page}");
}

#[test]
fn finds_chinese_words() {
    let pages = pages_in_two_languages();
    for (word, found) in [
        ("断开连接", "“断开连接”有 1 个结果："),
        ("开连", "“开连”有 1 个结果："),
        ("断连", "没有找到“断连”。"),
        ("连接 reading", "“连接 reading”有 1 个结果："),
    ] {
        let file = format!("zh-CN/first.html?search={}", word.replace(' ', "%20"));
        let Some(page) = browse(pages.path(), &file, "zh") else {
            return;
        };
        assert!(page.contains(found), "{word}: {page}");
    }
}

#[test]
fn shows_an_edit_and_reloads_the_open_page() {
    let book = small_book();
    let companion = Companion::start(book.path(), &["--port", "0"]);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // A reader who clicks around meanwhile must never see a page missing.
        let (port, stop) = (companion.port, &stop);
        let reader = scope.spawn(move || {
            let mut pages = 0;
            while !stop.load(Ordering::Relaxed) {
                let page = get(port, "/second.html");
                assert_eq!(page.status, 200);
                assert!(page.body.contains("</html>"), "half a page: {}", page.body);
                pages += 1;
            }
            pages
        });
        // Stops the reader also when an assertion fails, or the scope would wait for ever.
        let stopper = Stopper(stop);
        for word in ["apple", "banana", "cherry"] {
            let mut page = OpenPage::open(&companion, "/first.html");
            write(
                book.path(),
                "src/first.md",
                &format!("# First\n\nThe {word} is here.\n"),
            );
            assert_eq!(page.hear(), "reload");
            let page = companion.get("/first.html");
            assert!(
                page.body.contains(&format!("The {word} is here.")),
                "{}",
                page.body
            );
            assert_eq!(page.header("cache-control"), Some("no-store"));
        }
        drop(stopper);
        assert!(reader.join().expect("every page was whole") > 0);
    });
}

#[test]
fn rebuilds_for_every_kind_of_source() {
    let book = small_book();
    let companion = Companion::start(book.path(), &["--port", "0"]);
    let config = "[book]\ntitle = \"Another title\"\n";
    let edits = [
        (
            "code/listing.txt",
            "ANCHOR: part\na changed listing\nANCHOR_END: part\n",
            "a changed listing",
        ),
        ("book.toml", config, "Another title"),
        // The folder does not exist before, so this is also about a folder that appears later.
        (
            "theme/head.hbs",
            "<meta name=\"from-the-theme\">\n",
            "from-the-theme",
        ),
        (
            "theme/head.hbs",
            "<meta name=\"from-the-theme-again\">\n",
            "from-the-theme-again",
        ),
    ];
    for (file, text, shown) in edits {
        let mut page = OpenPage::open(&companion, "/second.html");
        write(book.path(), file, text);
        assert_eq!(page.hear(), "reload", "{file}");
        // A new folder and the file in it may show one after the other.
        let deadline = Instant::now() + PATIENCE;
        while !companion.get("/second.html").body.contains(shown) {
            assert!(Instant::now() < deadline, "{file} does not show");
        }
    }
}

#[test]
fn tells_a_page_that_was_fetched_before_the_last_rebuild() {
    let book = small_book();
    let companion = Companion::start(book.path(), &["--port", "0"]);
    let old = companion.get("/first.html").body;
    let mut page = OpenPage::open(&companion, "/first.html");
    write(book.path(), "src/first.md", "# First\n\nNew.\n");
    assert_eq!(page.hear(), "reload");
    assert_eq!(OpenPage::listen(&companion, &old).hear(), "reload");
}

#[test]
fn keeps_the_last_good_version_and_says_what_is_wrong_in_one_line() {
    let book = small_book();
    let companion = Companion::start(book.path(), &["--port", "0"]);
    let missing_file = "src/first.md:3: {{#include ../code/nothing.txt}}: cannot read the file:";
    let missing_anchor = "src/first.md:3: {{#include ../code/listing.txt:whole}}: \
                          the file has no anchor `whole`";
    let faults = [
        (
            "src/first.md",
            "# First\n\n{{#include ../code/nothing.txt}}\n",
            missing_file,
        ),
        (
            "src/first.md",
            "# First\n\n{{#include ../code/listing.txt:whole}}\n",
            missing_anchor,
        ),
        (
            "src/SUMMARY.md",
            "# Summary\n\n- [First](first.md\n",
            "SUMMARY.md",
        ),
        (
            "src/SUMMARY.md",
            "# Summary\n\n- [First](frist.md)\n",
            "failed to read chapter `frist.md`",
        ),
        ("book.toml", "[book\n", "TOML"),
    ];
    for (file, text, says) in faults {
        let good = fs::read_to_string(book.path().join(file)).expect("the file of the small book");
        write(book.path(), file, text);
        let lines = companion.stderr_until("the pages stay as they were");
        let errors: Vec<&String> = lines
            .iter()
            .filter(|line| line.starts_with("error: "))
            .collect();
        assert!(
            errors.len() == 1 && unixlike(errors[0]).contains(says),
            "{says}: {lines:#?}"
        );
        assert!(
            !lines.iter().any(|line| line.contains("panicked")),
            "{lines:#?}"
        );
        let page = companion.get("/first.html");
        assert!(
            page.status == 200 && page.body.contains("The first chapter"),
            "{}",
            page.body
        );

        write(book.path(), file, &good);
        companion.stderr_until("rebuilt in");
    }
}

#[test]
fn shows_what_it_can_when_the_book_has_faults_from_the_start() {
    let book = small_book();
    write(
        book.path(),
        "src/first.md",
        "# First\n\n{{#include ../code/listing.txt:whole}}\n",
    );
    let companion = Companion::start(book.path(), &["--port", "0"]);
    companion.stderr_until("the file has no anchor `whole`");
    assert_eq!(companion.get("/first.html").status, 200);
}

#[test]
fn fails_in_one_line_without_a_book() {
    let book = small_book();
    fs::remove_file(book.path().join("src/SUMMARY.md")).expect("it was there");
    let output = run(&["--port", "0", "--no-open", "--root", text(book.path())]);
    assert_error(&output, "SUMMARY.md");
}

#[test]
fn refuses_a_port_that_is_taken() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let book = small_book();
    let output = run(&["--port", &port, "--no-open", "--root", text(book.path())]);
    assert_error(&output, &format!("cannot serve on port {port}: "));
}

#[test]
fn takes_another_port_when_the_usual_one_is_taken() {
    // Whoever has it, if not this test, it is taken.
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 3000));
    let book = small_book();
    let companion = Companion::start(book.path(), &[]);
    assert_ne!(companion.port, 3000);
    assert_eq!(companion.get("/").status, 200);
}

#[test]
#[cfg(target_os = "linux")]
fn listens_on_one_loopback_address_only() {
    let book = small_book();
    let companion = Companion::start(book.path(), &["--port", "0"]);
    // A server on all addresses would have this one too.
    let refused = TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), companion.port));
    assert_eq!(
        refused.map_err(|error| error.kind()).err(),
        Some(ErrorKind::ConnectionRefused)
    );
}

#[test]
#[cfg(unix)]
fn stops_at_ctrl_c_and_leaves_the_checkout_clean() {
    let book = small_book();
    let mut companion = Companion::start(book.path(), &["--port", "0"]);
    // An open page must not keep it from stopping.
    let _page = OpenPage::open(&companion, "/first.html");
    send("INT", &companion.child);
    assert_eq!(companion.wait().code(), Some(0));

    let mut left: Vec<_> = fs::read_dir(book.path())
        .expect("the book is there")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["book.toml", "code", "src", "target"]);
    let versions = fs::read_dir(book.path().join("target/book")).expect("it was built there");
    assert_eq!(versions.count(), 0);
}

#[test]
fn builds_into_a_folder_and_again_over_its_own_work() {
    let book = small_book();
    let dir = book.path().join("target/pages");
    for _ in 0..2 {
        let output = run(&["build", text(&dir), "--root", text(book.path())]);
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout);
        let index = PathBuf::from(said.trim_end());
        assert_eq!(index, dir.join("index.html"));
        let page = fs::read_to_string(index).expect("it is where it was said to be");
        assert!(
            page.contains("A small book") && !page.contains("live-reload"),
            "{page}"
        );
    }
}

#[test]
fn builds_beside_book_toml_when_no_folder_is_named() {
    let book = small_book();
    let output = run(&["build", "--root", text(book.path())]);
    assert!(output.status.success(), "{output:?}");
    assert!(book.path().join("book/first.html").is_file());
}

#[test]
fn refuses_to_empty_a_folder_that_is_not_a_book() {
    let book = small_book();
    let root = text(book.path());
    let foreign = TempDir::new().expect("a folder");
    let file = foreign.path().join("index.html");
    fs::write(&file, "mine").expect("it can be written");
    assert_error(
        &run(&["build", text(foreign.path()), "--root", root]),
        "is left alone",
    );
    assert_eq!(
        fs::read_to_string(&file).expect("it is still there"),
        "mine"
    );
    assert_error(
        &run(&["build", text(&file), "--root", root]),
        "is not a folder",
    );

    // A book that is kept in a repository of its own: emptying it would take the history along.
    let kept = TempDir::new().expect("a folder");
    assert!(
        run(&["build", text(kept.path()), "--root", root])
            .status
            .success()
    );
    fs::create_dir(kept.path().join(".git")).expect("it can be made");
    assert_error(
        &run(&["build", text(kept.path()), "--root", root]),
        "is left alone",
    );
}

#[test]
fn a_build_with_faults_names_the_line_and_fails() {
    let book = small_book();
    write(
        book.path(),
        "src/second.md",
        "# Second\n\n\\{{#include nothing}}\n{{#include nothing}}\n",
    );
    let output = run(&["build", "--root", text(book.path())]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        unixlike(&said).starts_with("error: src/second.md:4: {{#include nothing}}: "),
        "{said}"
    );
}

#[test]
fn check_without_a_stage_lists_what_each_chapter_demands() {
    let output = run(&["check"]);
    let stdout = said(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for line in ["\n04-broker\n", "      two-people-chat\n", "\n11-drain\n"] {
        assert!(stdout.contains(line), "{stdout}");
    }
    assert!(
        !stdout.contains("everyone-is-a-destination"),
        "an exercise is no demand: {stdout}"
    );
    assert!(!stdout.contains('\u{1b}'), "no colours in a pipe: {stdout}");
}

#[test]
fn check_examines_a_stage_of_the_book() {
    let output = run(&["check", "02-read"]);
    let stdout = said(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert!(
        stdout.starts_with("✓  The server reports each connection"),
        "{stdout}"
    );
    assert!(stdout.contains("\n02-read: 7 held\n"), "{stdout}");
}

#[test]
fn check_tells_what_falls_short() {
    let output = run(&["check", "04-broker", "a-half-close-is-a-goodbye"]);
    let stdout = said(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    for line in [
        "bob    < from bob: 2\n",
        "bob    ! nothing comes within 2 s\n",
        "✗  After the last reply to a client that has finished sending, the server closes the connection\n",
        "   The specification, rule 5.1: A client says goodbye by closing",
        "   Expected: the end of the connection\n",
        "   But:      nothing comes within 2 s\n",
    ] {
        assert!(stdout.contains(line), "{line}: {stdout}");
    }
}

#[test]
fn check_prints_json() {
    let output = run(&["check", "01-accept", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(json["held"], true);
    assert_eq!(
        json["requirements"][0]["name"],
        "each-connection-is-reported"
    );
    assert_eq!(json["requirements"][0]["result"], "held");
    assert_eq!(json["counts"]["held"], 1);
    assert_eq!(json["counts"]["still-to-come"], 0);

    let output = run(&["check", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(json[0]["name"], "each-connection-is-reported");

    let output = run(&["check", "04-brokr", "--format", "json"]);
    assert_eq!(output.status.code(), Some(2));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let error = json["error"].as_str().expect("it says why");
    assert!(error.starts_with("there is no server named"), "{error}");
}

/// A server that runs already meets one conversation after another, among them those that wait.
#[test]
fn check_examines_stages_that_run_already() {
    let stages = examiner::stages::build().expect("the stages build");
    let names = examiner::stages::server_names();
    thread::scope(|scope| {
        for name in &names {
            let program = Subject::from(stages.program(name).expect("it is a stage"));
            scope.spawn(move || {
                let server = program.start(&Conditions::default()).expect("it starts");
                let output = run(&["check", name, "--addr", &server.addr().to_string()]);
                let (stdout, stderr) = (said(&output.stdout), said(&output.stderr));
                if name == "01-accept" {
                    // It reports, and nothing comes over a socket.
                    assert_eq!(output.status.code(), Some(2), "{stdout}");
                    assert!(stderr.contains("nothing could be examined: "), "{stderr}");
                } else {
                    assert_eq!(output.status.code(), Some(0), "{name}: {stdout}{stderr}");
                }
                if name == "02-read" {
                    let addr = server.addr().to_string();
                    let output = run(&["check", name, "--addr", &addr, "--format", "json"]);
                    let json: serde_json::Value =
                        serde_json::from_slice(&output.stdout).expect("it is JSON");
                    assert_eq!(json["held"], true, "as the status says");
                    assert_ne!(json["counts"]["not-examined"], 0);
                }
            });
        }
    });
}

/// What a server says may be meant for the terminal that it appears on.
#[test]
#[cfg(unix)]
fn check_escapes_what_a_server_says() {
    let stages = examiner::stages::build().expect("the stages build");
    let accept = text(stages.program("01-accept").expect("it is a stage"));
    let clears = format!(
        "{accept} {{addr}} 2>&1 >/dev/null | \
         while read -r line; do printf '\\033[2J\\342\\200\\256%s\\n' \"$line\" >&2; done"
    );
    let output = run(&["check", "01-accept", "--", "sh", "-c", &clears]);
    let stdout = said(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(
        stdout.contains("\\u{1b}[2J\\u{202e}accepted 127.0.0.1:50001`"),
        "{stdout}"
    );
    assert!(!stdout.contains(['\u{1b}', '\u{202e}']), "{stdout}");
}

#[test]
#[cfg(unix)]
fn check_tells_the_last_words_of_a_server() {
    let stages = examiner::stages::build().expect("the stages build");
    let accept = text(stages.program("01-accept").expect("it is a stage"));
    let panics = format!(
        "printf 'x\\nthread panicked at src/main.rs:7:9:\\nno such luck\\n' >&2; exec {accept} {{addr}}"
    );
    let check = ["check", "04-broker", "two-people-chat"];
    let output = run(&[&check[..], &["--", "sh", "-c", &panics]].concat());
    let stdout = said(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    let words = "\n      thread panicked at src/main.rs:7:9:\n      no such luck\n\n";
    assert!(
        stdout.contains(&format!("   The server's last words on stderr:\n{words}")),
        "{stdout}"
    );
}

#[test]
fn check_tells_a_server_that_goes_away() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let addr = listener.local_addr().expect("it is bound").to_string();
    // Two times it is only looked for.
    thread::spawn(move || listener.incoming().take(3).for_each(drop));
    let output = run(&["check", "03-write", "--all", "--addr", &addr]);
    let stdout = said(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(stdout.contains("now it is not any more"), "{stdout}");
    // Nobody waits for it again and again.
    assert_eq!(stdout.matches('✗').count(), 1, "{stdout}");
    assert!(stdout.contains("\n03-write: 1 held, "), "{stdout}");
}

/// Each is one clear line, with status 2 and nothing on stdout.
#[test]
fn check_says_why_it_cannot_examine() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let addr = closed.local_addr().expect("it is bound").to_string();
    drop(closed);
    let empty = TempDir::new().expect("a folder can be made");
    for (arguments, wanted) in [
        (
            vec!["04-brokr"],
            "there is no server named 04-brokr; there are: 01-accept, 02-read",
        ),
        (
            vec!["4-broker", "two-people-chat"],
            "there is no server named 4-broker; there are: 01-accept",
        ),
        (vec!["--addr", &addr], "up to which chapter?"),
        (
            vec!["04-broker", "--watch", "--addr", &addr],
            "'--watch' cannot be used with",
        ),
        (
            vec!["04-broker", "two-people-shout"],
            "there is no conversation named two-people-shout",
        ),
        (
            vec!["04-broker", "--addr", &addr],
            "cannot reach a server on",
        ),
        (
            vec!["04-broker", "--addr", "nonsense"],
            "nonsense is no address",
        ),
        (
            vec!["04-broker", "--dir", text(empty.path())],
            "holds no Cargo.toml",
        ),
        (
            vec!["04-broker", "--", "no-such-program", "{addr}"],
            "cannot start",
        ),
        (
            vec!["04-broker", "--", "python3", "chat.py"],
            "the command has no {addr}, which stands for the address",
        ),
    ] {
        let output = run(&[vec!["check"], arguments.clone()].concat());
        let stderr = said(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert_eq!(said(&output.stdout), "", "{arguments:?}");
        let errors: Vec<&str> = stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .collect();
        assert!(
            matches!(errors.as_slice(), [line] if line.contains(wanted)),
            "{arguments:?}: {stderr}"
        );
    }
}

/// What a listener may do instead of chatting. Each ends the examination in one verdict, in time.
#[test]
fn check_gets_over_strange_servers() {
    type Strange = fn(TcpStream);
    let strange: [(&str, Strange); 5] = [
        ("says nothing", |stream| held(&stream)),
        ("closes at once", drop),
        ("sends without end", |mut stream| {
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        }),
        ("sends lines without end", |mut stream| {
            while stream.write_all(b"from nobody: x\n").is_ok() {}
        }),
        ("speaks HTTP", |mut stream| {
            // The client may be gone already.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }),
    ];
    thread::scope(|scope| {
        for (what, strange) in strange {
            scope.spawn(move || {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
                let addr = listener.local_addr().expect("it is bound").to_string();
                thread::spawn(move || {
                    for stream in listener.incoming().flatten() {
                        thread::spawn(move || strange(stream));
                    }
                });
                // It ends in the time that this waits for it.
                let output = run(&["check", "04-broker", "--addr", &addr]);
                let stdout = said(&output.stdout);
                assert_eq!(output.status.code(), Some(1), "{what}: {stdout}");
                assert_eq!(stdout.matches('✗').count(), 1, "{what}: {stdout}");
                assert!(stdout.len() < 10_000, "{what}: {stdout}");
            });
        }
    });
}

/// Keeps a connection open until the other side closes it.
fn held(mut stream: &TcpStream) {
    // Whatever ends it is the end.
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

/// A server that dies in the middle, and one that takes its time to listen.
#[test]
#[cfg(unix)]
fn check_tells_a_server_that_dies_and_waits_for_one_that_is_late() {
    let broker = examiner::stages::build().expect("the stages build");
    let broker = text(broker.program("04-broker").expect("it is a stage"));
    let late = format!("sleep 1; exec {broker} {{addr}}");
    let output = run(&[
        "check",
        "04-broker",
        "two-people-chat",
        "--",
        "sh",
        "-c",
        &late,
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output.stdout));

    // It ends by the signal that the conversation sends, and the rest cannot be had.
    let output = run(&["check", "05-shutdown", "--", broker, "{addr}"]);
    let stdout = said(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(
        stdout.contains("✗  Ctrl-C ends a server that nobody has used"),
        "{stdout}"
    );

    let output = run(&[
        "check",
        "04-broker",
        "--",
        "sh",
        "-c",
        "echo no luck >&2; exit 3",
        "{addr}",
    ]);
    let stderr = said(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains(
            "the server ended before it listened (exit status: 3); it reported `no luck`"
        ),
        "{stderr}"
    );
}

/// Some systems give a program few; that is no fault of the server.
#[test]
#[cfg(unix)]
fn check_has_descriptors_for_all_its_clients() {
    let script = r#"ulimit -S -n 64; exec "$0" check 04-broker a-hundred-clients-at-once"#;
    let output = end_of(Command::new("sh").args(["-c", script]).arg(program()));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output.stdout));
}

/// A shell waits for the server, and a signal is for both.
#[test]
#[cfg(unix)]
fn check_leaves_nothing_behind_of_a_server_that_another_process_starts() {
    let stages = examiner::stages::build().expect("the stages build");
    let shutdown = text(stages.program("05-shutdown").expect("it is a stage"));
    let script = format!("trap : INT TERM; {shutdown} $1; exit $?");
    let output = end_of(&mut check_with_all_it_starts(
        &["05-shutdown", "--all"],
        &script,
    ));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output.stdout));
}

/// Its servers do not even listen.
#[test]
#[cfg(unix)]
fn check_takes_its_servers_with_it_when_it_is_told_to_end() {
    use std::os::unix::process::ExitStatusExt as _;
    for (name, number) in [("INT", 2), ("TERM", 15)] {
        let mut command =
            check_with_all_it_starts(&["04-broker"], "echo begun >&3; sleep 1000; true");
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut check = Ended(child.expect("it can be run"));
        let said = lines(check.0.stderr.take().expect("it is piped"));
        assert_eq!(said.recv_timeout(PATIENCE).as_deref(), Ok("begun"));
        send(name, &check.0);
        let end = loop {
            match said.recv_timeout(PATIENCE) {
                // Another has begun.
                Ok(line) if line == "begun" => {}
                end => break end,
            }
        };
        assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected), "{name}");
        // As a shell sees that its whole script is to end.
        let status = check.0.wait().expect("it has ended");
        assert_eq!(status.signal(), Some(number), "{name}: {status}");
    }
}

/// The ports that clients got differ from run to run; what is expected names them as the transcript does.
#[test]
#[cfg(unix)]
fn check_shows_an_address_by_the_same_name_everywhere() {
    let stages = examiner::stages::build().expect("the stages build");
    let accept = text(stages.program("01-accept").expect("it is a stage"));
    let silent = format!("exec {accept} {{addr}} 2>/dev/null");
    let output = run(&["check", "01-accept", "--", "sh", "-c", &silent]);
    let stdout = said(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(
        stdout.contains("   Expected: the server reports `accepted 127.0.0.1:50001`\n"),
        "{stdout}"
    );
}

#[test]
fn new_makes_a_project_that_compiles_and_can_be_examined() {
    let folder = TempDir::new().expect("a folder can be made");
    let book = folder.path().join("book");
    fs::create_dir(&book).expect("it is new");
    let output = run(&["new", text(&book.join("..").join("my-chat"))]);
    let stdout = said(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output.stderr));
    assert!(!stdout.contains(".."), "{stdout}");
    let dir = folder.path().join("my-chat");
    let read = |file: &str| fs::read_to_string(dir.join(file)).expect("it was made");
    // Of the book's libraries it has those of the stages, and none of the examples or the tests.
    let manifest = read("Cargo.toml");
    let libraries: Vec<&str> = manifest
        .split_once("[dependencies]\n")
        .expect("it has libraries")
        .1
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let wanted = [
        "async-std",
        "clap",
        "ctrlc",
        "futures",
        "socket2",
        "unicode-normalization",
    ];
    assert_eq!(libraries, wanted, "{manifest}");
    assert!(read("rustfmt.toml").contains("max_width = 80"));
    // It has what the first chapter needs: the chapter's program in its place is built and held.
    let stage = examiner::stages::root().join("code/src/bin/01-accept.rs");
    fs::copy(stage, dir.join("src/main.rs")).expect("the project can be written to");
    // Its libraries are kept from one test run to the next.
    let target = examiner::stages::root().join("target/new");
    let output = Command::new(program())
        .args(["check", "01-accept", "--dir", text(&dir)])
        .env("CARGO_TARGET_DIR", target)
        .output()
        .expect("it can be run");
    let stdout = said(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{stdout}{}",
        said(&output.stderr)
    );
    assert!(stdout.ends_with("\n01-accept: 1 held\n"), "{stdout}");
}

#[test]
fn check_watches_the_files_of_a_project() {
    let folder = TempDir::new().expect("a folder can be made");
    // Its program has a name of its own in the target folder that the tests share.
    let dir = folder.path().join("watched-chat");
    assert_eq!(run(&["new", text(&dir)]).status.code(), Some(0));
    write(&dir, "src/main.rs", "fn main() {}\n");
    let child = Command::new(program())
        .args(["check", "01-accept", "--watch", "--dir", text(&dir)])
        .env(
            "CARGO_TARGET_DIR",
            examiner::stages::root().join("target/new"),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be run");
    let mut child = Ended(child);
    let stdout = lines(child.0.stdout.take().expect("it is piped"));
    let stderr = lines(child.0.stderr.take().expect("it is piped"));
    let until = |lines: &mpsc::Receiver<String>, wanted: &str| {
        loop {
            let line = lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("no `{wanted}`: {error}"));
            if line.contains(wanted) {
                break;
            }
        }
    };
    until(
        &stderr,
        "error: the server ended before it listened (exit status: 0); a future does nothing",
    );
    until(&stdout, "Waiting for a change in ");
    let stage = examiner::stages::root().join("code/src/bin/01-accept.rs");
    let stage = fs::read_to_string(stage).expect("it is a stage");
    write(&dir, "src/main.rs", &stage);
    until(&stdout, "01-accept: 1 held");
    until(&stdout, "Waiting for a change in ");
    // What does not compile is said, and watched on.
    write(&dir, "src/main.rs", "fn main() {\n");
    until(&stderr, "does not build; the compiler says why above");
    until(&stdout, "Waiting for a change in ");
    write(&dir, "src/main.rs", &stage.replace("accepted", "welcomed"));
    until(&stdout, "01-accept: 0 held, 1 fell short");
}

/// Calls this so often while others start processes, each of which has copies of our descriptors until its
/// program runs. Returns how often it was true.
fn while_processes_start(times: usize, mut is_wrong: impl FnMut() -> bool) -> usize {
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let ended = Command::new("true").status().expect("it can be run");
                    assert!(ended.success());
                }
            });
        }
        let wrong = (0..times).filter(|_| is_wrong()).count();
        enough.store(true, Ordering::Relaxed);
        wrong
    })
}

#[test]
#[cfg(target_os = "linux")]
fn check_resets_connections_at_once_although_servers_start() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
    let addr = listener.local_addr().expect("it is bound");
    let late = while_processes_start(1000, || {
        let ours = TcpStream::connect(addr).expect("it listens");
        let (mut theirs, _) = listener.accept().expect("we connected");
        theirs.set_nonblocking(true).expect("it is a socket");
        play::reset(&ours).expect("it is connected");
        !matches!(theirs.read(&mut [0]), Err(error) if error.kind() == ErrorKind::ConnectionReset)
    });
    assert_eq!(late, 0, "of 1000");
}

#[test]
#[cfg(unix)]
fn check_gives_commands_an_address_at_which_nobody_listens_yet() {
    let taken = while_processes_start(1000, || {
        let free = FreeAddr::find().expect("there is one");
        TcpStream::connect(free.addr()).is_ok()
    });
    assert_eq!(taken, 0, "of 1000");
}

#[test]
fn new_overwrites_nothing() {
    let folder = TempDir::new().expect("a folder can be made");
    let dir = folder.path().join("my-chat");
    fs::create_dir(&dir).expect("it is new");
    fs::write(dir.join("notes"), "mine").expect("it can be written to");
    let inside = examiner::stages::root().join("my-chat");
    for (dir, wanted) in [
        (dir.clone(), "exists and is left as it is"),
        (inside, "is inside the book"),
        (folder.path().join("no").join("such"), "there is no folder"),
        (folder.path().join("1st chat"), "the name of the package"),
    ] {
        let output = run(&["new", text(&dir)]);
        let stderr = said(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(wanted), "{stderr}");
    }
    let left: Vec<_> = fs::read_dir(&dir).expect("it is there").collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn help_fits_a_screen() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(help.lines().count() <= 24, "{help}");
    assert!(
        help.lines().all(|line| line.chars().count() <= 80),
        "{help}"
    );
    for word in ["build", "check", "--port", "--no-open"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    assert!(!help.contains("--root"), "{help}");
}

#[test]
fn wrong_arguments_are_answered_with_what_there_is() {
    for arguments in [["serv"], ["--prot=1"], ["--port=x"]] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.starts_with("error: "), "{said}");
        assert!(said.contains("  build   Write the book"), "{said}");
        assert!(output.stdout.is_empty());
    }
}

/// A book of two chapters, one of which includes a listing.
fn small_book() -> TempDir {
    let book = TempDir::new().expect("a folder for a book");
    for (file, text) in [
        ("book.toml", "[book]\ntitle = \"A small book\"\n"),
        (
            "src/SUMMARY.md",
            "# Summary\n\n- [First](first.md)\n- [Second](second.md)\n",
        ),
        ("src/first.md", "# First\n\nThe first chapter.\n"),
        (
            "src/second.md",
            "# Second\n\n```text\n{{#include ../code/listing.txt:part}}\n```\n",
        ),
        (
            "code/listing.txt",
            "ANCHOR: part\na listing\nANCHOR_END: part\n",
        ),
    ] {
        write(book.path(), file, text);
    }
    book
}

/// A small book in English and Chinese. One of its pages changes the language as a reader would, and its
/// counterpart says what came of that in its title.
fn book_in_two_languages() -> TempDir {
    let book = small_book();
    for (file, text) in [
        (
            "book.toml",
            "[book]\ntitle = \"A small book\"\nsrc = \"src/en\"\n[output.html]\n\
             git-repository-url = \"https://git.example/\"\n\
             edit-url-template = \"https://git.example/{path}\"\n",
        ),
        (
            "src/en/SUMMARY.md",
            "- [First](first.md)\n- [Second](second.md)\n",
        ),
        ("src/en/first.md", "# First\n"),
        (
            "src/en/second.md",
            "# Second\n\n## Part\n\n<script>addEventListener('load', () => {\n\
             location.hash = 'part';\ndocument.getElementById('language').click();\n});</script>\n",
        ),
        (
            "src/zh-CN/SUMMARY.md",
            "- [甲](first.md)\n- [乙](second.md)\n",
        ),
        ("src/zh-CN/first.md", "# 甲 {#first}\n\n连接\n\n断\n"),
        (
            "src/zh-CN/second.md",
            "# 乙 {#second}\n\n## 部分 {#part}\n\n断开连接之后，还在 read。\n\n<script>\n\
             const remembered = localStorage.getItem('mdbook-language');\n\
             document.title = `arrived at ${location.hash}, ${remembered} is remembered`;\n</script>\n",
        ),
    ] {
        write(book.path(), file, text);
    }
    book
}

/// The pages of that book, as static files.
fn pages_in_two_languages() -> TempDir {
    let book = book_in_two_languages();
    let pages = TempDir::new().expect("a folder for the pages");
    let output = run(&["build", text(pages.path()), "--root", text(book.path())]);
    assert!(output.status.success(), "{output:?}");
    pages
}

/// A file as it is when its scripts have run, in a browser that prefers these languages; nothing where
/// there is no Chromium.
fn browse(folder: &Path, file: &str, languages: &str) -> Option<String> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let Some(browser) = ["google-chrome", "chromium", "chromium-browser"]
        .iter()
        .flat_map(|name| env::split_paths(&folders).map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
    else {
        // Past the capture of test output: whoever runs the tests ought to know.
        let _ = writeln!(
            std::io::stderr(),
            "not tested in a browser: there is no Chromium"
        );
        return None;
    };
    let profile = TempDir::new().expect("a folder for the browser");
    let mut child = Command::new(browser)
        // As root, as in many containers, it runs without its sandbox only; the pages are ours.
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        // The clock of the page runs ahead whenever nothing is being loaded.
        .args(["--virtual-time-budget=30000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", text(profile.path())))
        .arg(format!("--accept-lang={languages}"))
        .arg(format!("file://{}/{file}", text(folder)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the browser can be run");
    let page = whole(child.stdout.take().expect("it is piped")).recv_timeout(PATIENCE);
    // It has printed what it had to.
    let _ = child.kill();
    let _ = child.wait();
    Some(said(&page.expect("the browser shows the page in time")))
}

/// Replaces a file at once, as careful editors do, so that one edit is one change.
fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    let folder = path.parent().expect("a file is in a folder");
    fs::create_dir_all(folder).expect("the folder can be made");
    let draft = folder.join(".draft");
    fs::write(&draft, text).expect("the draft can be written");
    fs::rename(draft, path).expect("the draft can take the place of the file");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of this test")
}

/// Paths in messages have the separator of the system.
fn unixlike(message: &str) -> String {
    message.replace('\\', "/")
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn bench_refuses_to_measure_a_debug_build() {
    if !cfg!(debug_assertions) {
        return;
    }
    let output = run(&["bench", "06-disconnect"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(
        said,
        "error: a build without optimisation says nothing about speed; run `cargo run --release -- bench`\n"
    );
}

/// The companion, built as `cargo run` builds it, beside this test.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let test = env::current_exe().expect("a test knows where it is");
        // The test is TARGET/PROFILE/deps/NAME.
        let profile = test.ancestors().nth(2).expect("the folder of the profile");
        let target = profile.parent().expect("the target folder");
        let name = profile.file_name().expect("the profile has a name");
        let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--bin", "companion", "--profile"])
            .arg(if name == "debug" {
                "dev".as_ref()
            } else {
                name
            })
            .arg("--target-dir")
            .arg(target)
            .current_dir(examiner::stages::root())
            .status()
            .expect("cargo can be run");
        assert!(status.success(), "the companion does not build");
        profile.join(format!("companion{EXE_SUFFIX}"))
    })
}

/// Runs the companion to its end, which must come by itself.
fn run(arguments: &[&str]) -> Output {
    end_of(Command::new(program()).args(arguments))
}

/// The companion with this command as its server. Whatever the command starts has the same stderr as the
/// companion, also as descriptor 3, so that who reads it to the end has waited for all of them.
#[cfg(unix)]
fn check_with_all_it_starts(arguments: &[&str], script: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"exec "$0" check "$@" 3>&2"#])
        .arg(program())
        .args(arguments)
        .args(["--", "sh", "-c", script, "sh", "{addr}"]);
    command
}

/// Runs this to its end, which must come by itself.
fn end_of(command: &mut Command) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be run");
    let stdout = whole(child.stdout.take().expect("it is piped"));
    let stderr = whole(child.stderr.take().expect("it is piped"));
    // Its streams close when it ends, which can be waited for with a deadline.
    let (Ok(stdout), Ok(stderr)) = (stdout.recv_timeout(PATIENCE), stderr.recv_timeout(PATIENCE))
    else {
        // What matters is the failure of the test.
        let _ = child.kill();
        let _ = child.wait();
        panic!("{command:?} goes on and on");
    };
    let status = child.wait().expect("it has ended");
    Output {
        status,
        stdout,
        stderr,
    }
}

/// Reads to the end in a thread of its own.
fn whole(mut from: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is good enough to judge by; a test that waits no more needs nothing.
        let _ = from.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

#[cfg(unix)]
fn send(signal: &str, to: &Child) {
    let sent = Command::new("kill")
        .args(["-s", signal, &to.id().to_string()])
        .status()
        .expect("kill can be run");
    assert!(sent.success());
}

/// It failed as it should: status 1, one line on stderr that says why, nothing on stdout.
fn assert_error(output: &Output, says: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("error: ") && said.contains(says),
        "{says}: {said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running companion, ended with the test.
struct Companion {
    child: Child,
    root: PathBuf,
    port: u16,
    stderr: mpsc::Receiver<String>,
}

impl Companion {
    fn start(root: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(program())
            .args(arguments)
            .args(["--no-open", "--root", text(root)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it can be run");
        let stdout = lines(child.stdout.take().expect("it is piped"));
        let stderr = lines(child.stderr.take().expect("it is piped"));
        let mut companion = Self {
            child,
            root: root.to_path_buf(),
            port: 0,
            stderr,
        };
        let line = stdout
            .recv_timeout(PATIENCE)
            .expect("it says where the book is");
        let port = line
            .strip_prefix("the book is at http://127.0.0.1:")
            .and_then(|rest| rest.strip_suffix("/  (Ctrl-C stops)"));
        companion.port = port.and_then(|port| port.parse().ok()).expect(&line);
        companion
    }

    fn get(&self, path: &str) -> Page {
        get(self.port, path)
    }

    /// The lines on stderr up to the first that contains `end`.
    fn stderr_until(&self, end: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.stderr.recv_timeout(PATIENCE);
            lines.push(line.unwrap_or_else(|_| panic!("no \"{end}\" after {lines:#?}")));
            if lines.last().is_some_and(|line| line.contains(end)) {
                return lines;
            }
        }
    }

    #[cfg(unix)]
    fn wait(&mut self) -> ExitStatus {
        // Its stderr closes when it ends, which can be waited for with a deadline.
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
        self.child.wait().expect("it has ended")
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Killed, it could not remove its pages; a repository that is tested often would fill up.
        let pages = self.root.join("target/book").join(self.port.to_string());
        let _ = fs::remove_dir_all(pages);
    }
}

/// Reads lines in a thread of its own, so that a test can wait for one with a deadline.
fn lines(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout that is not zero");
    stream
}

fn get(port: u16, path: &str) -> Page {
    let mut stream = connect(port);
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .expect("it reads requests");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let answer = String::from_utf8(answer).expect("the text of a page");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Page {
        status: status.expect("a status"),
        head: head.to_string(),
        body: body.to_string(),
    }
}

struct Page {
    status: u16,
    head: String,
    body: String,
}

impl Page {
    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }
}

/// What the script of a page does in a browser: it waits to be told to reload.
struct OpenPage {
    socket: TcpStream,
}

impl OpenPage {
    fn open(companion: &Companion, path: &str) -> Self {
        Self::listen(companion, &companion.get(path).body)
    }

    /// Listens as this page would.
    fn listen(companion: &Companion, page: &str) -> Self {
        let path = page
            .split('"')
            .find(|text| text.starts_with("live-reload/"))
            .unwrap_or_else(|| panic!("this page does not listen: {page}"));
        let mut socket = connect(companion.port);
        write!(
            socket,
            "GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .expect("it reads requests");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte).expect("the head of an answer");
            head.extend(byte);
        }
        assert!(
            head.starts_with(b"HTTP/1.1 101 "),
            "{}",
            String::from_utf8_lossy(&head)
        );
        Self { socket }
    }

    /// Waits for a message: one short frame of text.
    fn hear(&mut self) -> String {
        let mut frame = [0; 2];
        self.socket.read_exact(&mut frame).expect("a message");
        assert_eq!(frame[0], 0x81, "the first byte of a text");
        let mut text = vec![0; usize::from(frame[1])];
        self.socket
            .read_exact(&mut text)
            .expect("the rest of the message");
        String::from_utf8(text).expect("a text")
    }
}

/// Says stop when it is dropped.
struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
