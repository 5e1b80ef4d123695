//! The programs of the book, played with over real sockets.

mod client;
mod conversations;
mod limits;
mod mistakes;
mod stages;
