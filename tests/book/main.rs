//! The tests of the text: its chapters, its snippets, its pages.
//!
//! - `support`: the book as the tests read it
//! - `checks`: chapters and programs as they are written; `seen_to_fail` shows each check fail
//! - `snippets`: every Rust snippet, compiled
//! - `spelling`: the spelling of the English texts and of the programs
//! - `site`: the rendered book
//! - `translations`: the Chinese edition
//! - `fixture`: the small sound book that tests put a fault into

mod checks;
mod fixture;
mod seen_to_fail;
mod site;
mod snippets;
mod spelling;
mod support;
mod translations;
