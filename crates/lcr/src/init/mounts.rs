//! The mounts of `config.json`, made in order on descriptors beneath the root.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use isula_sys::mount::{self, Filesystem};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::copy_up;
use super::sources::{self, Sources};
use crate::error::{OrFail as _, StartError, Step};
use crate::plan::{Attributes, Mount, MountKind, Plan};
use crate::root::{Make, Root, is_in_proc};

/// Files of procfs that may be covered: lxcfs and its like provide them. Nothing else in it may,
/// as a mount there could redirect what the runtime writes (CVE-2019-16884).
pub(crate) const COVERABLE_IN_PROC: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Directories that have to be themselves: an image that ships one as a link wants the mount, and
/// what is made in it, elsewhere.
const NEVER_A_LINK: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Makes all mounts.
pub(crate) fn make_all(plan: &Plan, root: &Root, sources: &Sources) -> Result<(), StartError> {
    for (mount, trees) in plan.mounts.iter().zip(&sources.mounts) {
        let text = &mount.destination;
        match &mount.kind {
            MountKind::Bind { .. } => {
                let tree = trees.first().ok_or(Errno::BADF).or_fail(Step::Mount, text)?;
                bind(root, mount, tree)?;
            }
            MountKind::Layers { sub_path, .. } => {
                let tree = trees.first().ok_or(Errno::BADF).or_fail(Step::Mount, text)?;
                bind(root, mount, tree)?;
                if !sub_path.is_empty() {
                    narrow(root, mount, sub_path)?;
                }
            }
            MountKind::Filesystem { .. } => filesystem(plan, root, mount)?,
            MountKind::CgroupV1 { .. } => cgroups(root, mount, trees)?,
        }
    }
    Ok(())
}

fn bind(root: &Root, mount: &Mount, tree: &OwnedFd) -> Result<(), StartError> {
    let text = &mount.destination;
    let found = rustix::fs::fstat(tree).or_fail(Step::Mount, text)?;
    let make = match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => Make::Directory(0o755),
        _ => Make::File,
    };
    let target = target(root, text, make)?;
    attach(root, mount, tree, target.as_fd())
}

/// Covers a mount by a part of itself.
fn narrow(root: &Root, mount: &Mount, sub_path: &str) -> Result<(), StartError> {
    let text = &mount.destination;
    let detail = || format!("{sub_path} of the image at {text}");
    let whole = root.open(text, OFlags::PATH | OFlags::DIRECTORY).or_fail(Step::Mount, text)?;
    // What the image's own links mean is resolved within it.
    let part = Root::new(whole)
        .open(sub_path, OFlags::PATH | OFlags::DIRECTORY)
        .or_fail(Step::Mount, detail())?;
    let tree = mount::clone_of(part.as_fd(), mount::Depth::One).or_fail(Step::Mount, detail())?;
    sources::set_attributes(tree.as_fd(), mount.attributes).or_fail(Step::Mount, text)?;
    let target = root.open(text, OFlags::PATH).or_fail(Step::Mount, text)?;
    mount::attach(tree.as_fd(), target.as_fd()).or_fail(Step::Mount, text)
}

/// The mount point, made if it is missing.
fn target(root: &Root, destination: &str, make: Make) -> Result<OwnedFd, StartError> {
    let trimmed = destination.trim_end_matches('/');
    if NEVER_A_LINK.contains(&trimmed) {
        match root.open_straight(destination, OFlags::PATH) {
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                let detail = format!("{destination}, which is a symbolic link in the image");
                return Err(StartError::refused(Step::Mount, detail));
            }
            _ => {}
        }
    }
    let target = root.ensure(destination, make).or_fail(Step::Mount, destination)?.file;
    let covers_proc = trimmed != "/proc"
        && !COVERABLE_IN_PROC.contains(&trimmed)
        && is_in_proc(target.as_fd()).or_fail(Step::Mount, destination)?;
    if covers_proc {
        let detail = format!("over {destination}, which lies in procfs");
        return Err(StartError::refused(Step::Mount, detail));
    }
    Ok(target)
}

fn attach(
    root: &Root,
    mount: &Mount,
    tree: &OwnedFd,
    target: BorrowedFd<'_>,
) -> Result<(), StartError> {
    let text = &mount.destination;
    mount::attach(tree.as_fd(), target).or_fail(Step::Mount, text)?;
    // Linux 5.10 and 5.11 can change an attached mount only.
    sources::late_attributes(|| root.open(text, OFlags::PATH), mount.attributes)
        .or_fail(Step::Mount, text)
}

fn filesystem(plan: &Plan, root: &Root, mount: &Mount) -> Result<(), StartError> {
    let MountKind::Filesystem { kind, copy_up, options, .. } = &mount.kind else {
        return Ok(());
    };
    let text = &mount.destination;
    let target = target(root, text, Make::Directory(0o755))?;
    let is_tmpfs = kind == "tmpfs";
    // A read-only tmpfs is filled first, and `/dev` gets its nodes later: see `finish`.
    let later = if is_tmpfs { mount::RDONLY } else { 0 };
    let tree = new_filesystem(plan, mount, mount.attributes.set & !later)?;
    if is_tmpfs && !options.iter().any(|(key, _)| key == "mode") {
        inherit_mode(tree.as_fd(), target.as_fd()).or_fail(Step::Mount, text)?;
    }
    if *copy_up {
        copy_up::copy(target.as_fd(), tree.as_fd()).or_fail(Step::Mount, text)?;
    }
    if !mount.propagation.is_empty() {
        sources::set_propagation(tree.as_fd(), &mount.propagation).or_fail(Step::Mount, text)?;
    }
    mount::attach(tree.as_fd(), target.as_fd()).or_fail(Step::Mount, text)?;
    if later & mount.attributes.set != 0 && text.trim_end_matches('/') != "/dev" {
        set_readonly(root, text).or_fail(Step::Mount, text)?;
    }
    Ok(())
}

fn new_filesystem(plan: &Plan, mount: &Mount, attributes: u32) -> Result<OwnedFd, StartError> {
    let MountKind::Filesystem { kind, source, options, .. } = &mount.kind else {
        return Err(StartError::refused(Step::Mount, &mount.destination));
    };
    let text = &mount.destination;
    let filesystem = Filesystem::open(kind).or_fail(Step::Mount, format!("{kind} on {text}"))?;
    let configure = || {
        filesystem.set("source", source)?;
        for (key, value) in options {
            match value {
                Some(value) => filesystem.set(key, value)?,
                None => filesystem.set_flag(key)?,
            }
        }
        if let Some(label) = plan.mount_label.as_ref().filter(|_| takes_label(kind)) {
            filesystem.set("context", label)?;
        }
        filesystem.mount(attributes)
    };
    configure().map_err(|error| {
        let why = filesystem.message().map_or_else(String::new, |message| format!(" ({message})"));
        StartError::new(Step::Mount, error, format!("{kind} on {text}{why}"))
    })
}

/// The kernel labels these itself.
fn takes_label(kind: &str) -> bool {
    !matches!(kind, "proc" | "sysfs" | "cgroup" | "cgroup2")
}

/// A tmpfs without a mode of its own takes that of the directory it covers, as runc does.
fn inherit_mode(tree: BorrowedFd<'_>, covered: BorrowedFd<'_>) -> io::Result<()> {
    let mode = Mode::from_raw_mode(rustix::fs::fstat(covered)?.st_mode & 0o7777);
    rustix::fs::chmodat(tree, c".", mode, AtFlags::empty()).map_err(Into::into)
}

fn set_readonly(root: &Root, path: &str) -> io::Result<()> {
    let mounted = root.open(path, OFlags::PATH)?;
    let readonly = Attributes { set: mount::RDONLY, ..Attributes::default() };
    sources::set_attributes(mounted.as_fd(), readonly)?;
    sources::late_attributes(|| Ok(mounted), readonly)
}

/// Makes `/dev` read-only if it was asked for: its nodes had to be made first.
pub(crate) fn finish(plan: &Plan, root: &Root) -> Result<(), StartError> {
    for mount in &plan.mounts {
        let is_dev = mount.destination.trim_end_matches('/') == "/dev";
        let is_tmpfs = matches!(&mount.kind, MountKind::Filesystem { kind, .. } if kind == "tmpfs");
        if is_dev && is_tmpfs && mount.attributes.set & mount::RDONLY != 0 {
            set_readonly(root, "/dev").or_fail(Step::Mount, "/dev read-only")?;
        }
    }
    Ok(())
}

/// A tmpfs with the container's own group of each hierarchy of version 1.
fn cgroups(root: &Root, mount: &Mount, trees: &[OwnedFd]) -> Result<(), StartError> {
    let MountKind::CgroupV1 { groups, links } = &mount.kind else { return Ok(()) };
    let text = &mount.destination;
    let target = target(root, text, Make::Directory(0o755))?;
    let fill = || -> io::Result<OwnedFd> {
        let tmpfs = Filesystem::open("tmpfs")?;
        tmpfs.set("source", "tmpfs")?;
        tmpfs.set("mode", "755")?;
        let tree = tmpfs.mount(mount.attributes.set & !mount::RDONLY)?;
        mount::attach(tree.as_fd(), target.as_fd())?;
        let top = root.open(text, OFlags::PATH | OFlags::DIRECTORY)?;
        for ((name, _), group) in groups.iter().zip(trees) {
            let name = name.as_str();
            rustix::fs::mkdirat(&top, name, Mode::from_raw_mode(0o755))?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let place = rustix::fs::openat(&top, name, flags, Mode::empty())?;
            mount::attach(group.as_fd(), place.as_fd())?;
            let attached = || Ok(rustix::fs::openat(&top, name, flags, Mode::empty())?);
            sources::late_attributes(attached, mount.attributes)?;
        }
        for (name, to) in links {
            rustix::fs::symlinkat(to.as_str(), &top, name.as_str())?;
        }
        Ok(tree)
    };
    fill().or_fail(Step::Mount, text)?;
    if mount.attributes.set & mount::RDONLY != 0 {
        set_readonly(root, text).or_fail(Step::Mount, text)?;
    }
    Ok(())
}
