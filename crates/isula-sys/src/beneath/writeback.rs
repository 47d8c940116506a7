//! Making many files durable at the price of few.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    path::Path,
};

use rustix::fs;

/// What makes a whole tree durable on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// One journal holds all metadata in order: when the data of every file was written
    /// ([`finish`]), an `fsync(2)` of the last thing made commits everything made before it.
    OneCommit,
    /// Nothing is known: every file and directory needs an `fsync(2)` of its own.
    EachFile,
}

/// What the file system of `path` guarantees. [`Guarantee::OneCommit`] is ext4 with its journal
/// (jbd2 commits transactions in order, and a file's extents are in the journal before its pages
/// leave the state "under writeback") and XFS (one log, forced in order; the same for its extents).
#[must_use]
pub fn guarantee(path: &Path) -> Guarantee {
    const EXT4: u64 = 0xEF53;
    const XFS: u64 = 0x5846_5342;
    let magic = fs::statfs(path).map(|stat| stat.f_type.cast_unsigned());
    match magic {
        Ok(XFS) => Guarantee::OneCommit,
        Ok(EXT4) if has_journal(path) => Guarantee::OneCommit,
        _ => Guarantee::EachFile,
    }
}

/// ext2 has the same magic number, and ext4 may be made without a journal; only with one the
/// kernel shows the journal's thread.
fn has_journal(path: &Path) -> bool {
    let Ok(stat) = fs::stat(path) else { return false };
    let (major, minor) = (fs::major(stat.st_dev), fs::minor(stat.st_dev));
    let device = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}"));
    let name = device.ok().and_then(|path| path.file_name().map(std::ffi::OsStr::to_owned));
    name.is_some_and(|name| Path::new("/sys/fs/ext4").join(name).join("journal_task").exists())
}

/// Starts to write the file's data to the disk and does not wait for it.
///
/// # Errors
/// As `sync_file_range(2)`.
pub fn start(file: impl AsFd) -> io::Result<()> {
    sync_range(file, libc::SYNC_FILE_RANGE_WRITE)
}

/// Waits until the file's data has been written; its metadata is left to the journal, and the
/// disk's own cache to the `fsync(2)` that follows.
///
/// # Errors
/// As `sync_file_range(2)`: an error of the disk too.
pub fn finish(file: impl AsFd) -> io::Result<()> {
    let wait = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    sync_range(file, wait | libc::SYNC_FILE_RANGE_WRITE)
}

fn sync_range(file: impl AsFd, flags: libc::c_uint) -> io::Result<()> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the call takes no pointer, and the borrow keeps the descriptor open.
    match unsafe { libc::sync_file_range(fd, 0, 0, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `fsync(2)`.
///
/// # Errors
/// As `fsync(2)`.
pub fn sync(file: impl AsFd) -> io::Result<()> {
    Ok(fs::fsync(file)?)
}

/// `fsync(2)` of a directory: its entries survive a power cut.
///
/// # Errors
/// As `open(2)` and `fsync(2)`.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    let flags = fs::OFlags::RDONLY | fs::OFlags::DIRECTORY | fs::OFlags::CLOEXEC;
    sync(fs::open(path, flags, fs::Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    #[test]
    fn written_data_can_be_started_and_finished_on_any_file_system() {
        let mut file = super::super::unnamed_file(&std::env::temp_dir()).unwrap();
        file.write_all(&[1; 100_000]).unwrap();
        super::start(&file).unwrap();
        super::finish(&file).unwrap();
        assert_eq!(super::guarantee("/proc".as_ref()), super::Guarantee::EachFile);
    }
}
