//! Each check, held against a sound book with one fault put in.

use super::*;
use crate::fixture::Fixture;

/// A check and the one problem that it has to find.
fn fails(check: fn(&Book) -> Vec<Problem>, book: Fixture, expected: &str) {
    let problems = check(&book.load());
    let found: Vec<String> = problems.iter().map(Problem::to_string).collect();
    assert!(
        found.len() == 1 && found[0].starts_with(expected),
        "expected one problem that starts with\n  {expected}\nfound\n  {}",
        found.join("\n  ")
    );
}

#[test]
fn a_sound_book_passes() {
    let fixture = Fixture::new();
    let book = fixture.load();
    for check in [
        includes,
        rust_snippets,
        fence_kinds,
        anchors,
        unshown,
        unmentioned,
        summary,
        pairs,
        headings,
        exercises,
        numbered_marks,
        diff_sections,
        transcripts,
    ] {
        support::assert_none(&check(&book));
    }
    let diffs = diffs(&book);
    support::assert_none(&stray_diffs(&book, &diffs));
    let [(path, diff)] = diffs.as_slice() else {
        panic!("one of the two stages has a predecessor");
    };
    assert_eq!(*diff, fs::read_to_string(book.root.join(path)).unwrap());
}

#[test]
fn missing_file() {
    let book = Fixture::new().edit(
        "src/en/02-loud.md",
        "bin/02-loud.rs:greet}",
        "bin/no.rs:greet}",
    );
    fails(
        includes,
        book,
        "src/en/02-loud.md:6: there is no file code/src/bin/no.rs;",
    );
}

#[test]
fn misspelt_anchor() {
    let book = Fixture::new().edit("src/en/02-loud.md", "rs:greet}", "rs:great}");
    fails(
        includes,
        book,
        "src/en/02-loud.md:6: code/src/bin/02-loud.rs has no anchor `great`; it has greet",
    );
}

#[test]
fn included_line_numbers() {
    let book = Fixture::new().edit("src/en/02-loud.md", "rs:greet}", "rs:3:5}");
    fails(
        includes,
        book,
        "src/en/02-loud.md:6: `code/src/bin/02-loud.rs:3:5` includes lines",
    );
}

#[test]
fn code_by_hand() {
    let book = Fixture::new().edit(
        "src/en/02-loud.md",
        "{{#rustdoc_include ../../code/src/bin/02-loud.rs:greet}}",
        "fn main() {}",
    );
    fails(
        rust_snippets,
        book,
        "src/en/02-loud.md:6: code is written by hand here;",
    );
}

#[test]
fn code_by_hand_after_an_include() {
    let book = Fixture::new().edit("src/en/02-loud.md", "# extern crate futures;", "let a = 1;");
    fails(
        rust_snippets,
        book,
        "src/en/02-loud.md:7: `let a = 1;` does not belong in a snippet;",
    );
}

#[test]
fn include_that_hides_the_program() {
    let book = Fixture::new().edit("src/en/02-loud.md", "{{#rustdoc_include", "{{#include");
    fails(
        rust_snippets,
        book,
        "src/en/02-loud.md:6: the tests must see the whole program",
    );
}

#[test]
fn misspelt_flag() {
    let book = Fixture::new().edit("src/en/02-loud.md", "rust,no_run", "rust,norun");
    fails(
        fence_kinds,
        book,
        "src/en/02-loud.md:5: `rust,norun` is not a known fence;",
    );
}

#[test]
fn ignored_snippet() {
    let book = Fixture::new().edit("src/en/02-loud.md", "rust,no_run", "rust,ignore");
    fails(
        fence_kinds,
        book,
        "src/en/02-loud.md:5: `rust,ignore` is not a known fence;",
    );
}

#[test]
fn compile_fail_without_a_code() {
    let book = Fixture::new().edit("src/en/02-loud.md", "rust,no_run", "rust,compile_fail");
    fails(
        fence_kinds,
        book,
        "src/en/02-loud.md:5: `rust,compile_fail` is not a known fence;",
    );
}

#[test]
fn bare_fence() {
    let book = Fixture::new().edit("src/en/02-loud.md", "rust,no_run", "");
    fails(
        fence_kinds,
        book,
        "src/en/02-loud.md:5: the fence does not say what it holds;",
    );
}

#[test]
fn indented_code() {
    let book = Fixture::new().edit("src/en/02-loud.md", "It is louder.", "It is:\n\n    loud\n");
    fails(
        fence_kinds,
        book,
        "src/en/02-loud.md:5: this is an indented code block;",
    );
}

#[test]
fn anchor_without_end() {
    let book = Fixture::new().edit("code/src/bin/02-loud.rs", "// ANCHOR_END: greet\n", "");
    fails(
        anchors,
        book,
        "code/src/bin/02-loud.rs:2: the anchor `greet` never ends;",
    );
}

#[test]
fn anchor_without_start() {
    let book = Fixture::new().edit(
        "code/src/bin/02-loud.rs",
        "fn greet",
        "// ANCHOR_END: x\nfn greet",
    );
    fails(
        anchors,
        book,
        "code/src/bin/02-loud.rs:3: `ANCHOR_END: x` ends an anchor that has",
    );
}

#[test]
fn anchor_that_starts_twice() {
    let book = Fixture::new().edit(
        "code/src/bin/02-loud.rs",
        "// ANCHOR_END: greet\n",
        "// ANCHOR_END: greet\n// ANCHOR: greet\n// 9\n// ANCHOR_END: greet\n",
    );
    fails(
        anchors,
        book,
        "code/src/bin/02-loud.rs:9: the anchor `greet` starts a second time;",
    );
}

/// A book whose second chapter shows a module, which needs another one around it.
fn with_modules() -> Fixture {
    let chapter = "# fn main() {}\n# mod quiet {\n{{#rustdoc_include \
                   ../../code/src/quiet.rs:hidden}}\n# }\n# extern crate futures;";
    Fixture::new()
        .write(
            "code/src/loud.rs",
            "// ANCHOR: shout\nfn shout() {}\n// ANCHOR_END: shout\n",
        )
        .write(
            "code/src/quiet.rs",
            "// ANCHOR: hidden\n// ANCHOR_END: hidden\nfn whisper() {}\n",
        )
        .edit(
            "src/en/02-loud.md",
            "# extern crate futures;\n```",
            &format!(
                "# extern crate futures;\n```\n\n1. Change the case.\n2. Shout.\n\n```rust,no_run\n\
                 {{{{#rustdoc_include ../../code/src/loud.rs:shout}}}}\n{chapter}\n```\n\nAnd:"
            ),
        )
}

#[test]
fn modules_are_shown_like_programs() {
    let fixture = with_modules();
    let book = fixture.load();
    for check in [includes, rust_snippets, anchors, numbered_marks] {
        support::assert_none(&check(&book));
    }
}

#[test]
fn module_anchor_that_no_chapter_shows() {
    let book = with_modules().edit(
        "code/src/loud.rs",
        "fn shout() {}\n",
        "fn shout() {}\n// ANCHOR: end\n// the end\n// ANCHOR_END: end\n",
    );
    fails(
        anchors,
        book,
        "code/src/loud.rs:3: no chapter shows the anchor `end`;",
    );
}

#[test]
fn hidden_anchor_that_shows_something() {
    let book = with_modules().edit(
        "code/src/quiet.rs",
        "hidden\n// ANCHOR_END: hidden\nfn whisper() {}\n",
        "hidden\nfn whisper() {}\n// ANCHOR_END: hidden\n",
    );
    fails(
        anchors,
        book,
        "code/src/quiet.rs:1: the anchor `hidden` shows nothing;",
    );
}

#[test]
fn second_include_that_shows_something() {
    let book = with_modules().edit("src/en/02-loud.md", "quiet.rs:hidden", "loud.rs:shout");
    fails(
        rust_snippets,
        book,
        "src/en/02-loud.md:17: `{{#rustdoc_include ../../code/src/loud.rs:shout}}` does not belong",
    );
}

#[test]
fn empty_anchor() {
    let book = Fixture::new().edit(
        "code/src/bin/02-loud.rs",
        "// ANCHOR: greet\n",
        "// ANCHOR: none\n// ANCHOR_END: none\n// ANCHOR: greet\n",
    );
    fails(
        anchors,
        book,
        "code/src/bin/02-loud.rs:2: the anchor `none` is empty;",
    );
}

#[test]
fn anchor_that_no_chapter_shows() {
    let book = Fixture::new().edit(
        "code/src/bin/02-loud.rs",
        "fn greet",
        "// ANCHOR: other\n// ANCHOR_END: other\nfn greet",
    );
    let book = book.edit(
        "code/src/bin/02-loud.rs",
        "ANCHOR: other\n",
        "ANCHOR: other\n// note\n",
    );
    fails(
        anchors,
        book,
        "code/src/bin/02-loud.rs:3: no chapter shows the anchor `other`;",
    );
}

#[test]
fn anchor_in_the_wrong_case() {
    let book = Fixture::new()
        .edit(
            "code/src/bin/02-loud.rs",
            "ANCHOR: greet",
            "ANCHOR: Greet-it",
        )
        .edit(
            "code/src/bin/02-loud.rs",
            "ANCHOR_END: greet",
            "ANCHOR_END: Greet-it",
        );
    fails(
        anchors,
        book,
        "code/src/bin/02-loud.rs:2: the anchor `Greet-it` is not named in",
    );
}

#[test]
fn added_line_outside_the_anchor() {
    let book = Fixture::new().edit(
        "code/src/bin/02-loud.rs",
        "fn main() {",
        "fn more() {}\nfn main() {",
    );
    fails(
        unshown,
        book,
        "code/src/bin/02-loud.rs:10: src/en/02-loud.md does not show this line (`fn more() {}`), \
         and 01-quiet does not have it in this place;",
    );
}

#[test]
fn moved_line_outside_the_anchor() {
    let book = Fixture::new()
        .edit("code/src/bin/02-loud.rs", "    greet(\"you\");\n", "")
        .edit(
            "code/src/bin/02-loud.rs",
            "fn main() {",
            "fn main() {\n    greet(\"you\");",
        );
    fails(
        unshown,
        book,
        "code/src/bin/02-loud.rs:12: src/en/02-loud.md does not show this line",
    );
}

#[test]
fn first_stage_not_shown_whole() {
    let book = Fixture::new().edit(
        "src/en/01-quiet.md",
        "01-quiet.rs:main}",
        "01-quiet.rs:greet}",
    );
    fails(
        unshown,
        book,
        "code/src/bin/01-quiet.rs:9: src/en/01-quiet.md does not show lines 9 to",
    );
}

#[test]
fn removal_that_the_prose_passes_over() {
    let book = Fixture::new().edit("src/en/02-loud.md", "`quiet`", "a function");
    fails(
        unmentioned,
        book,
        "src/en/02-loud.md: 02-loud does away with `quiet` (code/src/bin/01-quiet.rs:4), and",
    );
}

#[test]
fn chapter_missing_from_the_summary() {
    let book = Fixture::new().edit("src/en/SUMMARY.md", "- [Loud](02-loud.md)\n", "");
    fails(
        summary,
        book,
        "src/en/02-loud.md: no entry of src/en/SUMMARY.md leads to this",
    );
}

#[test]
fn summary_of_no_chapter() {
    let book = Fixture::new().edit(
        "src/en/SUMMARY.md",
        "(02-loud.md)",
        "(02-loud.md)\n- [X](x.md)",
    );
    fails(
        summary,
        book,
        "src/en/SUMMARY.md:6: there is no chapter x.md;",
    );
}

#[test]
fn chapter_without_a_program() {
    let book = Fixture::new().write("src/en/03-mute.md", "# Mute\n");
    fails(
        pairs,
        book,
        "src/en/03-mute.md: has no program code/src/bin/03-mute.rs",
    );
}

#[test]
fn program_without_a_chapter() {
    let book = Fixture::new().write("code/src/bin/03-mute.rs", "fn main() {}\n");
    fails(
        pairs,
        book,
        "code/src/bin/03-mute.rs: has no chapter src/en/03-mute.md",
    );
}

/// A second program of chapter 02, with this after its anchor.
fn second_program(end: &str) -> Fixture {
    let program = "//! Stage 02.\n// ANCHOR: own\nfn main() {}\n// ANCHOR_END: own\n";
    let include = "{{#rustdoc_include ../../code/src/bin/02-whisper.rs:own}}";
    Fixture::new()
        .write("code/src/bin/02-whisper.rs", &format!("{program}{end}"))
        .edit(
            "src/en/02-loud.md",
            "## Why",
            &format!("```rust,no_run\n{include}\n```\n\n## Why"),
        )
}

#[test]
fn line_of_a_second_program_outside_the_anchor() {
    fails(
        unshown,
        second_program("fn other() {}\n"),
        "code/src/bin/02-whisper.rs:5: src/en/02-loud.md does not show this line (`fn other() {}`)",
    );
}

#[test]
fn difference_of_a_second_program_not_shown() {
    fails(
        diff_sections,
        second_program(""),
        "src/en/02-loud.md:24: `## What changed` does not show the difference; write a fence ```diff \
         around `{{#include ../../code/diffs/02-whisper.diff}}`",
    );
}

#[test]
fn misspelt_heading() {
    let book = Fixture::new().edit("src/en/02-loud.md", "## Break it", "## Breaking it");
    fails(
        headings,
        book,
        "src/en/02-loud.md:17: the last headings of a stage's chapter are",
    );
}

#[test]
fn language_without_headings() {
    let book = Fixture::new().write("src/xx/SUMMARY.md", "# X\n");
    fails(
        headings,
        book,
        "src/xx/SUMMARY.md: add the headings of this language to HEADINGS",
    );
}

#[test]
fn exercise_without_a_hint() {
    let book = Fixture::new().edit("src/en/02-loud.md", "<details>Two</details>", "Two");
    fails(
        exercises,
        book,
        "src/en/02-loud.md:35: this exercise has no hint;",
    );
}

#[test]
fn exercise_without_a_solution() {
    let book = Fixture::new().edit("src/en/02-loud.md", "`cargo run --example 02-b`", "None");
    // The example that is left is then mentioned by nobody.
    let book = book.remove("code/examples/02-b.rs");
    fails(
        exercises,
        book,
        "src/en/02-loud.md:35: this exercise names no solution;",
    );
}

#[test]
fn solution_that_does_not_exist() {
    let book = Fixture::new().remove("code/examples/02-b.rs");
    fails(
        exercises,
        book,
        "src/en/02-loud.md:39: there is no program code/examples/02-b.rs",
    );
}

#[test]
fn single_exercise() {
    let book = Fixture::new().edit("src/en/02-loud.md", "**2. Two.**\n", "");
    fails(
        exercises,
        book,
        "src/en/02-loud.md:28: there are 1 exercises;",
    );
}

#[test]
fn example_that_its_chapter_does_not_mention() {
    let book = Fixture::new().write("code/examples/02-c.rs", "fn main() {}\n");
    fails(
        exercises,
        book,
        "code/examples/02-c.rs: is not mentioned by src/en/02-loud.md;",
    );
}

#[test]
fn mark_without_its_item() {
    let book = Fixture::new().edit("src/en/02-loud.md", "2. Shout.\n", "");
    fails(
        numbered_marks,
        book,
        "src/en/02-loud.md:5: the snippet has 2 numbered marks;",
    );
}

#[test]
fn marks_that_skip_a_number() {
    let book = Fixture::new().edit("code/src/bin/02-loud.rs", "// 2", "// 3");
    fails(
        numbered_marks,
        book,
        "src/en/02-loud.md:5: the snippet has the marks [1, 3];",
    );
}

#[test]
fn difference_not_shown() {
    let book = Fixture::new().edit(
        "src/en/02-loud.md",
        "{{#include ../../code/diffs/02-loud.diff}}",
        "+",
    );
    fails(
        diff_sections,
        book,
        "src/en/02-loud.md:20: `## What changed` does not show",
    );
}

#[test]
fn stale_difference() {
    let fixture = Fixture::new().edit("code/src/bin/02-loud.rs", "louder", "loudest");
    let book = fixture.load();
    let (path, diff) = &diffs(&book)[0];
    assert_ne!(*diff, fs::read_to_string(book.root.join(path)).unwrap());
}

#[test]
fn transcript_that_no_chapter_shows() {
    let book = Fixture::new().write("code/transcripts/01-quiet/a.txt", "");
    fails(
        transcripts,
        book,
        "code/transcripts/01-quiet/a.txt: no chapter includes it",
    );
}

#[test]
fn difference_of_no_stage() {
    let book = Fixture::new().write("code/diffs/01-quiet.diff", "");
    let stray = |book: &Book| stray_diffs(book, &diffs(book));
    fails(stray, book, "code/diffs/01-quiet.diff: belongs to no stage");
}

#[test]
fn marks_need_no_second_explanation() {
    let text =
        "# Spec\n\n```rust,no_run\n{{#rustdoc_include ../../code/src/bin/02-loud.rs:greet}}\n```\n";
    let fixture = Fixture::new().write("src/en/00-spec.md", text);
    assert_eq!(numbered_marks(&fixture.load()), []);
}
