//! The real client against a daemon that is played.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test ends by a panic, and what the tests share is no test function itself"
)]

mod commands;
mod daemon;
mod images;
mod runs;
mod script;
mod terminal;
