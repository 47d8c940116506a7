//! The real client against a daemon that is played.

mod commands;
mod daemon;
mod images;
mod runs;
mod script;
mod terminal;
