//! What a container is: a request that was accepted ([`Config`], [`HostConfig`]), an identity, and
//! a [`State`].

pub mod capability;
mod config;
pub(crate) mod env;
mod filter;
mod host_config;
mod invalid;
mod merge;
mod network;
mod new;
pub mod path;
pub mod restart;
pub mod security;
mod state;
mod verify;

pub use crate::health::Healthcheck;
pub use config::{Config, ExecConfig};
pub use filter::{FilterError, Filters};
pub use host_config::{
    CgroupMode, DeviceMapping, HostConfig, LogConfig, LogDriver, Mount, MountKind, NamespaceMode,
    Propagation, Resources, RestartPolicy, Tmpfs, Ulimit,
};
pub use invalid::Invalid;
pub use merge::merge;
pub use network::{Connection, Endpoint, NetworkMode};
pub use new::{Joins, NewContainer, Overrides};
pub use state::{Event, Exit, Run, State, TransitionError};
pub(crate) use verify::{HostAddress, Rule, check_ulimit, extra_host, rule, sysctl_of};
pub use verify::{verify, verify_resources};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    id::{ContainerId, Name},
    image::ImageId,
    sandbox::Member,
};

/// A container as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// Its name; equal to the id when none was given.
    pub name: Name,
    /// When `create` accepted it.
    pub created: Timestamp,
    /// What its root file system comes from.
    pub source: Source,
    /// What runs in it.
    pub config: Config,
    /// How it is tied to the host.
    pub host: HostConfig,
    /// What it has as a member of a sandbox; absent for one that is in none.
    pub pod: Option<Box<Member>>,
    /// What its network gave it, from the beginning of a start to the end of the run.
    pub network: Option<Box<Endpoint>>,
    /// Where it is in its life.
    pub state: State,
    /// How often the restart policy has started it again since a user did.
    pub restarts: u32,
    /// When its init process last started, if ever.
    pub started: Option<Timestamp>,
    /// The user stopped it: `unless-stopped` must not start it again.
    pub stopped_by_user: bool,
}

/// What the root file system of a container comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// An image of the store.
    Image {
        /// The reference or id as the user wrote it.
        reference: String,
        /// The image it meant at `create`.
        id: ImageId,
    },
    /// A directory of the host that the user prepared (`--external-rootfs`).
    Directory(String),
}
