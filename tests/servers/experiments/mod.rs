//! The experiments of chapters 01 to 03, which are no stages of the server.
//!
//! - [`futures`]: what the programs of chapter 02 print.

use libtest_mimic::Trial;

use crate::common::Book;

mod futures;

pub(crate) fn trials(book: Book) -> Vec<Trial> {
    futures::trials(book)
}
