//! The domain: what a container, an image, a volume and an event *are*, the states they pass
//! through, the OCI spec a container becomes, and the ports through which the engine reaches the
//! world. Nothing here opens a file, reads a clock, starts a process or knows a wire format.

#![forbid(unsafe_code)]

pub mod cdi;
pub mod cgroup;
pub mod container;
pub mod error;
pub mod event;
pub mod fault;
pub mod health;
pub mod id;
pub mod image;
pub mod ports;
pub mod sandbox;
pub mod signal;
pub mod spec;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod user;
