//! A small sound book in a folder of its own, for the tests that put one fault into it.

use std::fs;

use tempfile::TempDir;

use crate::support::{Book, Problem};

pub struct Fixture {
    folder: TempDir,
}

const FILES: [(&str, &str); 10] = [
    (
        "src/en/SUMMARY.md",
        "# Summary\n\n- [Spec](00-spec.md)\n- [Quiet](01-quiet.md)\n- [Loud](02-loud.md)\n",
    ),
    ("src/en/00-spec.md", "# Spec\n"),
    (
        "code/src/bin/01-quiet.rs",
        r#"//! Stage 01.
// ANCHOR: greet
fn greet(who: &str) {
    quiet(who);
}
// ANCHOR_END: greet

// ANCHOR: main
fn quiet(who: &str) {
    println!("psst, {who}");
}

fn main() {
    println!("hello");
    greet("you");
}
// ANCHOR_END: main
"#,
    ),
    (
        "code/src/bin/02-loud.rs",
        r#"//! Stage 02.
// ANCHOR: greet
fn greet(who: &str) {
    // louder
    let who = who.to_uppercase(); // 1
    println!("HEY, {who}"); // 2
}
// ANCHOR_END: greet

fn main() {
    println!("hello");
    greet("you");
}
"#,
    ),
    ("code/examples/01-a.rs", "fn main() {}\n"),
    ("code/examples/01-b.rs", "fn main() {}\n"),
    ("code/examples/02-a.rs", "fn main() {}\n"),
    ("code/examples/02-b.rs", "fn main() {}\n"),
    ("src/en/01-quiet.md", QUIET),
    ("src/en/02-loud.md", LOUD),
];

const QUIET: &str = "# Quiet

```rust,no_run
{{#rustdoc_include ../../code/src/bin/01-quiet.rs:greet}}
```

```rust,no_run
{{#rustdoc_include ../../code/src/bin/01-quiet.rs:main}}
```

## Run it

## What changed

## Break it

## Exercises

**1. One.** `cargo run --example 01-a`

<details>One</details>

**2. Two.** `cargo run --example 01-b`

<details>Two</details>

## Check yours

## Summary
";

const LOUD: &str = "# Loud

It is louder. `quiet` is gone.

```rust,no_run
{{#rustdoc_include ../../code/src/bin/02-loud.rs:greet}}
# extern crate futures;
```

1. Change the case.
2. Shout.

## Why

It is.

## Run it

## What changed

```diff
{{#include ../../code/diffs/02-loud.diff}}
```

## Break it

## Exercises

**1. One.**

<details>One</details>

`cargo run --example 02-a`

**2. Two.**

<details>Two</details>

`cargo run --example 02-b`

## Check yours

## Summary
";

const DIFF: &str = r#"--- code/src/bin/01-quiet.rs
+++ code/src/bin/02-loud.rs
@@ -1,10 +1,8 @@
-//! Stage 01.
+//! Stage 02.
 fn greet(who: &str) {
-    quiet(who);
-}
-
-fn quiet(who: &str) {
-    println!("psst, {who}");
+    // louder
+    let who = who.to_uppercase();
+    println!("HEY, {who}");
 }
 
 fn main() {
"#;

impl Fixture {
    pub fn new() -> Fixture {
        let fixture = Fixture {
            folder: TempDir::new().expect("the system has a folder for temporary files"),
        };
        FILES
            .into_iter()
            .chain([("code/diffs/02-loud.diff", DIFF)])
            .fold(fixture, |fixture, (path, text)| fixture.write(path, text))
    }

    /// Makes these changes: `[path, old, new]` edits a file, `[path, text]` writes it, `[path]` removes it.
    pub fn with(self, changes: &[Vec<String>]) -> Fixture {
        changes
            .iter()
            .fold(self, |fixture, change| match change.as_slice() {
                [path, old, new] => fixture.edit(path, old, new),
                [path, text] => fixture.write(path, text),
                [path] => fixture.remove(path),
                _ => panic!("{change:?} is no change"),
            })
    }

    /// Writes a file.
    pub fn write(self, path: &str, text: &str) -> Fixture {
        let file = self.folder.path().join(path);
        let folder = file.parent().expect("the path names a file");
        fs::create_dir_all(folder).expect("the folder can be written to");
        fs::write(file, text).expect("the folder can be written to");
        self
    }

    /// Replaces the one occurrence of a text in a file.
    pub fn edit(self, path: &str, old: &str, new: &str) -> Fixture {
        let text = fs::read_to_string(self.folder.path().join(path)).expect("the file is there");
        assert_eq!(text.matches(old).count(), 1, "{path} holds `{old}` once");
        self.write(path, &text.replace(old, new))
    }

    /// Removes a file.
    pub fn remove(self, path: &str) -> Fixture {
        fs::remove_file(self.folder.path().join(path)).expect("the file is there");
        self
    }

    /// The book; its files are gone when the fixture is.
    pub fn load(&self) -> Book {
        Book::load_from(self.folder.path()).expect("the fixture can be read")
    }
}

/// Demands that each problem, as text, starts with its counterpart, and that there are no others.
pub fn assert_found(problems: &[Problem], expected: &[&str]) {
    let found: Vec<String> = problems.iter().map(Problem::to_string).collect();
    let pairs = found.iter().zip(expected);
    assert!(
        found.len() == expected.len()
            && pairs
                .into_iter()
                .all(|(found, start)| found.starts_with(start)),
        "expected\n  {}\nfound\n  {}",
        expected.join("\n  "),
        found.join("\n  ")
    );
}
