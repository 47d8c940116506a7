//! What end-to-end tests stand on: the real programs, a daemon on roots of its own, a registry on
//! loopback, a real pseudo terminal, and a census of everything a test could leave behind.

#![forbid(unsafe_code)]

pub mod census;
pub mod cri;
pub mod daemon;
pub mod host;
pub mod images;
pub mod programs;
pub mod registry;
pub mod stream;
pub mod terminal;
pub mod trace;
pub mod world;

pub use cri::Node;
pub use registry::Registry;
pub use world::{Outcome, World};
