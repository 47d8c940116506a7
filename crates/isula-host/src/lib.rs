//! The adaptors that touch the host: runtimes and shims, logs, networks, the records on disk,
//! volumes, and the facts of the machine. It knows nothing of images.

#![forbid(unsafe_code)]

pub mod cdi;
pub mod checkpoints;
pub mod host;
pub mod logs;
pub mod network;
pub mod pods;
mod program;
mod ready;
pub mod records;
pub mod runtime;
mod systemd;
mod usage;
pub mod volumes;
