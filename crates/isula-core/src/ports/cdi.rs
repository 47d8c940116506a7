//! Devices of the Container Device Interface: what a vendor says that a container needs for them.

use crate::cdi::CdiName;

/// The specifications of devices on this host.
pub trait CdiDevices: Send + Sync {
    /// What the devices change in a container, in the order of their names; what several share is there
    /// once. It reads files, and may block.
    ///
    /// # Errors
    /// One of them is not specified, or twice, or asks for what can't be had; it is named.
    fn edits(&self, names: &[CdiName]) -> super::Result<CdiEdits>;
}

/// What devices change in a container (CDI's `containerEdits`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct CdiEdits {
    /// Variables, `NAME=value`.
    pub env: Vec<String>,
    /// Device nodes.
    pub nodes: Vec<CdiNode>,
    /// Mounts.
    pub mounts: Vec<CdiMount>,
    /// OCI hooks.
    pub hooks: Vec<CdiHook>,
    /// Further groups of the process.
    pub additional_gids: Vec<u32>,
}

/// A device node in a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CdiNode {
    /// Its path in the container, absolute and clean.
    pub path: String,
    /// `b`, `c` or `p`.
    pub kind: char,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner; that of the process when absent.
    pub uid: Option<u32>,
    /// Group; that of the process when absent.
    pub gid: Option<u32>,
    /// Some of `r`, `w`, `m`.
    pub access: String,
}

/// A mount in a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CdiMount {
    /// Path of the host, without symbolic links.
    pub source: String,
    /// Path in the container, absolute and clean.
    pub target: String,
    /// Type of the file system.
    pub kind: String,
    /// Options.
    pub options: Vec<String>,
}

/// An OCI hook.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CdiHook {
    /// When it runs, as the runtime-spec names it.
    pub point: String,
    /// The program, absolute.
    pub path: String,
    /// Its arguments, the first is its name.
    pub args: Vec<String>,
    /// Its variables.
    pub env: Vec<String>,
    /// Seconds it may take.
    pub timeout: Option<i64>,
}
