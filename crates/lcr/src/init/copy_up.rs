//! Copies what a mount point holds into the file system that will cover it (`tmpcopyup`).

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

/// How deep a tree may be: each level holds two descriptors.
const DEEPEST: u32 = 128;

/// Copies the contents of one directory into another, with owners, modes and times.
pub(crate) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let open = |directory: BorrowedFd<'_>| {
        rustix::fs::openat(directory, c".", directory_flags(), Mode::empty())
    };
    directory(&open(from)?, &open(to)?, DEEPEST)
}

const fn directory_flags() -> OFlags {
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC)
}

fn directory(from: &OwnedFd, to: &OwnedFd, depth: u32) -> io::Result<()> {
    let depth = depth.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let found = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => {
                let below = rustix::fs::openat(from, name, directory_flags(), Mode::empty())?;
                rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700))?;
                let copy = rustix::fs::openat(to, name, directory_flags(), Mode::empty())?;
                directory(&below, &copy, depth)?;
            }
            FileType::RegularFile => regular(from, to, name)?,
            FileType::Symlink => {
                let text = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(&text, to, name)?;
            }
            kind => {
                let mode = Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(to, name, kind, mode, found.st_rdev)?;
            }
        }
        take_over(to.as_fd(), name, &found)?;
    }
    Ok(())
}

fn regular(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut source = File::from(rustix::fs::openat(from, name, flags, Mode::empty())?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o600);
    let mut copy = File::from(rustix::fs::openat(to, name, flags, mode)?);
    io::copy(&mut source, &mut copy)?;
    Ok(())
}

/// Gives the copy the owner, the mode and the times of the original.
fn take_over(directory: BorrowedFd<'_>, name: &CStr, found: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid));
    rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
        let mode = Mode::from_raw_mode(found.st_mode & 0o7777);
        rustix::fs::chmodat(directory, name, mode, AtFlags::empty())?;
    }
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(found.st_atime as _, found.st_atime_nsec as _),
        last_modification: time(found.st_mtime as _, found.st_mtime_nsec as _),
    };
    rustix::fs::utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn a_copy_has_contents_modes_links_and_times() {
        let top = std::env::temp_dir().join(format!("lcr-copy-up-{}", std::process::id()));
        let (from, to) = (top.join("from"), top.join("to"));
        fs::create_dir_all(from.join("below")).unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(from.join("below/file"), "contents").unwrap();
        fs::set_permissions(from.join("below/file"), fs::Permissions::from_mode(0o4711)).unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        let open = |path| rustix::fs::open(path, OFlags::PATH, Mode::empty()).unwrap();
        copy(open(&from).as_fd(), open(&to).as_fd()).unwrap();
        let (before, after) = (from.join("below/file"), to.join("below/file"));
        assert_eq!(fs::read_to_string(&after).unwrap(), "contents");
        let (before, after) = (fs::metadata(before).unwrap(), fs::metadata(after).unwrap());
        assert_eq!(after.mode(), before.mode());
        assert_eq!(after.mtime_nsec(), before.mtime_nsec());
        assert_eq!(fs::read_link(to.join("link")).unwrap().to_str(), Some("/etc/passwd"));
        fs::remove_dir_all(top).unwrap();
    }
}
