//! Files that are written whole: a reader sees the old contents or the new, never a part.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// Whether a write has to survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// File and directory are synced before the call returns.
    Synced,
    /// Replaced atomically for readers, but nothing is forced to the disk.
    Unsynced,
}

/// Replaces the file at `path` by one with these contents and this mode, durably.
///
/// # Errors
/// Those of open, write, fsync and rename; the old file is then untouched.
pub fn write_atomic(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    replace(path, contents, mode, Durability::Synced)
}

/// As [`write_atomic`], but what is written may be lost with the power.
///
/// # Errors
/// Those of open, write and rename; the old file is then untouched.
pub fn write_atomic_unsynced(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    replace(path, contents, mode, Durability::Unsynced)
}

fn replace(path: &Path, contents: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = open_directory(parent)?;
    let mode = Mode::from_raw_mode(mode);
    write_atomic_at(directory.as_fd(), name, contents, (mode, durability))
}

/// Opens a directory, for [`write_atomic_at`] and [`sync_directory`].
///
/// # Errors
/// Those of `open(2)`.
pub fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Appends what a regular file holds to `buffer`. The name is looked up from an open directory.
///
/// One open, one read and one close as long as it fits into the room that `buffer` has left:
/// of a regular file less is read than was asked for at its end alone.
///
/// # Errors
/// Those of open and read; `buffer` may hold a part of it then.
pub fn read_at(directory: BorrowedFd<'_>, name: &OsStr, buffer: &mut Vec<u8>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name.as_bytes(), flags, Mode::empty())?;
    loop {
        if buffer.capacity() == buffer.len() {
            buffer.reserve(8 << 10);
        }
        let room = buffer.capacity() - buffer.len();
        match rustix::io::read(&file, rustix::buffer::spare_capacity(buffer)) {
            Ok(length) if length < room => return Ok(()),
            Ok(_) => {}
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Replaces the file `name` of an open directory; the name of its parent is never walked again.
///
/// # Errors
/// Those of open, write, fsync and rename; the old file is then untouched.
pub fn write_atomic_at(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    contents: &[u8],
    (mode, durability): (Mode, Durability),
) -> io::Result<()> {
    let (temporary, file) = create_temporary(directory, name, mode)?;
    let result = fill_and_rename(directory, (&temporary, name), file, (contents, durability));
    if result.is_err() {
        // Nothing more can be done about a temporary file that cannot be removed.
        let _ = rustix::fs::unlinkat(directory, &*temporary, AtFlags::empty());
    }
    result
}

fn fill_and_rename(
    directory: BorrowedFd<'_>,
    (temporary, name): (&OsStr, &OsStr),
    mut file: File,
    (contents, durability): (&[u8], Durability),
) -> io::Result<()> {
    file.write_all(contents)?;
    if durability == Durability::Synced {
        file.sync_all()?;
    }
    rustix::fs::renameat(directory, temporary, directory, name)?;
    if durability == Durability::Synced {
        sync_directory(directory)?;
    }
    Ok(())
}

/// Makes the names in a directory durable.
///
/// # Errors
/// Those of `fsync(2)`.
pub fn sync_directory(directory: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::fsync(directory)?)
}

/// A new file beside `name`, hidden, with a name that a crash may leave behind.
fn create_temporary(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    mode: Mode,
) -> io::Result<(std::ffi::OsString, File)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        let mut temporary = Vec::with_capacity(name.len() + 24);
        temporary.push(b'.');
        temporary.extend_from_slice(name.as_bytes());
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        write!(temporary, ".{}-{count}.tmp", std::process::id())?;
        let temporary = OsStr::from_bytes(&temporary).to_owned();
        match rustix::fs::openat(directory, &*temporary, flags, mode) {
            // Left by a process that had our id before a crash.
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
            Ok(file) => {
                // The umask is for files of users; the mode asked for is the mode.
                rustix::fs::fchmod(&file, mode)?;
                return Ok((temporary, File::from(file)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn directory(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("isula-sys-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let directory = directory("replace");
        let path = directory.join("state");
        for (contents, write) in [
            (b"first".as_slice(), write_atomic as fn(&Path, &[u8], u32) -> io::Result<()>),
            (b"2", write_atomic_unsynced),
        ] {
            write(&path, contents, 0o640).unwrap();
            assert_eq!(fs::read(&path).unwrap(), contents);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_failed_write_leaves_no_temporary_file() {
        let directory = directory("failed");
        fs::create_dir(directory.join("state")).unwrap();
        write_atomic(&directory.join("state"), b"x", 0o600).unwrap_err();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        fs::remove_dir_all(directory).unwrap();
    }
}
