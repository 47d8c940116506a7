//! The file systems of a container, by descriptor, inside its own mount namespace.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use isula_sys::mount::{self, Depth, Filesystem};
use rustix::fs::{FileType, Mode, OFlags};

const SAFE: u32 = mount::NOSUID | mount::NODEV | mount::NOEXEC;
/// Type, place, parameters, attributes.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], u32);
/// Docker's mounts below the root, in their order.
const MOUNTS: [Row; 6] = [
    ("tmpfs", "dev", &[("mode", "755"), ("size", "65536k")], mount::NOSUID | mount::STRICTATIME),
    ("proc", "proc", &[], SAFE),
    (
        "devpts",
        "dev/pts",
        &[("mode", "0620"), ("ptmxmode", "0666"), ("gid", "5")],
        mount::NOSUID | mount::NOEXEC,
    ),
    ("mqueue", "dev/mqueue", &[], SAFE),
    ("tmpfs", "dev/shm", &[("mode", "1777"), ("size", "65536k")], SAFE),
    ("sysfs", "sys", &[], SAFE | mount::RDONLY),
];
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];
const MASKED: [&str; 12] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/timer_list",
    "proc/timer_stats",
    "proc/sched_debug",
    "proc/scsi",
    "sys/firmware",
    "sys/devices/virtual/powercap",
];
const READONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

fn open(directory: impl AsFd, path: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(directory, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

fn name(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// Mounts the overlay over `directory` and gives back its root.
pub fn root(lower: &Path, directory: &Path) -> io::Result<OwnedFd> {
    mount::change_propagation(c"/", Depth::Tree, mount::PRIVATE)?;
    let overlay = Filesystem::open("overlay")?;
    overlay.set("lowerdir+", &lower.display().to_string())?;
    overlay.set("upperdir", &directory.join("upper").display().to_string())?;
    overlay.set("workdir", &directory.join("work").display().to_string())?;
    let tree = overlay.mount(0)?;
    let place = open(rustix::fs::CWD, &directory.display().to_string())?;
    mount::attach(tree.as_fd(), place.as_fd())?;
    open(&tree, ".")
}

/// Everything below the root, until `/dev` is complete.
pub fn fill(root: BorrowedFd<'_>, groups: &[std::path::PathBuf], files: &Path) -> io::Result<()> {
    for (kind, place, parameters, attributes) in MOUNTS {
        if place.starts_with("dev/") {
            rustix::fs::mkdirat(root, place, Mode::from_raw_mode(0o755))?;
        }
        let filesystem = Filesystem::open(kind)?;
        for (key, value) in parameters {
            filesystem.set(key, value)?;
        }
        let tree = filesystem.mount(attributes)?;
        mount::attach(tree.as_fd(), open(root, place)?.as_fd())?;
    }
    show_groups(root, groups)?;
    for file in ["hosts", "hostname", "resolv.conf"] {
        let tree = mount::clone(&name(&files.join(file))?, Depth::One)?;
        let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::CLOEXEC;
        let place = format!("etc/{file}");
        let place = rustix::fs::openat(root, place, flags, Mode::from_raw_mode(0o644))?;
        mount::attach(tree.as_fd(), place.as_fd())?;
    }
    let dev = open(root, "dev")?;
    let mode = Mode::from_raw_mode(0o666);
    for (node, major, minor) in NODES {
        let number = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(&dev, node, FileType::CharacterDevice, mode, number)?;
    }
    LINKS.iter().try_for_each(|(link, to)| Ok(rustix::fs::symlinkat(*to, &dev, *link)?))
}

/// The container's own groups, read-only: a tmpfs with one bind mount for each tree.
fn show_groups(root: BorrowedFd<'_>, groups: &[std::path::PathBuf]) -> io::Result<()> {
    let place = open(root, "sys/fs/cgroup")?;
    let [first, _, ..] = groups else {
        let tree = Filesystem::open("cgroup2")?.mount(SAFE | mount::RDONLY)?;
        return mount::attach(tree.as_fd(), place.as_fd());
    };
    let top = Filesystem::open("tmpfs")?.mount(SAFE)?;
    mount::attach(top.as_fd(), place.as_fd())?;
    let depth = first.components().count();
    for group in groups {
        // `/sys/fs/cgroup/CONTROLLER/...`
        let Some(controller) = group.components().nth(4).filter(|_| depth > 4) else { continue };
        let controller = controller.as_os_str();
        rustix::fs::mkdirat(&top, controller, Mode::from_raw_mode(0o755))?;
        let tree = mount::clone(&name(group)?, Depth::One)?;
        mount::set_attributes(tree.as_fd(), Depth::One, (SAFE | mount::RDONLY, 0))?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let place = rustix::fs::openat(&top, controller, flags, Mode::empty())?;
        mount::attach(tree.as_fd(), place.as_fd())?;
    }
    mount::set_attributes(top.as_fd(), Depth::One, (mount::RDONLY, 0))
}

/// Hides and protects what a container must not see or change.
pub fn protect(root: BorrowedFd<'_>) -> io::Result<()> {
    for path in READONLY {
        let Ok(place) = open(root, path) else { continue };
        let tree = mount::clone_of(place.as_fd(), Depth::One)?;
        mount::set_attributes(tree.as_fd(), Depth::One, (mount::RDONLY, 0))?;
        mount::attach(tree.as_fd(), place.as_fd())?;
    }
    let null = open(root, "dev/null")?;
    for path in MASKED {
        let Ok(place) = open(root, path) else { continue };
        let directory = FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode).is_dir();
        let cover = if directory {
            Filesystem::open("tmpfs")?.mount(SAFE | mount::RDONLY)?
        } else {
            mount::clone_of(null.as_fd(), Depth::One)?
        };
        mount::attach(cover.as_fd(), place.as_fd())?;
    }
    Ok(())
}

/// Makes it the root and lets the old one go.
pub fn pivot(root: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", rustix::mount::UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir(c"/")?)
}
