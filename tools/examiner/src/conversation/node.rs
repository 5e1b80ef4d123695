//! A node of a KDL file that knows its line, so that an error can name it.

use std::fmt::Display;

use kdl::{KdlEntry, KdlNode, KdlValue};

use crate::Error;

/// A file of conversations.
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    /// Where lines begin, but for the first. A step of `repeat` asks for its line in each round.
    starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(super) fn new(name: &'a str, text: &str) -> Source<'a> {
        let starts = text.match_indices('\n').map(|(end, _)| end + 1);
        let starts = starts.collect();
        Source { name, starts }
    }

    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset) + 1
    }

    pub(super) fn error(&self, offset: usize, what: impl Display) -> Error {
        Error::malformed(format!("{}:{}", self.name, self.line(offset)), what)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) kdl: &'a KdlNode,
    pub(super) source: &'a Source<'a>,
}

impl<'a> Node<'a> {
    pub(super) fn name(self) -> &'a str {
        self.kdl.name().value()
    }

    fn offset(self) -> usize {
        self.kdl.name().span().offset()
    }

    pub(super) fn line(self) -> usize {
        self.source.line(self.offset())
    }

    pub(super) fn error(self, what: impl Display) -> Error {
        self.source.error(self.offset(), what)
    }

    pub(super) fn children(self) -> impl Iterator<Item = Node<'a>> {
        let source = self.source;
        let children = self.kdl.iter_children();
        children.map(move |kdl| Node { kdl, source })
    }

    fn arguments(self) -> impl Iterator<Item = &'a KdlValue> {
        let entries = self.kdl.entries().iter();
        let arguments = entries.filter(|entry| entry.name().is_none());
        arguments.map(KdlEntry::value)
    }

    pub(super) fn texts(self) -> impl Iterator<Item = &'a str> {
        self.arguments().filter_map(KdlValue::as_string)
    }

    pub(super) fn integers(self) -> impl Iterator<Item = i128> {
        self.arguments().filter_map(KdlValue::as_integer)
    }

    /// The first argument that is a text.
    pub(super) fn text(self) -> Result<String, Error> {
        let text = self.texts().next().map(str::to_string);
        text.ok_or_else(|| self.error(format!("{} what? expected a text in quotes", self.name())))
    }

    fn property<T>(
        self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a KdlValue) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let value = self.kdl.get(key).map(|value| {
            read(value).ok_or_else(|| self.error(format!("{key}: expected {expected}")))
        });
        value.transpose()
    }

    pub(super) fn word(self, key: &str) -> Result<Option<&'a str>, Error> {
        self.property(key, "a text in quotes", KdlValue::as_string)
    }

    pub(super) fn number<T: TryFrom<i128>>(self, key: &str) -> Result<Option<T>, Error> {
        let number = |value: &KdlValue| value.as_integer()?.try_into().ok();
        self.property(key, "a number", number)
    }

    pub(super) fn flag(self, key: &str) -> Result<bool, Error> {
        let flag = self.property(key, "#true or #false", KdlValue::as_bool)?;
        Ok(flag.unwrap_or(false))
    }

    /// Fails if the node has a property that isn't one of these, which are separated by spaces.
    pub(super) fn allow(self, known: &str) -> Result<(), Error> {
        let names = self.kdl.entries().iter().filter_map(KdlEntry::name);
        let mut names = names.map(|name| name.value());
        match names.find(|name| !known.split(' ').any(|known| known == *name)) {
            None => Ok(()),
            Some(name) => Err(self.error(format!("no property {name}; there can be: {known}"))),
        }
    }
}
