//! The runtime as an engine sees it: a bundle, the command line, and what the container finds
//! inside. These tests need root; every one cleans up after itself.

mod bundle;
mod fields;
mod hooks;
mod inside;
mod life;
mod mounts;
mod refused;
mod security;
mod terminal;
mod user_namespace;
