//! The snippets that must not compile: each fails with the error that its fence names, and no other.
//!
//! Stable rustdoc is content with any error, whatever the fence says.

use std::{collections::BTreeSet, fs, path::Path};

use super::{
    compiler::{Compiler, rustc},
    expand::Snippet,
};
use crate::support::Problem;

/// Snippets that compile, or that fail with another error.
pub(super) fn problems(snippets: &[Snippet], compiler: &Compiler) -> Vec<Problem> {
    let snippets = snippets.iter().filter(|snippet| snippet.must_fail());
    compiler.compile("compile_fail", snippets, |snippet| {
        wrong_error(&snippet.info, &snippet.program, compiler.deps)
    })
}

/// What is wrong with a program that ought to give one error; nothing if it does.
fn wrong_error(info: &str, program: &str, deps: &Path) -> Option<String> {
    let program = match program.contains("fn main()") {
        true => program.to_string(),
        false => format!("fn main() {{\n{program}}}\n"),
    };
    let folder = tempfile::tempdir().expect("the system has a folder for temporary files");
    fs::write(folder.path().join("snippet.rs"), program).expect("the folder can be written to");
    let output = rustc()
        .current_dir(folder.path())
        .args(["snippet.rs", "--edition", "2024", "--crate-type", "bin"])
        .args(["--emit", "metadata", "--error-format", "json", "-L"])
        .arg(deps)
        .output()
        .expect("rustc can be run");
    let mut codes = BTreeSet::new();
    let mut messages = String::new();
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        // What isn't a message in JSON speaks of the compiler, not of the snippet.
        let message: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        if message["level"] == "error" {
            messages += message["rendered"].as_str().unwrap_or_default();
            codes.extend(message["code"]["code"].as_str().map(String::from));
        }
    }
    let (_, wanted) = info.rsplit_once(',')?;
    let found = match Vec::from_iter(codes).join(", ") {
        _ if output.status.success() => "compiles".to_string(),
        codes if codes == wanted => return None,
        codes if codes.is_empty() => "fails with an error without a code".to_string(),
        codes => format!("fails with {codes}"),
    };
    Some(format!(
        "this ought to fail with {wanted} and nothing else, and {found}\n{messages}"
    ))
}

#[test]
fn wrong_errors_are_seen() {
    const MOVED: &str = "let a = String::new();\nlet b = a;\nprintln!(\"{a}{b}\");\n";
    let two = format!("{MOVED}let n: u8 = \"\";\n");
    for (code, program, found) in [
        ("E0382", MOVED, ""),
        ("E0499", MOVED, "and fails with E0382\nerror[E0382]"),
        ("E0382", &two, "and fails with E0308"),
        (
            "E0382",
            "let = 1;\n",
            "and fails with an error without a code",
        ),
        ("E0382", "fn main() {}\n", "and compiles"),
    ] {
        let info = format!("rust,compile_fail,{code}");
        let what = wrong_error(&info, program, Path::new(".")).unwrap_or_default();
        assert!(
            what.contains(found) && what.is_empty() == found.is_empty(),
            "{what}"
        );
    }
}
