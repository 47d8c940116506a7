//! A container of a sandbox: what it has beyond other containers, and the request for one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{IdMapping, NamespaceModes, SandboxId, Selinux, UserNamespace};
use crate::{
    container::{DeviceMapping, Propagation, Resources},
    image::ImageId,
    signal::Signal,
};

/// Who a container is within its sandbox. Both together are unique there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContainerMetadata {
    /// Its name.
    pub name: String,
    /// How often it was made again.
    pub attempt: u32,
}

/// What a container of a sandbox has beyond other containers; recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// Who the sandbox is; the container's record stands alone.
    pub sandbox_metadata: super::Metadata,
    /// Who it is there.
    pub metadata: ContainerMetadata,
    /// The image as the user wrote it in the pod's manifest, where the orchestrator says so.
    pub user_specified_image: String,
    /// CRI annotations: kept and shown, never obeyed.
    pub annotations: BTreeMap<String, String>,
    /// Where its log is; nowhere when absent.
    pub log: Option<CriLog>,
    /// Whose namespaces it is in; `user` is that of its sandbox.
    pub namespaces: NamespaceModes,
    /// Its mounts, in the order of the request, with what was resolved.
    pub mounts: Vec<PodMount>,
    /// How its further groups are found.
    pub groups_policy: GroupsPolicy,
    /// Paths that are hidden; the defaults when absent.
    pub masked_paths: Option<Vec<String>>,
    /// Paths that are read-only; the defaults when absent.
    pub readonly_paths: Option<Vec<String>>,
    /// SELinux label.
    pub selinux: Option<Selinux>,
    /// Whom its init process was last started as, resolved (`ContainerStatus.user`).
    pub user: Option<RunAs>,
    /// Its processes come from a checkpoint, which is kept beside its record until it runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
}

/// The log of a container in CRI's format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CriLog {
    /// The sandbox's log directory, absolute.
    pub directory: String,
    /// The file beneath it; no link on the way is followed.
    pub path: String,
}

impl CriLog {
    /// The whole path, as CRI shows it.
    #[must_use]
    pub fn full(&self) -> String {
        format!("{}/{}", self.directory.trim_end_matches('/'), self.path)
    }
}

/// User and groups as numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are CRI's")]
pub struct RunAs {
    pub uid: u32,
    pub gid: u32,
    pub supplemental_groups: Vec<u32>,
}

/// Whether the image may add groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupsPolicy {
    /// The groups of the request and those the image's `/etc/group` gives the user.
    #[default]
    Merge,
    /// Those of the request alone.
    Strict,
}

/// A mount of a container of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodMount {
    /// What is mounted.
    pub source: PodMountSource,
    /// Absolute path in the container.
    pub target: String,
    /// Whether, and how far down, it is read-only.
    pub readonly: ReadOnly,
    /// How mounts propagate.
    pub propagation: Propagation,
    /// Relabel for SELinux; nothing to do where the kernel has none.
    pub selinux_relabel: bool,
    /// Ids of an id-mapped mount; empty: none.
    pub uids: Vec<IdMapping>,
    /// As `uids`.
    pub gids: Vec<IdMapping>,
    /// Further flags.
    pub flags: MountFlags,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodMountSource {
    /// An absolute path of the host; made as a directory where it is missing.
    Host(String),
    /// An image's root file system, always read-only.
    Image {
        /// As it was asked for.
        reference: String,
        /// The image it meant; absent in a request.
        id: Option<ImageId>,
        /// The part beneath its root; empty means all.
        sub_path: String,
    },
}

/// How far down a mount is read-only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadOnly {
    /// It is not.
    #[default]
    No,
    /// Itself; what is mounted below it stays as it is.
    Top,
    /// With everything below it. Refused where the kernel can't, and unless `propagation` is
    /// private.
    Recursive,
}

/// Flags of a mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "they are those of mount(8)")]
pub struct MountFlags {
    pub noexec: bool,
    pub nodev: bool,
    pub nosuid: bool,
}

/// A request for a container in a sandbox.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewMember {
    /// The sandbox: id or prefix.
    pub sandbox: String,
    /// Who the container is.
    pub metadata: ContainerMetadata,
    /// Reference or id of the image.
    pub image: String,
    /// The image as the pod's manifest has it.
    pub user_specified_image: String,
    /// Replaces the image's entrypoint when not empty (and drops its command).
    pub command: Vec<String>,
    /// Replaces the image's command when not empty.
    pub args: Vec<String>,
    /// Working directory; the image's when absent.
    pub working_dir: Option<String>,
    /// Variables; the last of a name counts.
    pub envs: Vec<(String, String)>,
    /// Mounts.
    pub mounts: Vec<PodMount>,
    /// Device nodes.
    pub devices: Vec<DeviceMapping>,
    /// Qualified names of CDI devices.
    pub cdi_devices: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its log beneath the sandbox's log directory; none when absent.
    pub log_path: Option<String>,
    /// Standard input stays open.
    pub stdin: bool,
    /// It closes when the first attached client leaves.
    pub stdin_once: bool,
    /// With a terminal.
    pub tty: bool,
    /// What stop sends first; the image's or SIGTERM when absent.
    pub stop_signal: Option<Signal>,
    /// Limits.
    pub resources: Resources,
    /// Adjusts how soon the kernel kills it for lack of memory.
    pub oom_score_adj: Option<i32>,
    /// Security.
    pub security: ContainerSecurity,
}

/// The security context of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerSecurity {
    /// All capabilities and devices the daemon has, no masks, no filter. Only where the sandbox
    /// may, too.
    pub privileged: bool,
    /// Capabilities beyond the default, with or without `CAP_`, or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities taken away, or `ALL`.
    pub cap_drop: Vec<String>,
    /// Capabilities that a user who is not root has as well: added to all sets.
    pub cap_ambient: Vec<String>,
    /// Whose namespaces it wants. `user` must be that of the sandbox, or absent.
    pub namespaces: NamespaceModes,
    /// SELinux label.
    pub selinux: Option<Selinux>,
    /// User id. With none of the two, the image's user.
    pub run_as_user: Option<u32>,
    /// Group id; refused without a user.
    pub run_as_group: Option<u32>,
    /// User name, where no id is given.
    pub run_as_username: Option<String>,
    /// Further groups.
    pub supplemental_groups: Vec<u32>,
    /// Whether the image adds to them.
    pub supplemental_groups_policy: GroupsPolicy,
    /// The root file system is read-only.
    pub readonly_rootfs: bool,
    /// execve(2) gives no new privileges.
    pub no_new_privs: bool,
    /// Paths that are hidden; the defaults when absent.
    pub masked_paths: Option<Vec<String>>,
    /// Paths that are read-only; the defaults when absent.
    pub readonly_paths: Option<Vec<String>>,
    /// System call filter; absent means unconfined.
    pub seccomp: Option<SecurityProfile>,
    /// AppArmor profile; absent means the runtime's default, which is none.
    pub apparmor: Option<SecurityProfile>,
}

impl ContainerSecurity {
    /// The user namespace that is wanted.
    #[must_use]
    pub fn user_namespace(&self) -> Option<&UserNamespace> {
        self.namespaces.user.as_ref()
    }
}

/// A profile of seccomp or AppArmor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecurityProfile {
    /// The engine's own.
    RuntimeDefault,
    /// None.
    Unconfined,
    /// Seccomp: the absolute path of a file on the host. AppArmor: the name of a loaded profile.
    Localhost(String),
}
