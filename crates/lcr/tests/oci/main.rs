//! The runtime as an engine sees it: a bundle, the command line, and what the container finds
//! inside. These tests need root; every one cleans up after itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

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
