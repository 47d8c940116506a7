//! Which mounts of a running container come from outside of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use serde::{Deserialize, Serialize};

use crate::error::{OrFail as _, StartError, Step};
use crate::plan::{Mount, MountKind, Plan};
use crate::root::Root;

/// A mount that comes from outside of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// Where it is, seen from the container's root, all links resolved.
    pub place: String,
    /// What it is.
    pub origin: Origin,
}

/// What a mount from outside is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A mount of the plan, or one that came along with it.
    Mount {
        /// The plan's destination.
        destination: String,
        /// Where it is below that, relative; empty for the mount itself.
        below: String,
    },
    /// The container's group of one hierarchy of control groups, version 1.
    Cgroup {
        /// Where the hierarchies are.
        destination: String,
        /// The hierarchy's name there.
        name: String,
    },
    /// `/dev/null` over a path that is hidden.
    Null,
}

/// A line of `/proc/PID/mountinfo`, proc_pid_mountinfo(5).
#[derive(Debug, PartialEq, Eq)]
struct Line {
    id: u64,
    parent: u64,
    device: String,
    /// What of its file system is mounted.
    root: String,
    place: String,
    kind: String,
}

/// The mounts from outside of the container whose init process this is.
///
/// # Errors
/// Its mounts can't be read, or one is neither the plan's nor made for it.
pub fn survey(plan: &Plan, pid: i32) -> Result<Vec<Outside>, StartError> {
    let path = format!("/proc/{pid}/mountinfo");
    let text = std::fs::read_to_string(&path).or_fail(Step::Checkpoint, &path)?;
    let path = format!("/proc/{pid}/root");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(&path, flags, Mode::empty()).or_fail(Step::Checkpoint, &path)?;
    let root = Root::new(root);
    let mut planned = BTreeMap::new();
    for mount in &plan.mounts {
        let id = mount_id(&root, &mount.destination);
        planned.insert(id.or_fail(Step::Checkpoint, &mount.destination)?, mount);
    }
    sort(&table(&text), &planned)
}

/// The mount that is seen at a path: not what the path says, but what the kernel finds there.
fn mount_id(root: &Root, path: &str) -> io::Result<u64> {
    let file = root.open(path, OFlags::PATH)?;
    let found = rustix::fs::statx(file.as_fd(), c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    Ok(found.stx_mnt_id)
}

fn table(text: &str) -> Vec<Line> {
    let line = |line: &str| {
        let (front, back) = line.split_once(" - ")?;
        let mut fields = front.split(' ');
        Some(Line {
            id: fields.next()?.parse().ok()?,
            parent: fields.next()?.parse().ok()?,
            device: fields.next()?.to_owned(),
            root: plain(fields.next()?),
            place: plain(fields.next()?),
            kind: back.split(' ').next()?.to_owned(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// Blanks and backslashes are written in octal digits.
fn plain(field: &str) -> String {
    let mut text = field.to_owned();
    for (code, character) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        text = text.replace(code, character);
    }
    text
}

fn sort(table: &[Line], planned: &BTreeMap<u64, &Mount>) -> Result<Vec<Outside>, StartError> {
    let by_id: BTreeMap<u64, &Line> = table.iter().map(|line| (line.id, line)).collect();
    // File systems that are the container's own: parts of them may be mounted a second time.
    let own: BTreeSet<&str> = table
        .iter()
        .filter(|line| {
            line.place == "/" || planned.get(&line.id).is_some_and(|mount| is_own(mount))
        })
        .map(|line| line.device.as_str())
        .collect();
    let mut outside = Vec::new();
    for line in table.iter().filter(|line| line.place != "/") {
        // The nearest mount of the plan that it is, or lies in.
        let mut above = Some(line);
        while let Some(one) = above.filter(|one| !planned.contains_key(&one.id)) {
            above = by_id.get(&one.parent).copied().filter(|parent| parent.id != one.id);
        }
        let nearest = above.and_then(|one| Some((one, planned.get(&one.id)?)));
        let below = |from: &str| {
            let rest = line.place.strip_prefix(from).unwrap_or(&line.place);
            rest.trim_start_matches('/').to_owned()
        };
        let origin = match nearest {
            Some((one, mount)) if one.id == line.id && is_own(mount) => continue,
            Some((one, Mount { kind: MountKind::CgroupV1 { .. }, destination, .. })) => {
                if one.id == line.id {
                    continue;
                }
                Origin::Cgroup { destination: destination.clone(), name: below(&one.place) }
            }
            _ if line.root == "/null" && line.kind == "devtmpfs" => Origin::Null,
            Some((one, mount)) if !is_own(mount) => {
                let destination = mount.destination.clone();
                Origin::Mount { destination, below: below(&one.place) }
            }
            // A part that is read-only, the console; or the empty directory over a hidden path.
            _ if own.contains(line.device.as_str()) => continue,
            _ if line.kind == "tmpfs" && line.root == "/" => continue,
            _ => {
                let text = format!("the mount at {}, which is none of the engine's", line.place);
                return Err(StartError::refused(Step::Checkpoint, text));
            }
        };
        outside.push(Outside { place: line.place.clone(), origin });
    }
    Ok(outside)
}

/// Whether CRIU can make it again by itself.
fn is_own(mount: &Mount) -> bool {
    matches!(mount.kind, MountKind::Filesystem { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Attributes;

    fn mount(destination: &str, kind: MountKind) -> Mount {
        let attributes = Attributes::default();
        Mount { destination: destination.to_owned(), kind, attributes, propagation: Vec::new() }
    }

    fn filesystem(kind: &str) -> MountKind {
        let (kind, source) = (kind.to_owned(), kind.to_owned());
        MountKind::Filesystem { kind, source, options: Vec::new(), copy_up: false }
    }

    fn bind() -> MountKind {
        MountKind::Bind { source: "/srv".into(), recursive: true, idmap: None }
    }

    const TABLE: &str = "\
        10 1 0:40 / / rw - overlay overlay rw\n\
        11 10 0:41 / /proc rw - proc proc rw\n\
        12 10 0:42 / /dev rw - tmpfs tmpfs rw\n\
        13 12 0:43 / /dev/pts rw - devpts devpts rw\n\
        14 12 0:43 /0 /dev/console rw - devpts devpts rw\n\
        15 10 8:1 /srv /run/a\\040b rw - ext4 /dev/x rw\n\
        16 15 0:50 / /run/a\\040b/sub rw - tmpfs none rw\n\
        17 11 0:41 /sys /proc/sys ro - proc proc rw\n\
        18 11 0:5 /null /proc/kcore ro - devtmpfs devtmpfs rw\n\
        19 11 0:60 / /proc/acpi ro - tmpfs tmpfs ro\n\
        20 10 0:70 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n\
        21 20 0:30 /pod/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
        nonsense\n";

    #[test]
    fn what_comes_from_outside_is_told_from_what_is_the_containers_own() {
        let v1 = MountKind::CgroupV1 { groups: Vec::new(), links: Vec::new() };
        let mounts = [
            (11, mount("/proc", filesystem("proc"))),
            (12, mount("/dev", filesystem("tmpfs"))),
            (13, mount("/dev/pts", filesystem("devpts"))),
            // By its number, not its path: /var/run is a link to /run.
            (15, mount("/var/run/a b", bind())),
            (20, mount("/sys/fs/cgroup", v1)),
        ];
        let planned = mounts.iter().map(|(id, mount)| (*id, mount)).collect();
        let found = sort(&table(TABLE), &planned).unwrap();
        let of = |below: &str| Origin::Mount {
            destination: "/var/run/a b".to_owned(),
            below: below.to_owned(),
        };
        let group =
            Origin::Cgroup { destination: "/sys/fs/cgroup".to_owned(), name: "memory".to_owned() };
        let wanted = [
            ("/run/a b", of("")),
            ("/run/a b/sub", of("sub")),
            ("/proc/kcore", Origin::Null),
            ("/sys/fs/cgroup/memory", group),
        ];
        let wanted = wanted.map(|(place, origin)| Outside { place: place.to_owned(), origin });
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_mount_that_nobody_knows_is_refused() {
        let text = "10 1 0:40 / / rw - overlay o rw\n11 10 8:1 /x /x rw - ext4 /dev/x rw\n";
        let error = sort(&table(text), &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("the mount at /x"), "{error}");
    }

    #[test]
    fn a_table_that_goes_round_in_circles_ends() {
        let text = "10 10 0:40 / / rw - overlay o rw\n11 11 0:41 / /x rw - tmpfs o rw\n";
        assert_eq!(sort(&table(text), &BTreeMap::new()).unwrap(), []);
    }
}
