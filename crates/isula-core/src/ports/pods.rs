//! The namespaces of sandboxes, and their records.

use std::{collections::BTreeMap, path::PathBuf};

use async_trait::async_trait;

use super::{Durability, Quarantined, Result};
use crate::{
    container::Resources,
    id::ContainerId,
    ports::Usage,
    sandbox::{InterfaceUsage, Sandbox, UserNamespace},
};

/// Which namespaces are to be made for a sandbox, and how they shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodRequest {
    /// With an UTS namespace of this host name; absent on the host's network.
    pub hostname: Option<String>,
    /// With an IPC namespace and `/dev/shm` of this many bytes.
    pub shm_size: Option<u64>,
    /// The network namespace.
    pub network: PodNetwork,
    /// With a user namespace that owns all others.
    pub user: Option<UserNamespace>,
    /// Kernel parameters, verified: each belongs to one of the namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// The sandbox's control group.
    pub cgroup: String,
    /// Make it, with these limits. It is there otherwise.
    pub own_cgroup: Option<Resources>,
}

/// What is to be done about the network namespace of a sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PodNetwork {
    /// Nothing.
    #[default]
    None,
    /// Kernel parameters are set in this one.
    At(PathBuf),
    /// It is made, so that the user namespace owns it, and pinned beside the others.
    Make,
}

/// Where the namespaces of a sandbox are pinned. Absent is what it does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PodPaths {
    /// UTS namespace.
    pub uts: Option<PathBuf>,
    /// IPC namespace.
    pub ipc: Option<PathBuf>,
    /// Network namespace, where [`PodNetwork::Make`] was asked for.
    pub network: Option<PathBuf>,
    /// User namespace.
    pub user: Option<PathBuf>,
    /// Directory for `/dev/shm`.
    pub shm: Option<PathBuf>,
}

/// The namespaces of sandboxes. They outlive the daemon, but not the machine.
#[async_trait]
pub trait Pods: Send + Sync {
    /// Makes and pins the namespaces of a sandbox.
    ///
    /// # Errors
    /// The kernel refused, or a parameter can't be set. What was done is undone.
    async fn make(&self, id: &ContainerId, request: &PodRequest) -> Result<PodPaths>;

    /// The pid namespace that the containers share, kept by a tiny init that reaps: made at the
    /// first call.
    async fn pid_namespace(&self, id: &ContainerId, cgroup: &str) -> Result<PathBuf>;

    /// Where its namespaces are pinned; `None` when they are not there (any more).
    async fn find(&self, id: &ContainerId) -> Result<Option<PodPaths>>;

    /// Ends the init of the sandbox, unpins its namespaces, and takes away its own control group
    /// if there is one. Idempotent.
    async fn remove(&self, id: &ContainerId, own_cgroup: Option<&str>) -> Result<()>;

    /// Removes what belongs to none of these, at start.
    async fn sweep(&self, known: &[ContainerId]) -> Result<Vec<ContainerId>>;

    /// What a control group counts.
    async fn usage(&self, cgroup: &str) -> Result<Usage>;

    /// Sets limits of a sandbox's own control group.
    async fn limit(&self, cgroup: &str, resources: &Resources) -> Result<()>;

    /// The interfaces of a network namespace, but the loopback device.
    async fn interfaces(&self, namespace: &std::path::Path) -> Result<Vec<InterfaceUsage>>;
}

/// The plain files of a sandbox that its containers share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SandboxFiles {
    /// Content of `/etc/hostname`.
    pub hostname: Vec<u8>,
    /// Content of `/etc/hosts`.
    pub hosts: Vec<u8>,
    /// Content of `/etc/resolv.conf`.
    pub resolv_conf: Vec<u8>,
}

/// The sandboxes that were found on disk at start.
#[derive(Debug, Default)]
pub struct RestoredSandboxes {
    /// Every one that could be read.
    pub sandboxes: Vec<Sandbox>,
    /// What could not be read and was moved aside.
    pub quarantined: Vec<Quarantined>,
}

/// The records of sandboxes; as [`super::Records`], which see.
#[async_trait]
pub trait SandboxRecords: Send + Sync {
    /// Reads every record; called once, at start.
    async fn load_sandboxes(&self) -> Result<RestoredSandboxes>;

    /// Makes the sandbox's directory, its record and its files. With [`Durability::Written`] it
    /// survives the death of the daemon, not a power cut: neither does what the record announces.
    ///
    /// # Errors
    /// Nothing is left behind.
    async fn create_sandbox(
        &self,
        sandbox: &Sandbox,
        files: &SandboxFiles,
        durability: Durability,
    ) -> Result<()>;

    /// Writes the record of a sandbox that exists.
    async fn save_sandbox(&self, sandbox: &Sandbox, durability: Durability) -> Result<()>;

    /// Writes its `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` again where they differ.
    async fn refresh_sandbox(&self, id: &ContainerId, files: &SandboxFiles) -> Result<()>;

    /// Removes the sandbox's directory; one that is not there is no error.
    async fn remove_sandbox(&self, id: &ContainerId) -> Result<()>;

    /// The sandbox's directory.
    fn sandbox_directory(&self, id: &ContainerId) -> PathBuf;
}
