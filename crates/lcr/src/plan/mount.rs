//! Mounts of a plan.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::IdMapping;

/// Propagation of a mount, `mount_namespaces(7)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propagation {
    /// Which of the four types.
    pub kind: PropagationKind,
    /// Whether the mounts below it get it too.
    pub recursive: bool,
}

/// The four types of propagation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PropagationKind {
    /// Events pass both ways.
    Shared,
    /// Events come from the peer group only.
    Slave,
    /// No events.
    Private,
    /// No events, and it cannot be bind mounted.
    Unbindable,
}

/// One mount of the container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, absolute, seen from the container's root.
    pub destination: String,
    /// What.
    pub kind: MountKind,
    /// Flags of the mount point.
    pub attributes: Attributes,
    /// Propagation, set after the attributes in this order; private when empty.
    pub propagation: Vec<Propagation>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// Absolute path on the host.
        source: PathBuf,
        /// Whether mounts below it come along.
        recursive: bool,
        /// Ownership seen through the mount.
        idmap: Option<IdMap>,
    },
    /// A file system of its own.
    Filesystem {
        /// Type, as in `/proc/filesystems`.
        kind: String,
        /// The source that is shown, or a block device.
        source: String,
        /// Parameters of the file system: flags have no value.
        options: Vec<(String, Option<String>)>,
        /// Copy what the mount point holds into the (tmpfs) file system first.
        copy_up: bool,
    },
    /// Layers of directories of the host, read-only.
    Layers {
        /// The topmost first; at least two.
        lower: Vec<PathBuf>,
        /// The directory of them that is mounted, relative; empty means all.
        sub_path: String,
        /// Ownership seen through the mount.
        idmap: Option<IdMap>,
    },
    /// The control groups of version 1, as the container may see them: its own group of each
    /// hierarchy, in a tmpfs.
    CgroupV1 {
        /// Name in the tmpfs, and the container's group on the host.
        groups: Vec<(String, PathBuf)>,
        /// Links in the tmpfs: name and text.
        links: Vec<(String, String)>,
    },
}

/// An idmapped mount, `mount_setattr(2)` `MOUNT_ATTR_IDMAP`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IdMap {
    /// User ids; empty means those of the container's user namespace.
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids; empty means those of the container's user namespace.
    pub gid_mappings: Vec<IdMapping>,
    /// Whether mounts below it are mapped too.
    pub recursive: bool,
}

impl IdMap {
    /// The owners that the container's user namespace maps files to.
    #[must_use]
    pub const fn of_container() -> Self {
        Self { uid_mappings: Vec::new(), gid_mappings: Vec::new(), recursive: false }
    }
}

/// `MOUNT_ATTR_*` bits of `mount_setattr(2)` to set and to clear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Set on the mount itself.
    pub set: u32,
    /// Cleared on the mount itself.
    pub clear: u32,
    /// Set on the mount and all below it (`rro` and its like).
    pub set_recursive: u32,
    /// Cleared on the mount and all below it.
    pub clear_recursive: u32,
}
