//! Each check, held against a sound book in two languages with one fault put in.

use super::{
    parts::{files, parts},
    record::{confirm, outdated},
    terms::terms,
    writing::writing,
};
use crate::{
    fixture::{Fixture, assert_found},
    support::Problem,
};

const ENGLISH: &str = "# Spec

The broker is a task.

1. One
2. Two

```text
{{#include ../../code/a}}
```

## The end

[Back](01-quiet.md) to the start,

or [on](08-new.md#new); in `a.b`, see “this” in 3.7 (01).
";

const CHINESE: &str = "# 规范 {#spec}

代理任务（broker）是一个任务。

1. 一
2. 二

```text
{{#include ../../code/a}}
```

## 结尾 {#the-end}

[回到](01-quiet.md)开头，

或者[往下](../08-new.html#new)；在 `a.b` 里，用 3.7 节的“说法”（见 01）。
";

const GLOSSARY: &str = "# 术语表 {#glossary}

| 英文 | 中文 |
| --- | --- |
| broker | 代理任务（broker） |
| sender, receiver | 发送端、接收端 |

## 代理任务 {#broker}
";

/// Two chapters in both languages, one of them the glossary, and one in English only.
fn sound() -> Fixture {
    let english = "[One](00-spec.md)\n[Two](glossary.md)\n[Three](08-new.md)\n";
    let chinese = "[一](00-spec.md)\n[二](glossary.md)\n\n<!-- not yet rendered: 08-new -->\n";
    let fixture = Fixture::new()
        .remove("src/en/01-quiet.md")
        .remove("src/en/02-loud.md")
        .write("src/en/SUMMARY.md", english)
        .write("src/en/00-spec.md", ENGLISH)
        .write("src/en/08-new.md", "# New\n")
        .write("src/en/glossary.md", "# Glossary\n\n## Broker\n")
        .write("src/zh-CN/SUMMARY.md", chinese)
        .write("src/zh-CN/00-spec.md", CHINESE)
        .write("src/zh-CN/glossary.md", GLOSSARY);
    assert_eq!(confirm(&fixture.load(), "00-spec,glossary,SUMMARY"), []);
    fixture
}

/// Everything that is wrong.
fn problems(fixture: &Fixture) -> Vec<Problem> {
    let book = fixture.load();
    let checks = [files, parts, outdated, terms, writing];
    checks.iter().flat_map(|check| check(&book)).collect()
}

#[test]
fn a_sound_translation_passes() {
    assert_eq!(problems(&sound()), []);
}

/// `faults.txt` has an edit, `FILE: OLD => NEW`, and how each problem begins that this leads to. A `\n` is a
/// line feed.
#[test]
fn each_fault_is_found() {
    for fault in include_str!("faults.txt").split("\n\n") {
        let mut lines = fault.lines().map(|line| line.replace("\\n", "\n"));
        let edit = lines.next().unwrap();
        let (path, edit) = edit.split_once(": ").unwrap();
        let (old, new) = edit.split_once(" => ").unwrap();
        let expected: Vec<String> = lines.collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        let fixture = sound().edit(&format!("src/{path}"), old, new);
        assert_found(&problems(&fixture), &expected);
    }
}

#[test]
fn chapter_in_chinese_only() {
    let fixture = sound().write("src/zh-CN/extra.md", "# 多余\n");
    let expected = "src/zh-CN/SUMMARY.md: extra isn't there in English; write it, or delete";
    assert_found(&problems(&fixture), &[expected]);
}

#[test]
fn record_is_written() {
    let fixture = sound().edit("src/en/00-spec.md", "is a task", "is one task");
    let unknown = "RENDERED: 04-none isn't there in both languages;";
    assert_found(&confirm(&fixture.load(), "00-spec 04-none"), &[unknown]);
    assert_eq!(problems(&fixture), []);
}
