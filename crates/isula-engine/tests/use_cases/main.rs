//! The use cases on the fakes of the ports: order, undo, recovery, supervision.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod checkpoints;
mod crash;
mod create;
mod grid;
mod names;
mod networks;
mod order;
mod recovery;
mod restart;
mod sandboxes;
mod support;
mod undo;
