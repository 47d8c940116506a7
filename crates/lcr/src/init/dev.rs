//! `/dev`: nodes, links, and the console.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use isula_sys::mount::{self, Depth};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::sources::Sources;
use crate::error::{OrFail as _, StartError, Step};
use crate::plan::{Device, NamespaceKind, Plan};
use crate::root::{Make, Root};

/// Default devices, runtime-spec config-linux.md: name, major and minor number.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links, runtime-spec runtime-linux.md ("Dev symbolic links"), and `core` of Docker and runc.
const LINKS: [(&str, &str); 6] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// The devices of a container: the default ones that the plan does not give another meaning, and
/// those of the plan.
pub(crate) fn all(plan: &Plan) -> impl Iterator<Item = Device> + '_ {
    let mode = FileType::CharacterDevice.as_raw_mode() | 0o666;
    let default = DEFAULT.iter().filter(|_| plan.populate_dev).map(move |(path, major, minor)| {
        Device { path: (*path).to_owned(), mode, major: *major, minor: *minor, uid: 0, gid: 0 }
    });
    default
        .filter(|device| !plan.devices.iter().any(|other| other.path == device.path))
        .chain(plan.devices.iter().cloned())
}

/// Makes nodes and links.
pub(crate) fn populate(plan: &Plan, root: &Root, sources: &Sources) -> Result<(), StartError> {
    if plan.populate_dev {
        match root.open_straight("/dev", OFlags::PATH) {
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                let detail = "in /dev, which is a symbolic link in the image";
                return Err(StartError::refused(Step::Device, detail));
            }
            _ => {}
        }
    }
    let bound = plan.namespaces.separates(NamespaceKind::User);
    let mut trees = sources.devices.iter();
    let mut parents = Parents { root, last: None };
    for device in all(plan) {
        let result = match trees.next().filter(|_| bound) {
            Some(tree) => bind(root, &device, tree),
            None => make(&mut parents, &device),
        };
        result.or_fail(Step::Device, &device.path)?;
    }
    if plan.populate_dev {
        for (path, to) in LINKS {
            link(&mut parents, path, to).or_fail(Step::Device, path)?;
        }
    }
    Ok(())
}

/// The directories that nodes are made in. Nearly all lie in the same one, which is opened once.
struct Parents<'r> {
    root: &'r Root,
    last: Option<(String, OwnedFd)>,
}

impl Parents<'_> {
    /// The directory of a path, made if it is missing, and the last name.
    fn of<'p>(&mut self, path: &'p str) -> io::Result<(BorrowedFd<'_>, &'p str)> {
        let trimmed = path.trim_end_matches('/');
        let (parent, name) = trimmed.rsplit_once('/').ok_or(Errno::INVAL)?;
        let known =
            self.last.take_if(|(last, _)| last == parent && !matches!(name, "" | "." | ".."));
        let found = match known {
            Some(known) => known,
            None => (parent.to_owned(), self.root.ensure_parent(path)?.0),
        };
        Ok((self.last.insert(found).1.as_fd(), name))
    }
}

fn bind(root: &Root, device: &Device, tree: &OwnedFd) -> io::Result<()> {
    let place = root.ensure(&device.path, Make::File)?.file;
    mount::attach(tree.as_fd(), place.as_fd())
}

fn make(parents: &mut Parents<'_>, device: &Device) -> io::Result<()> {
    let (directory, name) = parents.of(&device.path)?;
    let kind = FileType::from_raw_mode(device.mode);
    let number = match kind {
        FileType::Fifo => 0,
        _ => rustix::fs::makedev(device.major, device.minor),
    };
    let mode = Mode::from_raw_mode(device.mode & 0o7777);
    match rustix::fs::mknodat(directory, name, kind, mode, number) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            // "If a file already exists at path that does not match the requested device, the
            // runtime MUST generate an error" (config-linux.md).
            let found = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let same = FileType::from_raw_mode(found.st_mode) == kind && found.st_rdev == number;
            if !same {
                return Err(Errno::EXIST.into());
            }
        }
        Err(error) => return Err(error.into()),
    }
    if (device.uid, device.gid) != (0, 0) {
        let uid = rustix::process::Uid::from_raw(device.uid);
        let gid = rustix::process::Gid::from_raw(device.gid);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(directory, name, Some(uid), Some(gid), flags)?;
    }
    Ok(())
}

fn link(parents: &mut Parents<'_>, path: &str, to: &str) -> io::Result<()> {
    let (directory, name) = parents.of(path)?;
    match rustix::fs::symlinkat(to, directory, name) {
        Err(Errno::EXIST) if name == "ptmx" => {
            // A container never uses the multiplexer of another devpts.
            rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
            Ok(rustix::fs::symlinkat(to, directory, name)?)
        }
        // The image has its own, or the one of a container that ran on this root before.
        Err(Errno::EXIST) => Ok(()),
        result => Ok(result?),
    }
}

/// Binds the container's terminal to `/dev/console`.
pub(crate) fn console(root: &Root, slave: BorrowedFd<'_>) -> io::Result<()> {
    // The place is opened without following a link, and what is bound is the terminal itself, by
    // descriptor (CVE-2025-52565).
    let (directory, name) = root.ensure_parent("/dev/console")?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&directory, name, flags | OFlags::WRONLY, Mode::from_raw_mode(0o666)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::openat(&directory, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP.into());
    }
    let tree = mount::clone_of(slave, Depth::One)?;
    mount::attach(tree.as_fd(), place.as_fd())
}
