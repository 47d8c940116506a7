//! What happened, for whoever watches the engine.

use crate::{id::ContainerId, sandbox::SandboxId};
use jiff::Timestamp;

/// One thing that happened to one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When it happened.
    pub at: Timestamp,
    /// What happened, to what.
    pub what: What,
}

/// The kinds of events, named as Docker names them where Docker has them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// Something happened to a container.
    Container {
        /// Its id.
        id: ContainerId,
        /// What happened.
        action: ContainerAction,
    },
    /// Something happened to a sandbox.
    Sandbox {
        /// Its id.
        id: SandboxId,
        /// What happened.
        action: SandboxAction,
    },
    /// Something happened to an image.
    Image {
        /// Its reference or id.
        image: String,
        /// What happened.
        action: ImageAction,
    },
}

/// What can happen to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContainerAction {
    /// It was created.
    Create,
    /// Its init process started.
    Start,
    /// Its init process ended with this exit code.
    Die(i32),
    /// A user asked it to stop, and it has.
    Stop,
    /// A signal was sent.
    Kill(i32),
    /// All its processes are frozen.
    Pause,
    /// They run again.
    Unpause,
    /// It has another name.
    Rename,
    /// It is gone.
    Destroy,
}

/// What can happen to a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SandboxAction {
    /// It is ready (CRI: created and started).
    Start,
    /// It was stopped.
    Stop,
    /// It is gone.
    Remove,
}

/// What can happen to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageAction {
    /// It was pulled.
    Pull,
    /// It was loaded from an archive.
    Load,
    /// It was made from a root file system.
    Import,
    /// It was written to an archive.
    Save,
    /// It got a further name.
    Tag,
    /// It lost a name.
    Untag,
    /// It is gone.
    Delete,
}
