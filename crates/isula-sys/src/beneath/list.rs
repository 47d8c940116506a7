//! The names in a directory, and what they stand for.

use std::{
    fs::File,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::fs::{self, Mode, OFlags, RawDir, Stat};

/// The names in the directory `dir` stands for, without `.` and `..`, in no order.
///
/// # Errors
/// As `getdents64(2)`.
pub fn names(dir: impl AsFd) -> io::Result<Vec<Vec<u8>>> {
    // A descriptor of its own: the position of a shared one is shared too.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = fs::openat(dir, ".", flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 16 << 10];
    let mut reader = RawDir::new(own, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = reader.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// What `find` makes of the first name in the directory at `path` that it makes something of.
///
/// # Errors
/// As `open(2)` and `getdents64(2)`.
pub fn find_name<T>(path: &Path, find: impl Fn(&[u8]) -> Option<T>) -> io::Result<Option<T>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = fs::open(path, flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 1 << 10];
    let mut reader = RawDir::new(directory, &mut buffer);
    while let Some(entry) = reader.next() {
        if let Some(found) = find(entry?.file_name().to_bytes()) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Opens `name` of the directory for reading, itself not followed; the caller checks what it is.
/// Never blocks on a FIFO, never takes a terminal as its own.
///
/// # Errors
/// As `openat(2)`; `ELOOP` when it is a symbolic link.
pub fn open_read_at(dir: impl AsFd, name: &[u8]) -> io::Result<File> {
    let flags =
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::openat(dir, name, flags, Mode::empty())?.into())
}

/// Opens `name` of the directory without access to its content (`O_PATH`), whatever it is.
///
/// # Errors
/// As `openat(2)`.
pub fn open_handle_at(dir: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::openat(dir, name, flags, Mode::empty())?)
}

/// Major and minor number of the device that was asked about.
#[must_use]
pub fn device(stat: &Stat) -> (u32, u32) {
    (fs::major(stat.st_rdev), fs::minor(stat.st_rdev))
}
