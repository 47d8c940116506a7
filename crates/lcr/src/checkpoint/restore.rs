//! Bringing the processes of a container back.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use isula_sys::process::{self, Spawn};
use isula_sys::signal::Signal;
use isula_sys::{mount, namespace};
use rustix::fs::{FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::dump::SHARED;
use super::{Origin, Outside, SEARCH, complaint, key, obstacle};
use crate::error::{OrFail as _, StartError, Step};
use crate::init::sources::{self, Sources};
use crate::init::{Init, Stdio, child, open_cgroup, rootfs};
use crate::plan::{Attributes, MountKind, NamespaceKind, Plan};
use crate::root::Root;

const LOG: &str = "restore.log";
/// Why it did not come to CRIU.
const OWN: &str = "error";
const PID: &str = "init.pid";
const ROOT: &str = "root";
/// A restore reads all memory of the processes from a disk.
const TIME: Duration = Duration::from_mins(5);

/// How to bring a container back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// The program `criu`.
    pub program: PathBuf,
    /// CRIU's images.
    pub images: PathBuf,
    /// A directory to be made, and to be removed with all that is in it afterwards, for the log and
    /// the places of mounts.
    pub place: PathBuf,
    /// The mounts from outside when it was written down.
    pub outside: Vec<Outside>,
    /// What the standard streams were (`pipe:[1234]`), where they were pipes.
    pub streams: [Option<String>; 3],
}

/// Builds what is around the processes, and has CRIU put them into it. They run when this returns:
/// with no more rights than the plan gives them. The caller must have one thread and be a
/// subreaper: it becomes their parent.
///
/// # Errors
/// Names the step. Nothing is left: no process, no control group, no mount.
pub fn restore(plan: &Plan, how: &Restore, stdio: Stdio) -> Result<Init, StartError> {
    if let Some(why) = obstacle(plan) {
        return Err(StartError::refused(Step::Restore, format!("a container: {why}")));
    }
    let trees = how.outside.iter().map(|outside| Tree::of(plan, outside));
    let trees = trees.collect::<Result<Vec<_>, _>>()?;
    plan.cgroup.create().map_err(|error| StartError::refused(Step::Cgroup, error.to_string()))?;
    let result = build(plan, how, &trees, &stdio);
    if result.is_err() {
        // The error that is told is the one that came first.
        let _ = plan.cgroup.cgroup().kill();
        let _ = plan.cgroup.remove();
    }
    result
}

/// Which of the plan's mounts one from outside is.
#[derive(Debug, PartialEq, Eq)]
enum Tree {
    /// Of this mount the tree with this number.
    Mount(usize, usize),
    /// What lies at this path below the first tree of that mount.
    Below(usize, String),
    Null,
}

impl Tree {
    fn of(plan: &Plan, outside: &Outside) -> Result<Self, StartError> {
        let wanted = |destination: &str| {
            let mut mounts = plan.mounts.iter().enumerate();
            // The last one is the one that is seen.
            mounts.rfind(|(_, mount)| mount.destination == destination).ok_or_else(|| {
                let text = format!("the mount at {destination}, which the container has not");
                StartError::refused(Step::Restore, text)
            })
        };
        match &outside.origin {
            Origin::Null => Ok(Self::Null),
            Origin::Mount { destination, below } => {
                let (index, mount) = wanted(destination)?;
                match &mount.kind {
                    MountKind::Bind { .. } | MountKind::Layers { .. } if below.is_empty() => {
                        Ok(Self::Mount(index, 0))
                    }
                    MountKind::Bind { .. } => Ok(Self::Below(index, below.clone())),
                    _ => {
                        let text = format!("the mount at {destination}, which is another now");
                        Err(StartError::refused(Step::Restore, text))
                    }
                }
            }
            Origin::Cgroup { destination, name } => {
                let (index, mount) = wanted(destination)?;
                let MountKind::CgroupV1 { groups, .. } = &mount.kind else {
                    let text = "control groups of version 1 where there are those of version 2";
                    return Err(StartError::refused(Step::Restore, text));
                };
                let group = groups.iter().position(|(other, _)| other == name);
                group.map(|group| Self::Mount(index, group)).ok_or_else(|| {
                    let text = format!("the hierarchy {name} of control groups, which is not here");
                    StartError::refused(Step::Restore, text)
                })
            }
        }
    }
}

fn build(plan: &Plan, how: &Restore, trees: &[Tree], stdio: &Stdio) -> Result<Init, StartError> {
    let text = how.place.display().to_string();
    std::fs::create_dir(&how.place).or_fail(Step::Restore, &text)?;
    std::fs::create_dir(how.place.join(ROOT)).or_fail(Step::Restore, &text)?;
    let cgroup = open_cgroup(&plan.cgroup)?;
    let mut command = command(how, stdio);
    let request = Spawn { cgroup: cgroup.as_ref().map(|group| group.as_fd()), ..Spawn::default() };
    let born_in_cgroup = cgroup.is_some();
    let child = || {
        let error = match surround(plan, how, trees, stdio, born_in_cgroup) {
            Ok(()) => StartError::new(Step::Restore, command.exec(), "criu"),
            Err(error) => error,
        };
        // Where even that can't be written there is nobody to tell.
        let _ = std::fs::write(how.place.join(OWN), error.to_string());
        125
    };
    let criu = process::spawn(request, child).or_fail(Step::Restore, "")?;
    if !process::wait_at_most(criu.pidfd.as_fd(), Some(TIME)).or_fail(Step::Restore, "")? {
        process::send_signal(criu.pidfd.as_fd(), Signal::KILL.number())
            .or_fail(Step::Restore, "")?;
    }
    if process::wait(criu.pidfd.as_fd()).or_fail(Step::Restore, "")?.status() != 0 {
        return Err(StartError::refused(Step::Restore, said(&how.place)));
    }
    let file = how.place.join(PID);
    let pid = std::fs::read_to_string(&file).or_fail(Step::Restore, PID)?;
    let pid = pid.trim().parse().map_err(|_| StartError::refused(Step::Restore, PID))?;
    let pidfd = process::open(pid).or_fail(Step::Restore, "")?;
    let init = Init { pid, pidfd, console: None, warnings: Vec::new() };
    match release(plan, pid) {
        Ok(()) => Ok(init),
        Err(error) => {
            crate::init::give_up(&init);
            Err(error)
        }
    }
}

/// What went wrong in the process that became CRIU, or was to.
fn said(place: &Path) -> String {
    if let Ok(text) = std::fs::read_to_string(place.join(OWN)) {
        return format!("the processes: {text}");
    }
    match complaint(&place.join(LOG)) {
        Ok(text) if !text.is_empty() => format!("the processes: criu: {text}"),
        _ => "the processes: criu failed without saying why".to_owned(),
    }
}

fn command(how: &Restore, stdio: &Stdio) -> Command {
    let mut command = Command::new(&how.program);
    command.args(["restore", "--restore-detached", "--leave-stopped", "--manage-cgroups=ignore"]);
    command.args(["--file-locks", "--log-file", LOG, "-v2"]);
    command.arg("--images-dir").arg(&how.images).arg("--work-dir").arg(&how.place);
    command.arg("--root").arg(how.place.join(ROOT)).arg("--pidfile").arg(how.place.join(PID));
    for (index, _) in how.outside.iter().enumerate() {
        let place = how.place.join(index.to_string());
        command.args(["--external", &format!("mnt[{}]:{}", key(index), place.display())]);
    }
    for (stream, was) in stdio.descriptors().iter().zip(&how.streams) {
        if let Some(was) = was {
            command.args(["--inherit-fd", &format!("fd[{}]:{was}", stream.as_raw_fd())]);
        }
    }
    command.env_clear().env("PATH", SEARCH);
    command
}

/// In the process that becomes CRIU: everything that it finds there and leaves alone.
fn surround(
    plan: &Plan,
    how: &Restore,
    trees: &[Tree],
    stdio: &Stdio,
    born_in_cgroup: bool,
) -> Result<(), StartError> {
    if !born_in_cgroup {
        let joined = plan.cgroup.join_self();
        joined.map_err(|error| StartError::refused(Step::Cgroup, error.to_string()))?;
    }
    for (kind, file, text) in child::open_joined(&plan.namespaces)? {
        namespace::join(file.as_fd(), kind.bit()).or_fail(Step::Namespace, text)?;
    }
    let cgroup = NamespaceKind::Cgroup.bit();
    let new = plan.namespaces.new & (SHARED | cgroup) | NamespaceKind::Mount.bit();
    namespace::unshare(new).or_fail(Step::Namespace, "")?;
    child::set_up_namespaces(plan)?;
    let sources = Sources::take(plan)?;
    if plan.rootfs_readonly {
        let readonly = Attributes { set: mount::RDONLY, ..Attributes::default() };
        sources::set_attributes(sources.rootfs.as_fd(), readonly).or_fail(Step::Rootfs, "")?;
    }
    rootfs::attach_at(&how.place.join(ROOT), &sources.rootfs)?;
    attach_all(&how.place, trees, &sources)?;
    for stream in stdio.descriptors() {
        let number = u32::try_from(stream.as_raw_fd()).unwrap_or(u32::MAX);
        isula_sys::exec::keep_open(number).or_fail(Step::Streams, "")?;
    }
    isula_sys::signal::reset_all().or_fail(Step::Restore, "")
}

/// Puts what comes from outside where CRIU is told to find it. A tree of its own is attached; what
/// lies in one, or is there several times, is copied from where it is attached (before Linux 6.15
/// nothing else can be copied).
fn attach_all(place: &Path, trees: &[Tree], sources: &Sources) -> Result<(), StartError> {
    let at = |index: usize| place.join(index.to_string());
    let missing = || StartError::refused(Step::Restore, "a mount that is not there");
    let copy = |file: OwnedFd| {
        mount::clone_of(file.as_fd(), mount::Depth::One).or_fail(Step::Restore, "a mount")
    };
    let mut null = None;
    for (index, tree) in trees.iter().enumerate() {
        match tree {
            Tree::Mount(of, number) => {
                let taken = sources.mounts.get(*of).and_then(|trees| trees.get(*number));
                attach(&at(index), taken.ok_or_else(missing)?)?;
            }
            Tree::Below(of, path) => {
                let parent = trees.iter().position(|tree| *tree == Tree::Mount(*of, 0));
                let root = Root::new(open(&at(parent.ok_or_else(missing)?))?);
                let file = root.open_straight(path, OFlags::PATH).or_fail(Step::Restore, path)?;
                attach(&at(index), &copy(file)?)?;
            }
            Tree::Null => match null {
                None => {
                    attach(&at(index), &sources.null)?;
                    null = Some(index);
                }
                Some(first) => attach(&at(index), &copy(open(&at(first))?)?)?,
            },
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<OwnedFd, StartError> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let text = path.display().to_string();
    rustix::fs::open(path, flags, Mode::empty()).or_fail(Step::Restore, text)
}

fn attach(place: &Path, tree: &OwnedFd) -> Result<(), StartError> {
    let text = place.display().to_string();
    let found = rustix::fs::fstat(tree).or_fail(Step::Restore, &text)?;
    if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
        std::fs::create_dir(place).or_fail(Step::Restore, &text)?;
    } else {
        File::create_new(place).or_fail(Step::Restore, &text)?;
    }
    let target = open(place)?;
    mount::attach(tree.as_fd(), target.as_fd()).or_fail(Step::Restore, &text)
}

/// Lets the processes go on, which CRIU has left stopped: after a look at what rights the images
/// gave them.
fn release(plan: &Plan, init: i32) -> Result<(), StartError> {
    let pids = plan.cgroup.cgroup().pids();
    let mut pids = pids.map_err(|error| StartError::refused(Step::Restore, error.to_string()))?;
    // systemd's scope has a process in it that is none of the container's.
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid"));
    let own = namespace(init).or_fail(Step::Restore, "the processes")?;
    pids.retain(|pid| namespace(*pid).is_ok_and(|other| other == own));
    for pid in &pids {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status"));
        check(plan, &text.or_fail(Step::Restore, "the processes")?)?;
    }
    for pid in pids {
        let pidfd = process::open(pid).or_fail(Step::Restore, "the processes")?;
        process::send_signal(pidfd.as_fd(), Signal::CONT.number())
            .or_fail(Step::Restore, "the processes")?;
    }
    Ok(())
}

/// Whether a process has no more rights than the plan gives to the first one; `status` is its
/// `/proc/PID/status`.
fn check(plan: &Plan, status: &str) -> Result<(), StartError> {
    let process = &plan.process;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    };
    let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    let most = process.capabilities.bounding | process.capabilities.permitted;
    let more = sets.into_iter().find(|name| {
        let set = field(name).and_then(|text| u64::from_str_radix(text, 16).ok());
        set.is_none_or(|set| set & !most != 0)
    });
    let refused = |what: &str| {
        let text = format!("a process that {what}: the checkpoint is of another configuration");
        Err(StartError::refused(Step::Restore, text))
    };
    if let Some(name) = more {
        let found = field(name).unwrap_or_default();
        return refused(&format!("has more capabilities than the container ({name} {found})"));
    }
    if process.no_new_privileges && field("NoNewPrivs") != Some("1") {
        return refused("may gain privileges");
    }
    if process.seccomp.is_some() && field("Seccomp") != Some("2") {
        return refused("has no seccomp filter");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Mount, tests::plan};

    fn mount(destination: &str, kind: MountKind) -> Mount {
        let attributes = Attributes::default();
        Mount { destination: destination.to_owned(), kind, attributes, propagation: Vec::new() }
    }

    #[test]
    fn mounts_are_found_again_by_their_destination() {
        let mut plan = plan();
        let bind =
            |source: &str| MountKind::Bind { source: source.into(), recursive: true, idmap: None };
        let groups = vec![("cpu".to_owned(), "/c".into()), ("memory".to_owned(), "/m".into())];
        plan.mounts = vec![
            mount("/data", bind("/one")),
            mount("/sys/fs/cgroup", MountKind::CgroupV1 { groups, links: Vec::new() }),
            mount("/data", bind("/two")),
        ];
        let find = |origin| Tree::of(&plan, &Outside { place: "/x".to_owned(), origin });
        let at = |destination: &str, below: &str| Origin::Mount {
            destination: destination.to_owned(),
            below: below.to_owned(),
        };
        let group = |name: &str| Origin::Cgroup {
            destination: "/sys/fs/cgroup".to_owned(),
            name: name.to_owned(),
        };
        assert_eq!(find(at("/data", "")).unwrap(), Tree::Mount(2, 0));
        assert_eq!(find(at("/data", "a/b")).unwrap(), Tree::Below(2, "a/b".to_owned()));
        assert_eq!(find(group("memory")).unwrap(), Tree::Mount(1, 1));
        assert_eq!(find(Origin::Null).unwrap(), Tree::Null);
        for origin in [at("/gone", ""), at("/sys/fs/cgroup", ""), group("blkio")] {
            assert!(find(origin).unwrap_err().to_string().starts_with("cannot restore"));
        }
    }

    #[test]
    fn a_process_with_more_rights_than_the_container_is_refused() {
        let mut plan = plan();
        plan.process.capabilities.bounding = 0b110;
        plan.process.no_new_privileges = true;
        let status = |effective: &str, new: &str| {
            format!(
                "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000006\n\
                 CapEff:\t{effective}\nCapBnd:\t0000000000000006\nCapAmb:\t0000000000000000\n\
                 NoNewPrivs:\t{new}\nSeccomp:\t2\n"
            )
        };
        assert!(check(&plan, &status("0000000000000002", "1")).is_ok());
        assert!(check(&plan, &status("0000000000000001", "1")).is_err());
        assert!(check(&plan, &status("0000000000000002", "0")).is_err());
        assert!(check(&plan, "Name:\tx\n").is_err());
        assert!(check(&plan, "").is_err());
    }
}
