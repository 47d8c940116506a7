//! An OCI runtime as a library: it knows the runtime-spec and the kernel, and nothing else.
//!
//! Work is split where a process boundary may lie. [`compile()`] reads and checks a
//! `config.json` once, in whatever process likes to (it is pure but for looking at the host), and
//! produces a [`plan::Plan`]: a few KiB that need no JSON, no lookup and no filter compilation any
//! more. [`init`] builds a container from a plan with one `clone3`, and [`exec`] adds a process to
//! one that runs; both want a caller with a single thread.
#![forbid(unsafe_code)]

pub mod capability;
pub mod cgroup;
mod channel;
pub mod checkpoint;
pub mod compile;
pub mod error;
pub mod exec;
pub mod hooks;
pub mod init;
pub mod plan;
mod process;
mod root;
pub mod seccomp;

pub use compile::{Setting, compile, compile_process};
pub use error::{Error, StartError, Step};
pub use init::{Init, Stdio};
pub use plan::{Plan, ProcessPlan, Rootfs};
