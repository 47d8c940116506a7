//! The networks that pods and containers are attached to (CNI).

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Result;
use crate::id::ContainerId;

/// The network that is there without a configuration, as in Docker.
pub const BRIDGE: &str = "bridge";

/// A request to attach a network namespace, or to detach it: the same request for both, so that it
/// can be repeated after a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRequest {
    /// Whose namespace it is; CNI's `CNI_CONTAINERID`.
    pub id: ContainerId,
    /// The pinned namespace; CNI's `CNI_NETNS`. Absent when it is gone: then only a detachment is
    /// possible, and plugins free what they keep outside of it.
    pub namespace: Option<PathBuf>,
    /// The network by its name; the default one (first conflist by file name) when absent.
    pub network: Option<String>,
    /// Name of the interface in the namespace, `eth0`.
    pub interface: String,
    /// `CNI_ARGS`, in order: `IgnoreUnknown=1`, `K8S_POD_NAMESPACE`, `K8S_POD_NAME`, …
    pub args: Vec<(String, String)>,
    /// Runtime configuration of plugins that declare the capability.
    pub capabilities: Capabilities,
}

/// What goes into `runtimeConfig` for the plugins that ask for it (CNI conventions).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// `portMappings`.
    pub port_mappings: Vec<PortMapping>,
    /// `bandwidth`.
    pub bandwidth: Option<Bandwidth>,
    /// `ipRanges`: the CIDR blocks that kubelet gave, each a set of its own.
    pub ip_ranges: Vec<String>,
    /// `ips`: the addresses wanted, with or without prefix length.
    pub ips: Vec<String>,
    /// `mac`.
    pub mac: Option<String>,
    /// `dns`.
    pub dns: Option<NetworkDns>,
    /// `aliases`.
    pub aliases: Vec<String>,
    /// `cgroupPath`.
    pub cgroup_path: Option<String>,
    /// `io.kubernetes.cri.pod-annotations`.
    pub pod_annotations: BTreeMap<String, String>,
}

/// A port of the host that leads to one of the namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortMapping {
    /// On the host.
    pub host_port: u16,
    /// In the namespace.
    pub container_port: u16,
    /// Transport.
    pub protocol: Protocol,
    /// Only on this address of the host.
    pub host_ip: Option<IpAddr>,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are those of the protocols")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// Its name in lower case, as in `80/tcp`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// The protocol of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp].into_iter().find(|protocol| protocol.name() == name)
    }
}

/// Limits of traffic; 0 is unlimited. Rates in bits a second, bursts in bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are CNI's")]
pub struct Bandwidth {
    pub ingress_rate: u64,
    pub ingress_burst: u64,
    pub egress_rate: u64,
    pub egress_burst: u64,
}

/// Name resolution as a network wants or gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are CNI's")]
pub struct NetworkDns {
    pub nameservers: Vec<String>,
    pub domain: Option<String>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}

/// What an attachment gave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attachment {
    /// The network's name.
    pub network: String,
    /// The interface in the namespace.
    pub interface: String,
    /// Its hardware address, if the plugins told it.
    pub mac: Option<String>,
    /// Its addresses in the order of the result; the first is the primary one.
    pub addresses: Vec<Address>,
    /// Name resolution the network asks for.
    pub dns: NetworkDns,
}

/// An address of an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Length of the prefix in bits.
    pub prefix: u8,
    /// Its gateway.
    pub gateway: Option<IpAddr>,
}

/// A network that is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// CNI version of its configuration.
    pub version: String,
    /// Types of its plugins in order.
    pub plugins: Vec<String>,
    /// What its plugins take of a runtime's configuration: `portMappings`, `ips`, `mac`, …
    pub capabilities: Vec<String>,
    /// The file it was read from.
    pub path: PathBuf,
    /// The configuration as it is executed.
    pub json: String,
}

/// The networks.
#[async_trait]
pub trait Networks: Send + Sync {
    /// Makes a network namespace without a process, its loopback device up, and pins it at
    /// [`Networks::namespace_path`]. One that exists already is an error.
    async fn make_namespace(&self, id: &ContainerId) -> Result<PathBuf>;

    /// Pins a network namespace that exists already, as `make_namespace` does: one that belongs to
    /// a user namespace is made by the first process in there, and `source` is its
    /// `/proc/PID/ns/net`.
    async fn pin_namespace(&self, id: &ContainerId, source: &Path) -> Result<PathBuf>;

    /// Unpins the namespace. One that is not there is no error; it lives on while a process is in
    /// it.
    async fn remove_namespace(&self, id: &ContainerId) -> Result<()>;

    /// Where the namespace is, or would be, pinned.
    fn namespace_path(&self, id: &ContainerId) -> PathBuf;

    /// Attaches a namespace (ADD of every plugin in order). The result is kept for `detach`.
    ///
    /// # Errors
    /// No such network, a plugin's own words, or its deadline. What was done is undone.
    async fn attach(&self, request: &NetworkRequest) -> Result<Attachment>;

    /// Detaches it (DEL in reverse order). Idempotent; goes on after a failure and reports all.
    async fn detach(&self, request: &NetworkRequest) -> Result<()>;

    /// Whether an attachment is still as it was made (CHECK).
    async fn check(&self, request: &NetworkRequest) -> Result<()>;

    /// Whether the default network can be used now (a conflist is there, its STATUS is good).
    ///
    /// # Errors
    /// Says why not, in words for `NetworkReady`.
    async fn status(&self) -> Result<()>;

    /// The networks that are configured, by file name.
    fn list(&self) -> Vec<Network>;

    /// The port of the host for a mapping that is to be: its own when nobody else has it, or any
    /// free one when it is 0. It is not held.
    ///
    /// # Errors
    /// `InUse` when a process of the host has it; or the host has no such address.
    fn free_port(&self, mapping: &PortMapping) -> Result<u16>;

    /// Frees whatever belongs to no attachment of these: kept results, pinned namespaces, addresses
    /// (GC of the plugins). Called once at start.
    async fn collect(&self, alive: &[ContainerId]) -> Result<()>;
}
