//! What a sandbox is asked to be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{container::Resources, ports::PortMapping};

/// Who a sandbox is to its orchestrator. All four together are unique.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Metadata {
    /// Name of the pod.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its namespace at the orchestrator.
    pub namespace: String,
    /// How often it was made again.
    pub attempt: u32,
}

/// A request for a sandbox.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SandboxConfig {
    /// Who it is.
    pub metadata: Metadata,
    /// Host name; the pod's name when absent, the host's own on the host's network.
    pub hostname: Option<String>,
    /// Absolute directory of the logs of its containers.
    pub log_directory: Option<String>,
    /// `/etc/resolv.conf`; the host's when absent.
    pub dns: Option<Dns>,
    /// Ports of the host that lead into it.
    pub port_mappings: Vec<PortMapping>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations: kept and shown, never obeyed.
    pub annotations: BTreeMap<String, String>,
    /// Runtime handler; empty means the default runtime.
    pub runtime_handler: String,
    /// The pod's control group, which whoever names it has made and limits. When absent, the engine
    /// makes one below its own.
    pub cgroup_parent: Option<String>,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Its namespaces. [`Scope::Target`] can't be one.
    pub namespaces: NamespaceModes,
    /// Its containers may be privileged.
    pub privileged: bool,
    /// SELinux label; ignored where the kernel has no SELinux.
    pub selinux: Option<Selinux>,
    /// What its containers may use together; set on the control group where the engine made it.
    pub resources: Option<Resources>,
    /// What running it costs beyond its containers; kept and shown.
    pub overhead: Option<Resources>,
}

/// Name resolution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Name servers.
    pub servers: Vec<String>,
    /// Search domains.
    pub searches: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

/// Whose a namespace is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// The sandbox's.
    #[default]
    Pod,
    /// The container's own.
    Container,
    /// The host's.
    Node,
    /// That of another container of the same sandbox, by its id.
    Target(String),
}

/// The namespaces of a sandbox, or those a container of it wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceModes {
    /// Network: `Pod` or `Node`.
    pub network: Scope,
    /// Processes: any.
    pub pid: Scope,
    /// IPC: `Pod` or `Node`.
    pub ipc: Scope,
    /// Users: absent means the host's.
    pub user: Option<UserNamespace>,
}

/// A user namespace of the sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserNamespace {
    /// User ids; exactly one mapping, of id 0.
    pub uids: Vec<IdMapping>,
    /// Group ids, equal to `uids`.
    pub gids: Vec<IdMapping>,
}

/// A range of ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdMapping {
    /// First id on the host.
    pub host: u32,
    /// First id in the namespace.
    pub container: u32,
    /// How many.
    pub length: u32,
}

/// Parts of an SELinux label.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are SELinux'")]
pub struct Selinux {
    pub user: String,
    pub role: String,
    pub kind: String,
    pub level: String,
}
