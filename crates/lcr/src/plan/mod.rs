//! The compact form of one container: all that is needed to build it, checked and resolved.
//!
//! A plan is made by [`crate::compile()`] and read by [`crate::init::spawn`], which may be another
//! process: it is encoded with postcard, a few KiB beside the seccomp program. Nothing in it needs
//! JSON, a look at the mount table, or the compilation of a filter.

mod mount;
mod process;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::CgroupPlan;
use crate::error::Error;

pub use mount::{Attributes, IdMap, Mount, MountKind, Propagation, PropagationKind};
pub use process::{Capabilities, ProcessPlan, Rlimit, Scheduler};

/// Raised by one whenever the encoding changes: a plan of another version is refused.
pub const VERSION: u8 = 2;

/// Everything needed to build one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Identity of the container, as in its state.
    pub id: String,
    /// The bundle's directory; a source of a bind mount that is relative starts here.
    pub bundle: PathBuf,
    /// Where the root file system comes from.
    pub rootfs: Rootfs,
    /// Show the layers of the root file system with the owners that the container's user namespace
    /// maps them to. Needs Linux 6.13 for an overlay.
    pub rootfs_idmapped: bool,
    /// Whether the root file system is read-only once the container is built.
    pub rootfs_readonly: bool,
    /// `linux.rootfsPropagation`; private when absent.
    pub rootfs_propagation: Option<Propagation>,
    /// Namespaces that are made and joined.
    pub namespaces: Namespaces,
    /// Mounts in the order they are made.
    pub mounts: Vec<Mount>,
    /// Whether the runtime fills `/dev` (not when `/dev` is a bind mount).
    pub populate_dev: bool,
    /// Device nodes beside the default ones.
    pub devices: Vec<Device>,
    /// Paths hidden from the container.
    pub masked_paths: Vec<String>,
    /// Paths made read-only.
    pub readonly_paths: Vec<String>,
    /// Files below `/proc/sys`, relative to it, and what is written to them.
    pub sysctls: Vec<(String, String)>,
    /// Host name to set in the UTS namespace.
    pub hostname: Option<String>,
    /// NIS domain name to set in the UTS namespace.
    pub domainname: Option<String>,
    /// SELinux context of file systems that the container mounts.
    pub mount_label: Option<String>,
    /// `personality(2)` value.
    pub personality: Option<u32>,
    /// Programs to run at the points of the life cycle.
    pub hooks: Hooks,
    /// The container's control group.
    pub cgroup: CgroupPlan,
    /// The init process.
    pub process: ProcessPlan,
    /// Move the root over `/` and change root instead of `pivot_root` (for a rootfs on ramfs).
    pub no_pivot: bool,
    /// A FIFO on the host: the init waits until one byte is written to it before it runs the
    /// program (the OCI `create` and `start`).
    pub hold: Option<PathBuf>,
    /// Descriptors after 2 that the program inherits.
    pub preserve_fds: u32,
    /// What was asked and could not be given in full; to be shown to the user.
    pub warnings: Vec<String>,
}

impl Plan {
    /// The plan as bytes.
    ///
    /// # Errors
    /// [`Error::Encoding`] when a path in it is not UTF-8.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        encode(self)
    }

    /// Reads what [`Plan::encode`] wrote.
    ///
    /// # Errors
    /// [`Error::Encoding`] when the bytes are cut short or not a plan, [`Error::PlanVersion`] when
    /// another version wrote them.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode(bytes)
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    postcard::to_extend(value, vec![VERSION]).map_err(Error::Encoding)
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(Error::Encoding),
        Some((&found, _)) => Err(Error::PlanVersion { found, expected: VERSION }),
        None => Err(Error::Encoding(postcard::Error::DeserializeUnexpectedEnd)),
    }
}

/// Where a root file system comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rootfs {
    /// A directory of the host.
    Directory(PathBuf),
    /// An overlay that is mounted inside the container's mount namespace only.
    Overlay {
        /// Read-only layers, the topmost first.
        lower: Vec<PathBuf>,
        /// The writable layer.
        upper: PathBuf,
        /// Overlayfs' work directory, on the file system of `upper`.
        work: PathBuf,
        /// No sync at all: the upper layer is worthless after a crash of the host.
        volatile: bool,
    },
}

/// One kind of namespace, with its `CLONE_NEW*` bit as its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u32)]
pub enum NamespaceKind {
    /// `time_namespaces(7)`.
    Time = 0x0000_0080,
    /// `mount_namespaces(7)`.
    Mount = 0x0002_0000,
    /// `cgroup_namespaces(7)`.
    Cgroup = 0x0200_0000,
    /// `uts_namespaces(7)`.
    Uts = 0x0400_0000,
    /// `ipc_namespaces(7)`.
    Ipc = 0x0800_0000,
    /// `user_namespaces(7)`.
    User = 0x1000_0000,
    /// `pid_namespaces(7)`.
    Pid = 0x2000_0000,
    /// `network_namespaces(7)`.
    Network = 0x4000_0000,
}

impl NamespaceKind {
    /// The `CLONE_NEW*` bit.
    #[must_use]
    pub const fn bit(self) -> u32 {
        self as u32
    }

    /// The name below `/proc/PID/ns`.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Mount => "mnt",
            Self::Cgroup => "cgroup",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::User => "user",
            Self::Pid => "pid",
            Self::Network => "net",
        }
    }
}

/// Namespaces of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Namespaces {
    /// `CLONE_NEW*` bits of the ones to make.
    pub new: u32,
    /// Files of the ones to join.
    pub join: Vec<(NamespaceKind, PathBuf)>,
    /// `linux.uidMappings` of a new user namespace.
    pub uid_mappings: Vec<IdMapping>,
    /// `linux.gidMappings` of a new user namespace.
    pub gid_mappings: Vec<IdMapping>,
    /// Lines for `/proc/PID/timens_offsets` of a new time namespace.
    pub time_offsets: Vec<TimeOffset>,
}

impl Namespaces {
    /// Whether a namespace of this kind is made.
    #[must_use]
    pub const fn makes(&self, kind: NamespaceKind) -> bool {
        self.new & kind.bit() != 0
    }

    /// The file of the namespace of this kind that is joined.
    #[must_use]
    pub fn joined(&self, kind: NamespaceKind) -> Option<&PathBuf> {
        self.join.iter().find(|(joined, _)| *joined == kind).map(|(_, path)| path)
    }

    /// Whether the container has a namespace of this kind apart from its creator's.
    #[must_use]
    pub fn separates(&self, kind: NamespaceKind) -> bool {
        self.makes(kind) || self.joined(kind).is_some()
    }
}

/// One line of `/proc/PID/uid_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// First id inside.
    pub container: u32,
    /// First id outside.
    pub host: u32,
    /// How many.
    pub size: u32,
}

/// An offset of a clock in a time namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOffset {
    /// `monotonic` or `boottime`.
    pub clock: String,
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds.
    pub nanoseconds: u32,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Absolute path in the container.
    pub path: String,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO` with the permission bits.
    pub mode: u32,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Hooks of the life cycle, and the state they are told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hooks {
    /// Deprecated by the spec, called before `create_runtime` and where it is.
    pub prestart: Vec<Hook>,
    /// In the runtime's namespaces, after the container's are made and before `pivot_root`.
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before `pivot_root`.
    pub create_container: Vec<Hook>,
    /// In the container's namespaces and root, before the program.
    pub start_container: Vec<Hook>,
    /// In the runtime's namespaces, after the program has started.
    pub poststart: Vec<Hook>,
    /// In the runtime's namespaces, after the container is deleted.
    pub poststop: Vec<Hook>,
    /// The state as JSON up to where `"status"` belongs.
    pub state_head: String,
    /// The state as JSON after `"pid"`.
    pub state_tail: String,
}

/// A program called at a point of the life cycle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Absolute path.
    pub path: PathBuf,
    /// Arguments with the name of the program; never empty.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<String>,
    /// Seconds after which it is killed and has failed.
    pub timeout: Option<u32>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A plan with nothing in it but a control group that is never made.
    pub(crate) fn plan() -> Plan {
        let hierarchies = crate::cgroup::Hierarchies::detect().unwrap();
        let cgroup = CgroupPlan::new(
            &hierarchies,
            std::path::Path::new("/lcr-test-plan"),
            &oci_spec::runtime::LinuxResources::default(),
        );
        Plan {
            id: "test".into(),
            bundle: "/".into(),
            rootfs: Rootfs::Directory("/nonexistent".into()),
            rootfs_idmapped: false,
            rootfs_readonly: false,
            rootfs_propagation: None,
            namespaces: Namespaces::default(),
            mounts: Vec::new(),
            populate_dev: true,
            devices: Vec::new(),
            masked_paths: Vec::new(),
            readonly_paths: Vec::new(),
            sysctls: Vec::new(),
            hostname: None,
            domainname: None,
            mount_label: None,
            personality: None,
            hooks: Hooks::default(),
            cgroup: cgroup.unwrap(),
            process: ProcessPlan::default(),
            no_pivot: false,
            hold: None,
            preserve_fds: 0,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_plan_that_is_decoded_is_the_one_that_was_encoded() {
        let plan = plan();
        let bytes = plan.encode().unwrap();
        assert_eq!(Plan::decode(&bytes).unwrap(), plan);
        assert!(bytes.len() < 4096, "{}", bytes.len());
        let process = ProcessPlan { args: vec!["x".into()], ..ProcessPlan::default() };
        assert_eq!(ProcessPlan::decode(&process.encode().unwrap()).unwrap(), process);
    }

    #[test]
    fn bytes_that_are_no_plan_are_an_error() {
        let bytes = plan().encode().unwrap();
        for end in 0..bytes.len() {
            assert!(Plan::decode(&bytes[..end]).is_err());
        }
        let mut other = bytes;
        other[0] = VERSION + 1;
        assert!(matches!(Plan::decode(&other), Err(Error::PlanVersion { .. })));
        // Lengths that promise more than there is do not allocate it.
        assert!(Plan::decode(&[VERSION, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err());
    }
}
