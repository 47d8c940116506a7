//! What sandboxes and their containers use.

use jiff::Timestamp;

use super::SandboxId;
use crate::{id::ContainerId, ports::Usage};

/// What a container uses.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerStats {
    /// The container.
    pub id: ContainerId,
    /// When it was looked at.
    pub at: Timestamp,
    /// What its control group counts; absent unless it runs.
    pub usage: Option<Usage>,
    /// Its writable layer; absent for a prepared root file system.
    pub filesystem: Option<FilesystemUsage>,
}

/// What a writable layer uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesystemUsage {
    /// The directory that identifies the file system.
    pub mountpoint: String,
    /// Bytes allocated.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

/// What a sandbox uses.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxStats {
    /// The sandbox.
    pub id: SandboxId,
    /// When it was looked at.
    pub at: Timestamp,
    /// What its control group counts, all containers together; absent when it is not ready.
    pub usage: Option<Usage>,
    /// Interfaces of its network namespace, but the loopback device; empty on the host's network.
    pub network: Vec<InterfaceUsage>,
    /// Its containers.
    pub containers: Vec<ContainerStats>,
}

/// Counters of an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of /proc/net/dev")]
pub struct InterfaceUsage {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}
