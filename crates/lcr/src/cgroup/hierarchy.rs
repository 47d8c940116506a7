//! Where control groups are mounted, and which controllers there are.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::CgroupError;

/// A resource controller, or a part of the kernel that uses the same interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Controller {
    /// Shares and bandwidth of the processors.
    Cpu,
    /// Processor time used (version 1; part of `cpu` in version 2).
    Cpuacct,
    /// Which processors and memory nodes may be used.
    Cpuset,
    /// Memory and swap.
    Memory,
    /// Access to device nodes (version 1; a BPF program in version 2).
    Devices,
    /// Stopping processes (version 1; part of the core in version 2).
    Freezer,
    /// Block devices: `blkio` in version 1, `io` in version 2.
    Io,
    /// Number of processes and threads.
    Pids,
    /// Huge pages.
    Hugetlb,
    /// RDMA resources.
    Rdma,
    /// Class of network packets (version 1).
    NetCls,
    /// Priority of network packets (version 1).
    NetPrio,
    /// Performance events (version 1; part of the core in version 2).
    PerfEvent,
    /// Other scalar resources.
    Misc,
}

impl Controller {
    const ALL: [(Self, &'static str); 15] = [
        (Self::Cpu, "cpu"),
        (Self::Cpuacct, "cpuacct"),
        (Self::Cpuset, "cpuset"),
        (Self::Memory, "memory"),
        (Self::Devices, "devices"),
        (Self::Freezer, "freezer"),
        (Self::Io, "io"),
        (Self::Io, "blkio"),
        (Self::Pids, "pids"),
        (Self::Hugetlb, "hugetlb"),
        (Self::Rdma, "rdma"),
        (Self::NetCls, "net_cls"),
        (Self::NetPrio, "net_prio"),
        (Self::PerfEvent, "perf_event"),
        (Self::Misc, "misc"),
    ];

    /// The kernel's name; that of version 2 where they differ.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(one, _)| *one == self).map_or("", |(_, name)| name)
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(one, _)| *one)
    }
}

/// A set of controllers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Controllers(u16);

impl Controllers {
    /// The set of those named, without what is not known.
    #[must_use]
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().filter_map(Controller::from_name).collect()
    }

    /// Whether `controller` is in it.
    #[must_use]
    pub const fn has(self, controller: Controller) -> bool {
        self.0 & (1 << controller as u8) != 0
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in one of them.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this one only.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Each of them with its name in version 2.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let named = Controller::ALL.iter().filter(|(_, name)| *name != "blkio");
        named.filter(move |(one, _)| self.has(*one)).map(|(_, name)| *name)
    }
}

impl FromIterator<Controller> for Controllers {
    fn from_iter<T: IntoIterator<Item = Controller>>(controllers: T) -> Self {
        Self(controllers.into_iter().fold(0, |set, one| set | 1 << one as u8))
    }
}

/// One tree of control groups.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its controllers; none in a named hierarchy of version 1 such as systemd's.
    pub controllers: Controllers,
}

/// Version of the interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Version {
    /// A tree for each controller, or for some together.
    V1,
    /// One tree for all.
    V2,
}

/// All trees that containers are put into. Where controllers of version 1 are mounted these are
/// used, and a version 2 beside them (a hybrid system) is left alone.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Hierarchies {
    pub(super) version: Version,
    pub(super) list: Vec<Hierarchy>,
}

impl Hierarchies {
    /// Finds them on this machine.
    ///
    /// # Errors
    /// When `/proc/self/mountinfo` cannot be read or shows no control group.
    pub fn detect() -> Result<Self, CgroupError> {
        let path = Path::new("/proc/self/mountinfo");
        let mountinfo = fs::read_to_string(path)
            .map_err(|source| CgroupError::io("read", path.to_owned(), source))?;
        Self::from_mountinfo(&mountinfo, |mount| {
            let path = mount.join("cgroup.controllers");
            let names = fs::read_to_string(&path)
                .map_err(|source| CgroupError::io("read", path, source))?;
            Ok(Controllers::from_names(names.split_ascii_whitespace()))
        })
    }

    /// Reads the format of `/proc/PID/mountinfo`, proc_pid_mountinfo(5). `available` tells the
    /// controllers of a version 2 mounted at a path.
    pub(super) fn from_mountinfo(
        mountinfo: &str,
        available: impl FnOnce(&Path) -> Result<Controllers, CgroupError>,
    ) -> Result<Self, CgroupError> {
        let mut list: Vec<Hierarchy> = Vec::new();
        let mut seen = Vec::new();
        let mut unified = None;
        for (kind, mount, options) in mountinfo.lines().filter_map(cgroup_mount) {
            if kind == "cgroup2" {
                unified.get_or_insert(mount);
                continue;
            }
            let names = || options.split(',');
            let controllers = Controllers::from_names(names());
            let named = names().find(|option| option.starts_with("name="));
            // A tree may be mounted more than once; the first place is as good as the others.
            let identity = (controllers.0, named);
            if (named.is_none() && controllers.is_empty()) || seen.contains(&identity) {
                continue;
            }
            seen.push(identity);
            list.push(Hierarchy { mount, controllers });
        }
        if list.iter().any(|hierarchy| !hierarchy.controllers.is_empty()) {
            return Ok(Self { version: Version::V1, list });
        }
        let mount = unified.ok_or(CgroupError::NotMounted)?;
        let controllers = available(&mount)?;
        Ok(Self { version: Version::V2, list: vec![Hierarchy { mount, controllers }] })
    }

    /// Which version is in use.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The trees: one with version 2.
    #[must_use]
    pub fn list(&self) -> &[Hierarchy] {
        &self.list
    }

    /// All controllers there are.
    #[must_use]
    pub fn controllers(&self) -> Controllers {
        self.list.iter().fold(Controllers::default(), |all, one| all.or(one.controllers))
    }

    /// Whether swap can be limited. With version 2 it always can, unless the kernel has none.
    #[must_use]
    pub fn can_limit_swap(&self) -> bool {
        match self.version {
            Version::V1 => self.list.iter().any(|one| {
                one.controllers.has(Controller::Memory)
                    && one.mount.join("memory.memsw.limit_in_bytes").exists()
            }),
            Version::V2 => Path::new("/proc/swaps").exists(),
        }
    }
}

/// Type, mount point and the file system's options of a line about control groups.
fn cgroup_mount(line: &str) -> Option<(&str, PathBuf, &str)> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut filesystem = filesystem.split(' ');
    let kind = filesystem.next().filter(|kind| matches!(*kind, "cgroup" | "cgroup2"))?;
    let options = filesystem.nth(1)?;
    let point = mount.split(' ').nth(4)?;
    Some((kind, unescape(point), options))
}

/// The kernel writes blank, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    let text = escapes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    PathBuf::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mountinfo: &str) -> Result<Hierarchies, CgroupError> {
        Hierarchies::from_mountinfo(mountinfo, |_| Ok(Controllers::from_names(["cpu", "io"])))
    }

    const V1: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/my\\040memory rw - cgroup cgroup rw,memory
34 31 0:30 / /elsewhere rw - cgroup cgroup rw,memory
35 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
";
    const V2: &str = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn controllers_of_version_1_are_preferred_and_each_tree_counts_once() {
        let found = read(&[V1, V2].concat()).unwrap();
        assert_eq!(found.version(), Version::V1);
        let mounts: Vec<_> = found.list().iter().map(|one| one.mount.to_str().unwrap()).collect();
        let expected =
            ["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/my memory", "/sys/fs/cgroup/systemd"];
        assert_eq!(mounts, expected);
        let names: Vec<_> = found.controllers().names().collect();
        assert_eq!(names, ["cpu", "cpuacct", "memory"]);
    }

    #[test]
    fn a_pure_version_2_is_recognised_even_beside_a_named_hierarchy() {
        let named = "35 31 0:31 / /sys/fs/cgroup/x rw - cgroup cgroup rw,name=x\n";
        for text in [V2.to_owned(), [V2, named].concat()] {
            let found = read(&text).unwrap();
            assert_eq!(found.version(), Version::V2);
            assert_eq!(found.list().len(), 1);
            assert!(found.controllers().has(Controller::Io));
        }
    }

    #[test]
    fn a_machine_without_control_groups_is_an_error() {
        assert!(matches!(
            read("1 2 0:3 / / rw - ext4 /dev/x rw\nx\n"),
            Err(CgroupError::NotMounted)
        ));
    }

    #[test]
    fn this_machine_has_some() {
        assert!(!Hierarchies::detect().unwrap().controllers().is_empty());
    }
}
