//! The host itself: its clock, its randomness, its facts.

use jiff::Timestamp;

/// The clock of the host.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Randomness fit for ids.
pub trait Entropy: Send + Sync {
    /// 32 bytes from the kernel's generator.
    fn random(&self) -> [u8; 32];
}

/// What the engine must know of the host to build a spec and to answer `info`.
pub trait Host: Send + Sync {
    /// The facts, read once at start.
    fn facts(&self) -> &HostFacts;
    /// `/etc/resolv.conf`, at most 64 KiB, read each time (it changes).
    fn resolv_conf(&self) -> Vec<u8>;
    /// The device node at a path of the host, for `--device`: kind (`b`, `c` or `p`), major,
    /// minor, mode, uid, gid; for a directory every node below it.
    ///
    /// # Errors
    /// No such path, or no device below it.
    fn devices(&self, path: &str) -> super::Result<Vec<DeviceNode>>;
    /// Every device node below `/dev`, for `--privileged`.
    fn all_devices(&self) -> Vec<DeviceNode>;
    /// Makes sure that the source of a bind mount exists: a missing one becomes an empty directory
    /// when `create` is set. Returns its path without symbolic links.
    ///
    /// # Errors
    /// It does not exist and must not be made, or can't be.
    fn bind_source(&self, path: &str, create: bool) -> super::Result<String>;
    /// The directory of a sandbox's logs, without symbolic links. What is above it is made where it is
    /// missing, and may be reached by links of the operator's; the directory itself, which containers
    /// may be given the parent of, must be none.
    ///
    /// # Errors
    /// It is a link, or something else than a directory, or can't be reached.
    fn log_directory(&self, path: &str) -> super::Result<String>;
    /// Reads a regular file beneath a directory of the host that is a container's root file system
    /// (`--external-rootfs`), symbolic links resolved within it; `None` as in
    /// [`super::Snapshots::read`].
    ///
    /// # Errors
    /// The directory can't be opened.
    fn read_beneath(&self, root: &str, path: &str, limit: u64) -> super::Result<Option<Vec<u8>>>;
}

/// A device node of the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeviceNode {
    /// Path on the host.
    pub path: String,
    /// `b`, `c` or `p`.
    pub kind: char,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Facts of the host that do not change while the daemon runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Host name.
    pub hostname: String,
    /// `uname -r`.
    pub kernel: String,
    /// Architecture as Go names it.
    pub architecture: String,
    /// `PRETTY_NAME` of os-release(5).
    pub operating_system: String,
    /// Processors the daemon may use.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Pure cgroup v2.
    pub cgroup_v2: bool,
    /// Capabilities the daemon can give, by `CAP_` name.
    pub capabilities: Vec<String>,
    /// Seccomp filters work.
    pub seccomp: bool,
    /// AppArmor profiles can be loaded.
    pub apparmor: bool,
    /// SELinux is enabled.
    pub selinux: bool,
    /// The daemon's own `oom_score_adj`; a lower one can't be given without `CAP_SYS_RESOURCE`.
    pub oom_score_adj: i32,
    /// Without `CAP_SYS_RESOURCE` limits can't be raised and scores can't be lowered.
    pub can_raise_limits: bool,
    /// The kernel accounts swap: a limit of memory and swap together can be set.
    pub swap_accounting: bool,
}

impl HostFacts {
    /// The first two numbers of `uname -r`.
    #[must_use]
    pub fn kernel_version(&self) -> (u32, u32) {
        let numbers = self.kernel.split(|char: char| !char.is_ascii_digit());
        let mut numbers = numbers.map(str::parse);
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        (next(), next())
    }
}
