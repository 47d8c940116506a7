//! The runtimes with real shims and real containers. As root, with busybox.

#![cfg(test)]

mod attach;
mod bench;
mod exec;
mod external;
mod life;
mod pods;
mod recovery;
mod trouble;
