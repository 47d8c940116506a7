//! How a container is tied to the host: namespaces, mounts, resources, security.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::NetworkMode;
use crate::id::ContainerId;

/// How a container is tied to the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostConfig {
    /// Name of the OCI runtime: `lcr` is the built-in one.
    pub runtime: String,
    /// Remove the container when it ends.
    pub auto_remove: bool,
    /// Whether and when the engine starts it again.
    pub restart: RestartPolicy,
    /// Network.
    pub network: NetworkMode,
    /// Host name namespace.
    pub uts: NamespaceMode,
    /// System V IPC and POSIX message queues.
    pub ipc: NamespaceMode,
    /// Process ids.
    pub pid: NamespaceMode,
    /// Cgroup namespace; `None` means the default of the hierarchy (private on v2, host on v1).
    pub cgroupns: Option<CgroupMode>,
    /// Cgroup below which the container's own is made.
    pub cgroup_parent: Option<String>,
    /// Bind mounts and volumes.
    pub mounts: Vec<Mount>,
    /// Memory file systems.
    pub tmpfs: Vec<Tmpfs>,
    /// The root file system is read-only.
    pub readonly_rootfs: bool,
    /// Options of the root file system's storage (`size`), name to value.
    pub storage_options: BTreeMap<String, String>,
    /// Bytes of `/dev/shm`; 64 MiB when absent.
    pub shm_size: Option<u64>,
    /// All capabilities, all devices, no masks, no seccomp.
    pub privileged: bool,
    /// Capabilities beyond the default, `CAP_` or not, or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities taken from the default, or `ALL`.
    pub cap_drop: Vec<String>,
    /// Capabilities that are kept by programs without capabilities of their own, whoever runs them,
    /// `CAP_` or not, or `ALL`; they are added to the others.
    pub cap_ambient: Vec<String>,
    /// Docker's `--security-opt`, each verified at `create`. A seccomp profile file was read by
    /// the client: `seccomp=` is followed by `unconfined` or by the profile's JSON text.
    pub security_opt: Vec<String>,
    /// Additional groups of the user, names or numbers.
    pub group_add: Vec<String>,
    /// Namespaced kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// Limits of resources.
    pub resources: Resources,
    /// Resource limits of processes.
    pub ulimits: Vec<Ulimit>,
    /// Device nodes of the host.
    pub devices: Vec<DeviceMapping>,
    /// Devices of the Container Device Interface, `vendor.com/class=device`.
    pub cdi_devices: Vec<String>,
    /// Cgroup device rules, `c 1:3 rwm`.
    pub device_cgroup_rules: Vec<String>,
    /// `NAME:ADDRESS` lines for `/etc/hosts`.
    pub extra_hosts: Vec<String>,
    /// Name servers, search domains and options of `/etc/resolv.conf`; the host's when empty.
    pub dns: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Resolver options.
    pub dns_options: Vec<String>,
    /// A tiny init reaps zombies and forwards signals.
    pub init: bool,
    /// Adjusts how soon the kernel kills the container for lack of memory, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Where output goes.
    pub log: LogConfig,
    /// OCI hooks, the JSON object of the runtime-spec.
    pub hooks: Option<serde_json::Value>,
}

impl HostConfig {
    /// The most bytes that the writable layer may take (`size` of the storage options); `None` when
    /// there is no limit, or it is not valid.
    #[must_use]
    pub fn storage_size(&self) -> Option<u64> {
        let text = self.storage_options.get("size")?.to_ascii_lowercase();
        let text = text.strip_suffix('b').unwrap_or(&text);
        let text = text.strip_suffix('i').unwrap_or(text);
        let shift = match text.chars().last()? {
            'k' => 10,
            'm' => 20,
            'g' => 30,
            't' => 40,
            _ => 0,
        };
        let digits = if shift == 0 { text } else { text.get(..text.len() - 1)? };
        let number =
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?;
        number.and_then(|number: u64| number.checked_mul(1 << shift)).filter(|bytes| *bytes > 0)
    }
}

/// Whether and when the engine starts a container again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Always, also after a restart of the daemon.
    Always,
    /// As `Always`, unless a user stopped it.
    UnlessStopped,
    /// When it failed, at most this many times (0: without limit).
    OnFailure(u32),
}

/// A namespace of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceMode {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// That of another container.
    Container(ContainerId),
}

/// The cgroup namespace of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupMode {
    /// Its own.
    Private,
    /// The host's.
    Host,
}

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Absolute path in the container.
    pub target: String,
    /// Read-only.
    pub readonly: bool,
    /// Mounts below the source come along.
    pub recursive: bool,
    /// How mounts propagate.
    pub propagation: Propagation,
    /// Do not copy the image's content into a new volume.
    pub no_copy: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A path of the host.
    Bind {
        /// Absolute path.
        source: String,
        /// Make the source a directory if it is missing (`-v`; `--mount` refuses instead).
        create: bool,
    },
    /// A volume of the engine; anonymous ones are named by 64 hexadecimal digits.
    Volume {
        /// Its name.
        name: String,
        /// Removed together with the container by `rm -v` and `--rm`.
        anonymous: bool,
    },
}

/// Mount propagation (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of mount(8)")]
pub enum Propagation {
    #[default]
    Rprivate,
    Private,
    Rshared,
    Shared,
    Rslave,
    Slave,
}

/// A memory file system in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Absolute path in the container.
    pub target: String,
    /// Mount options as the user wrote them, separated by commas; empty means
    /// `rw,noexec,nosuid,nodev`.
    pub options: String,
}

/// Limits of resources. Absent means unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory that are kept under pressure.
    pub memory_reservation: Option<u64>,
    /// Bytes of memory and swap together; -1 is unlimited swap.
    pub memory_swap: Option<i64>,
    /// 0 to 100; cgroup v1 only.
    pub memory_swappiness: Option<u64>,
    /// Processors, in billionths (`--cpus 1.5` is 1,500,000,000).
    pub nano_cpus: Option<u64>,
    /// Relative share of processor time, 2 to 262144.
    pub cpu_shares: Option<u64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds of processor time within each period; -1 is unlimited.
    pub cpu_quota: Option<i64>,
    /// Processors, `0-3,5`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes.
    pub cpuset_mems: Option<String>,
    /// Processes and threads; -1 is unlimited.
    pub pids_limit: Option<i64>,
    /// 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Do not kill for lack of memory; cgroup v1 only.
    pub oom_kill_disable: Option<bool>,
    /// Page size such as `2MB` to bytes.
    pub hugetlb: BTreeMap<String, u64>,
    /// Files of cgroup v2 to values.
    pub unified: BTreeMap<String, String>,
}

/// A resource limit (getrlimit(2)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, without `RLIMIT_`.
    pub name: String,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// A device node of the host that a container gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMapping {
    /// Path on the host.
    pub host: String,
    /// Path in the container.
    pub container: String,
    /// Some of `r`, `w`, `m`.
    pub permissions: String,
}

/// Where the output of a container goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// The driver.
    pub driver: LogDriver,
    /// Bytes at which a file is rotated; 0 never.
    pub max_size: u64,
    /// Files kept, the current one among them; at least 1.
    pub max_files: u32,
}

/// The ways to keep output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogDriver {
    /// Docker's json-file lines in `console.log`.
    JsonFile,
    /// Nowhere.
    None,
}

impl Default for LogConfig {
    /// Bounded by default: 3 files of 10 MiB.
    fn default() -> Self {
        Self { driver: LogDriver::JsonFile, max_size: 10 << 20, max_files: 3 }
    }
}
