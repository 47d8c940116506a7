//! System calls made safe: mounts, namespaces, terminals, processes, files.
//!
//! The one crate of the workspace that may use `unsafe`. `rustix` comes first; what it lacks is
//! wrapped here, one call a block. Nothing in this crate knows that containers exist.

pub mod beneath;
pub mod bpf;
pub mod capability;
pub mod clock;
pub mod errno;
pub mod exec;
pub mod fd_passing;
pub mod files;
pub mod heap;
pub mod limits;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod packet;
pub mod process;
pub mod pty;
pub mod quota;
pub mod sealed;
pub mod seccomp;
pub mod signal;
pub mod terminal;
pub mod xattr;
