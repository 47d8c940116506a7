//! The use cases: the order of steps, the right to change a container, undo, recovery and
//! supervision. One file of [`container`] is one use case, named by its verb.
//!
//! Every change goes through one door: an operation *holds* a container (one holder at a time),
//! lets it *enter* a state (decided by [`isula_core::container::State::after`], saved, then shown),
//! and pushes the inverse of every step on a stack that runs when a later step fails. Readers take
//! the state that was shown last and never wait for a writer.

#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod container;
mod devices;
mod engine;
mod error;
mod events;
mod filesystems;
mod images;
mod index;
mod launch;
pub mod member;
mod overview;
mod recover;
mod sandbox;
mod settings;
mod slot;
mod storage;
mod supervise;
mod undo;
mod users;

pub use engine::Engine;
pub use error::Error;
pub use events::{Events, Missed};
pub use filesystems::Storage;
pub use overview::Counts;
pub use recover::Recovery;
pub use settings::{Patience, Ports, Settings, StopOptions, Umask};
pub use storage::{ContainerUsage, DiskUsage, ImageUsage, Pruned, VolumeUsage};

/// What a use case gives back.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every fault point of create, start, stop and remove, in the order of the steps; the crash test
/// stops the daemon at each (see [`isula_core::fault`]). The adaptors of the ports have more.
pub const FAULT_POINTS: [&str; 21] = [
    "create.named",
    "create.snapshot",
    "create.records",
    "create.volumes",
    "create.shown",
    "connect.reserved",
    "connect.namespace",
    "connect.attached",
    "start.prepared",
    "start.intent",
    "start.launched",
    "start.running",
    "stop.intent",
    "stop.signalled",
    "stop.exited",
    "connect.detached",
    "stop.recorded",
    "rm.intent",
    "rm.cleaned",
    "rm.volumes",
    "rm.records",
];

/// Those of running, stopping and removing a sandbox.
pub const SANDBOX_FAULT_POINTS: [&str; 12] = [
    "runp.named",
    "runp.intent",
    "runp.namespaces",
    "runp.attached",
    "runp.ready",
    "stopp.intent",
    "stopp.containers",
    "stopp.detached",
    "stopp.down",
    "rmp.intent",
    "rmp.containers",
    "rmp.record",
];
