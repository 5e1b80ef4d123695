//! The tests of the text: its chapters, its snippets, its pages.

mod chapters;
mod fixture;
mod site;
mod skeptic;
mod snippets;
mod spelling;
mod support;
mod translations;
