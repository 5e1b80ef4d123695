//! What the commands do for a reader and an author. Each test starts the real program, as they do.
//!
//! - `cases`: commands and what they say, as `cases.txt` lists them.
//! - `serve`, `build`, `new`, `check`: what a line of that list can't tell. `cargo run` serves.
//! - `browser`: what the scripts of the pages do. Not tested where there is no Chromium.
//! - `output`: what becomes of a command when its output can't be written.
//! - `rebuild`: no command replaces a program that another one runs.
//! - `races`: what `check` relies on while it starts servers.
//! - `program`: starts a program in a folder of its own, and waits for its lines and its end.
//! - `visit`: asks a book that is served for pages, as a browser does.

mod browser;
mod build;
mod cases;
mod check;
mod new;
mod output;
mod program;
mod races;
mod rebuild;
mod serve;
mod visit;
