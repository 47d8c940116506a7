//! What a sandbox (CRI's pod) is: namespaces, a control group and a network that containers share.
//! It has no process of its own but, where its containers share a pid namespace, a tiny init.

mod config;
mod exit;
mod files;
mod filter;
mod member;
mod state;
mod stats;
mod texts;
mod verify;
mod verify_member;

pub use config::{
    Dns, IdMapping, Metadata, NamespaceModes, SandboxConfig, Scope, Selinux, UserNamespace,
};
pub use filter::{MemberFilter, MemberState, SandboxFilter};
pub use member::{
    ContainerMetadata, ContainerSecurity, CriLog, GroupsPolicy, Member, MountFlags, NewMember,
    PodMount, PodMountSource, ReadOnly, RunAs, SecurityProfile,
};
pub use state::{SandboxEvent, SandboxState, SandboxTransitionError};
pub use stats::{ContainerStats, FilesystemUsage, InterfaceUsage, SandboxStats};
pub use texts::verify_texts;
pub use verify::verify;
pub use verify_member::verify_member;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{id::ContainerId, ports::Attachment};

/// The id of a sandbox: of the same form as that of a container.
pub type SandboxId = ContainerId;

/// A sandbox as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Its id.
    pub id: SandboxId,
    /// When it was asked for.
    pub created: Timestamp,
    /// What was asked for, verified.
    pub config: SandboxConfig,
    /// The OCI runtime that its handler names; its containers run by it.
    pub runtime: String,
    /// The control group below which those of its containers are made, absolute.
    pub cgroup: String,
    /// The engine made that control group, and takes it away.
    pub own_cgroup: bool,
    /// Where it is in its life.
    pub state: SandboxState,
    /// What the network gave; absent on the host's network, and before it is attached.
    pub attachment: Option<Attachment>,
}

impl Sandbox {
    /// Whether containers can be made in it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.state, SandboxState::Ready(_))
    }

    /// Whether it has a network namespace of its own.
    #[must_use]
    pub fn has_network(&self) -> bool {
        self.config.namespaces.network != Scope::Node
    }
}
