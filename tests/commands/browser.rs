//! What the scripts of the pages do, in a Chromium. Where there is none, nothing is tested here.

use std::{env, process::Stdio};

use crate::program::{Folder, Running, has, note, piped, rows};

/// In a browser that prefers these languages, each page shows this when its scripts have run.
#[test]
fn pages_open_in_the_right_language_keep_their_place_in_another_and_find_chinese_words() {
    let folders = env::var_os("PATH").unwrap_or_default();
    let mut files = env::split_paths(&folders).flat_map(|folder| {
        let names = ["google-chrome", "chromium", "chromium-browser"];
        names.map(|name| folder.join(name))
    });
    let Some(browser) = files.find(|file| file.is_file()) else {
        return note("not tested in a browser: there is no Chromium");
    };
    let book = Folder::of_book("languages");
    book.run("build pages --root .").with(0);
    // The second page changes the language as a reader would; its counterpart tells what came of that.
    let pages = r#"
        index.html  | zh-CN    | <html lang="zh-CN"
        index.html  | fr,zh-TW | <html lang="zh-CN"
        index.html  | fr,en,zh | <html lang="en"
        second.html | en       | <title>arrived at #part, zh-CN is remembered</title>
        zh-CN/first.html?search=断开连接        | zh | “断开连接”有 1 个结果：
        zh-CN/first.html?search=开连            | zh | “开连”有 1 个结果：
        zh-CN/first.html?search=断连            | zh | 没有找到“断连”。
        zh-CN/first.html?search=连接%20reading  | zh | “连接 reading”有 1 个结果：
    "#;
    for [page, languages, shown] in rows(pages) {
        let (profile, root) = (Folder::empty(), book.path().display());
        let mut command = piped(&browser);
        // As root, as in many containers, it runs without its sandbox only; the pages are ours.
        command.args(["--headless", "--no-sandbox", "--disable-gpu"]);
        // The clock of the page runs ahead whenever nothing is being loaded.
        command.args(["--virtual-time-budget=30000", "--dump-dom"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.args(["--no-first-run", &format!("--accept-lang={languages}")]);
        command.arg(format!("file://{root}/pages/{page}"));
        // When it closes its stdout it has printed the page, and is not waited for.
        let running = Running::start(command.stderr(Stdio::null()));
        has(&running.stdout.rest(), shown);
    }
}
