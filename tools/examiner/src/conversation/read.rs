//! Reads the files of conversations, and everything in them but the steps.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use regex::Regex;

use super::{
    kdl::{self, Node},
    model::{Cause, Conditions, Conversation, Platform, Promise, Until},
    step,
};
use crate::{
    Error,
    stages::{self, Program},
};

/// Reads all conversations of the book, in the order of their files and in each file from the top.
///
/// # Errors
///
/// Names the file and line that can't be understood, and what was expected there.
pub fn all() -> Result<Vec<Conversation>, Error> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conversations");
    let unreadable = |error| Error::io(format!("cannot read {}", folder.display()), error);
    let paths = |entries: fs::ReadDir| entries.map(|entry| Ok(entry?.path())).collect();
    let files: io::Result<Vec<PathBuf>> = fs::read_dir(&folder).and_then(paths);
    let mut files = files.map_err(unreadable)?;
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(&file).map_err(unreadable)?;
        all.append(&mut parse(&name, &text)?);
    }
    for (index, Conversation { name, place, .. }) in all.iter().enumerate() {
        if let Some(twin) = all[..index].iter().find(|twin| twin.name == *name) {
            let what = format!("the one at {} is named {name}, too", twin.place);
            return Err(Error::malformed(place, what));
        }
    }
    Ok(all)
}

/// Reads the conversations in the text of one file, whose name is for messages.
///
/// # Errors
///
/// Names the line that can't be understood, and what was expected there.
pub fn parse(file: &str, text: &str) -> Result<Vec<Conversation>, Error> {
    let nodes = kdl::nodes(file, text)?;
    nodes.iter().map(conversation).collect()
}

fn conversation(node: &Node) -> Result<Conversation, Error> {
    if node.name != "conversation" {
        return Err(node.error("expected `conversation NAME since=\"NN-name\" { … }`"));
    }
    node.allow("since only example rule on descriptors options")?;
    let [since, only, example] = ["since", "only", "example"].map(|key| node.word(key));
    let promise = match (since?, only?, example?) {
        (Some(stage), None, None) => Promise::Since(stage.to_string()),
        (None, Some(stage), None) => Promise::Only(stage.to_string()),
        (None, None, Some(example)) => Promise::Example(example.to_string()),
        _ => return Err(node.error("expected one of since=, only= and example=\"NN-name\"")),
    };
    let (Promise::Since(first) | Promise::Only(first) | Promise::Example(first)) = &promise;
    let version = program(node, first)?.protocol;
    let platform = match node.word("on")? {
        None => Platform::Any,
        Some("unix") => Platform::Unix,
        Some("linux") => Platform::Linux,
        Some(other) => return Err(node.error(format!("on={other}: expected unix or linux"))),
    };
    let options = node.word("options")?.unwrap_or_default();
    let mut children = node.children.iter();
    let about = children.next().filter(|child| child.name == "about");
    let about = about.ok_or_else(|| node.error("a conversation begins with `about \"…\"`"))?;
    let mut conversation = Conversation {
        name: node.text()?,
        about: about.text()?,
        rule: node.word("rule")?.map(str::to_string),
        promise,
        until: None,
        platform,
        conditions: Conditions {
            descriptors: node.number("descriptors")?,
            options: options.split_whitespace().map(str::to_string).collect(),
        },
        causes: Vec::new(),
        hint: None,
        section: None,
        version,
        steps: Vec::new(),
        place: node.place(),
    };
    for child in children {
        match child.name.as_str() {
            "until" => conversation.until = Some(until(child, &conversation.promise)?),
            "cause" => conversation.causes.push(cause(child)?),
            "hint" => conversation.hint = Some(child.text()?),
            "section" => conversation.section = Some(child.text()?),
            _ => step::push(child, None, &mut conversation.steps)?,
        }
    }
    Ok(conversation)
}

/// The program of this name, which the node asks for.
fn program(node: &Node, name: &str) -> Result<&'static Program, Error> {
    let program = stages::list().and_then(|list| list.get(name));
    program.map_err(|error| node.error(error))
}

fn until(node: &Node, promise: &Promise) -> Result<Until, Error> {
    node.allow("because")?;
    let (Promise::Since(first), Some(because)) = (promise, node.word("because")?) else {
        let expected = "expected since=\"NN-name\" before, and `until \"NN-name\" because=\"…\"`";
        return Err(node.error(expected));
    };
    let (stage, because) = (node.text()?, because.to_string());
    program(node, &stage)?;
    match stage < *first {
        true => Err(node.error(format!("{stage} comes before {first}"))),
        false => Ok(Until { stage, because }),
    }
}

fn cause(node: &Node) -> Result<Cause, Error> {
    node.allow("when next")?;
    let when = node.word("when")?.map(Regex::new).transpose();
    Ok(Cause {
        text: node.text()?,
        when: when.map_err(|error| node.error(error))?,
        next: node.flag("next")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_is_answered_with_its_line_and_what_is_expected() {
        let cases = r##"
conversation "c                       => 1: not valid KDL: a text without its end
conversation "\z"                     => 1: not valid KDL: no such escape
conversation "\u{110000}"             => 1: not valid KDL: no such escape
conversation #"c"                     => 1: not valid KDL: a raw text without its end
conversation #c                       => 1: not valid KDL: expected a name or a value
conversation 0y1                      => 1: not valid KDL: expected a name or a value
conversation [c]                      => 1: not valid KDL: expected a name or a value
conversation c { about "…"            => 1: not valid KDL: a `{` without its `}`
conversation c { about "…"; } }       => 1: not valid KDL: a `}` without its `{`
conversation since=                   => 1: not valid KDL: expected a name or a value
talk "c"                              => 1: expected `conversation NAME
conversation "c" { about "…"; }       => 1: expected one of since=, only= and
since="06-wriet"                      => 1: there is no program named 06-wriet; there are: 02-
only="06-wriet"                       => 1: there is no program named 06-wriet
example="06-wriet"                    => 1: there is no program named 06-wriet
since="06-write" only="06-write"      => 1: expected one of since=
since=3                               => 1: since: expected a text in quotes
since="06-write" on="mars"            => 1: on=mars: expected unix or linux
since="06-write" descriptors=-1       => 1: descriptors: expected a number
since="06-write" sicne=1              => 1: no property sicne; there can be: since only
until "07-brokre" because="…"         => 3: there is no program named 07-brokre
until "05-read" because="…"           => 3: 05-read comes before 06-write
until "07-broker"                     => 3: expected since="NN-name" before, and `until
cause "…" when="("                    => 3: regex parse error
cause "…" next=1                      => 3: next: expected #true or #false
hint 3                                => 3: hint what? expected a text
alice                                 => 3: expected `NAME VERB …`
alice dances                          => 3: a client cannot `dances`; it connects, joins,
server joins                          => 3: the server cannot be told to `joins`; it reports,
alice sends                           => 3: sends what? expected a text in quotes
alice sends "hi                       => 3: not valid KDL: a text without its end
alice writes 256                      => 3: 256 is no byte
alice joins times=2                   => 3: no property times; there can be: within proves
server has-grown                      => 3: expected `has-grown less-than=MEGABYTES`
server exits                          => 3: expected `server exits STATUS`
repeat "9" { alice joins; }           => 3: expected `repeat NUMBER { … }`
"##;
        for case in cases.trim().lines() {
            let (wrong, error) = case.split_once("=>").unwrap();
            let wrong = wrong.trim_end();
            let text = match wrong.split(['=', ' ']).next().unwrap() {
                "conversation" | "talk" => wrong.to_string(),
                "since" | "only" | "example" => {
                    format!("conversation c {wrong} {{ about \"…\"; }}")
                }
                _ => format!("conversation c since=\"06-write\" {{\n about \"…\"\n {wrong}\n}}"),
            };
            let found = parse("test.kdl", &text).unwrap_err().to_string();
            let expected = format!("test.kdl:{}", error.trim());
            assert!(found.starts_with(&expected), "{wrong}: {found}");
        }
    }
}
