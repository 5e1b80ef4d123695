//! The book as the tests read it, and what all of them need.
//!
//! - `book`: everything that the tests look at, read once
//! - `chapter`: one Markdown file, and the fences, headings, lists and includes in it
//! - `program`: one file of code, and the anchors in it
//! - `problem`: what is wrong, and how a test reports it
//! - `files`: folders, files and paths

mod book;
mod chapter;
mod files;
mod problem;
mod program;

pub(crate) use book::{Book, Language, number_of};
pub(crate) use chapter::{Chapter, Fence};
pub(crate) use files::{below, files, line_of, read, resolve};
pub(crate) use problem::{Problem, assert_none};
pub(crate) use program::{Program, number, words};
