//! Reads the part of KDL 2 that conversations are written in: nodes with arguments, properties and children;
//! texts, raw texts, integers, `#true` and `#false`; comments to the end of a line.
//!
//! The crate `kdl` reads all of KDL. But without optimization it takes a second for these files, for which each
//! `check` would wait, and a reader would also wait for it and its dependencies to compile.

use std::{fmt::Display, str::Chars};

use serde_json::{Map, Value};

use crate::Error;

/// A node, with its place in the file.
pub(super) struct Node<'a> {
    file: &'a str,
    pub(super) line: usize,
    pub(super) name: String,
    arguments: Vec<Value>,
    properties: Map<String, Value>,
    pub(super) children: Vec<Node<'a>>,
}

impl Node<'_> {
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    pub(super) fn error(&self, what: impl Display) -> Error {
        Error::malformed(self.place(), what)
    }

    /// The arguments that are texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().filter_map(Value::as_str)
    }

    /// The arguments that are integers.
    pub(super) fn integers(&self) -> impl Iterator<Item = i64> {
        self.arguments.iter().filter_map(Value::as_i64)
    }

    /// The first argument that is a text.
    pub(super) fn text(&self) -> Result<String, Error> {
        let text = self.texts().next().map(str::to_string);
        text.ok_or_else(|| self.error(format!("{} what? expected a text in quotes", self.name)))
    }

    fn property<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let error = || self.error(format!("{key}: expected {expected}"));
        let value = self.properties.get(key);
        let value = value.map(|value| read(value).ok_or_else(error));
        value.transpose()
    }

    pub(super) fn word(&self, key: &str) -> Result<Option<&str>, Error> {
        self.property(key, "a text in quotes", Value::as_str)
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, key: &str) -> Result<Option<T>, Error> {
        self.property(key, "a number", |value| value.as_i64()?.try_into().ok())
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, Error> {
        let flag = self.property(key, "#true or #false", Value::as_bool)?;
        Ok(flag.unwrap_or(false))
    }

    /// Fails if the node has a property that isn't one of these, which are separated by spaces.
    pub(super) fn allow(&self, known: &str) -> Result<(), Error> {
        let mut names = self.properties.keys();
        match names.find(|name| !known.split(' ').any(|known| known == *name)) {
            None => Ok(()),
            Some(name) => Err(self.error(format!("no property {name}; there can be: {known}"))),
        }
    }
}

/// Reads the nodes in the text of a file, whose name is for messages.
pub(super) fn nodes<'a>(file: &'a str, text: &'a str) -> Result<Vec<Node<'a>>, Error> {
    let (rest, line) = (text, 1);
    let mut reader = Reader { file, rest, line };
    let nodes = reader.nodes()?;
    match reader.rest {
        "" => Ok(nodes),
        _ => Err(reader.error("a `}` without its `{`")),
    }
}

struct Reader<'a> {
    file: &'a str,
    /// What hasn't been read yet, and the line that it begins in.
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, what: &str) -> Error {
        let place = format!("{}:{}", self.file, self.line);
        Error::malformed(place, format!("not valid KDL: {what}"))
    }

    /// Goes on after this, if it comes next.
    fn take(&mut self, next: &str) -> bool {
        let after = self.rest.strip_prefix(next);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// Goes on after the text before the first such character.
    fn take_until(&mut self, end: impl Fn(char) -> bool) -> &'a str {
        let (taken, rest) = self
            .rest
            .split_at(self.rest.find(end).unwrap_or(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Reads nodes up to a closing bracket or the end of the file.
    fn nodes(&mut self) -> Result<Vec<Node<'a>>, Error> {
        let mut nodes = Vec::new();
        loop {
            self.take_until(|c| !" \t\r;".contains(c));
            if self.take("\n") {
                self.line += 1;
            } else if self.take("//") {
                self.take_until(|c| c == '\n');
            } else if self.rest.is_empty() || self.rest.starts_with('}') {
                return Ok(nodes);
            } else {
                nodes.push(self.node()?);
            }
        }
    }

    fn node(&mut self) -> Result<Node<'a>, Error> {
        let Value::String(name) = self.value()? else {
            return Err(self.error("expected a name"));
        };
        let mut node = Node {
            file: self.file,
            line: self.line,
            name,
            arguments: Vec::new(),
            properties: Map::new(),
            children: Vec::new(),
        };
        loop {
            self.take_until(|c| !" \t\r".contains(c));
            if self.take("{") {
                node.children = self.nodes()?;
                if !self.take("}") {
                    return Err(self.error("a `{` without its `}`"));
                }
            } else if self.rest.is_empty() || self.rest.starts_with(['\n', ';', '}', '/']) {
                return Ok(node);
            } else {
                match self.value()? {
                    Value::String(key) if self.take("=") => {
                        node.properties.insert(key, self.value()?);
                    }
                    value => node.arguments.push(value),
                }
            }
        }
    }

    fn value(&mut self) -> Result<Value, Error> {
        if self.take("\"") {
            return self.text();
        }
        let hashes = self.take_until(|c| c != '#');
        if !hashes.is_empty() && self.take("\"") {
            let text = self.rest.split_once(&format!("\"{hashes}"));
            let (text, rest) = text.ok_or_else(|| self.error("a raw text without its end"))?;
            self.rest = rest;
            return Ok(text.into());
        }
        let word = self.take_until(|c| c.is_whitespace() || "=;{}\"\\/()[]#".contains(c));
        let number = match word.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16),
            None => word.parse(),
        };
        match (hashes, word, number) {
            ("#", "true" | "false", _) => Ok((word == "true").into()),
            ("", _, Ok(number)) => Ok(number.into()),
            ("", _, _) if word.starts_with(|c: char| !c.is_ascii_digit()) => Ok(word.into()),
            _ => Err(self.error("expected a name or a value")),
        }
    }

    /// Reads the rest of a text in quotes.
    fn text(&mut self) -> Result<Value, Error> {
        let escaped = |rest: &mut Chars<'a>| match rest.next()? {
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'u' => {
                let (code, after) = rest.as_str().strip_prefix('{')?.split_once('}')?;
                *rest = after.chars();
                char::from_u32(u32::from_str_radix(code, 16).ok()?)
            }
            c => Some(c).filter(|c| ['"', '\\'].contains(c)),
        };
        let (mut text, mut rest) = (String::new(), self.rest.chars());
        loop {
            text.push(match rest.next() {
                Some('"') => break,
                Some('\\') => escaped(&mut rest).ok_or_else(|| self.error("no such escape"))?,
                None | Some('\n') => return Err(self.error("a text without its end")),
                Some(c) => c,
            });
        }
        self.rest = rest.as_str();
        Ok(text.into())
    }
}
