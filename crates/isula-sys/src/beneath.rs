//! Files beneath a directory that somebody else fills: every name is resolved by `openat2(2)`
//! with the directory as its root, then acted on by descriptor. No function here follows a
//! symbolic link in the last component of a name.

pub mod list;
pub mod space;
pub mod tree;
pub mod writeback;

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, ResolveFlags, Timestamps, Uid};

pub use rustix::fs::{FileType, Stat, Timespec};

/// The error number of too many, or refused, symbolic links.
pub const ELOOP: i32 = libc::ELOOP;

/// Whether symbolic links on the way to a name are followed (beneath the root, never out of it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Followed; `/` and `..` mean and stop at the root, as after `chroot(2)`.
    InRoot,
    /// An error (`ELOOP`).
    Refused,
}

/// A directory that serves as the root for the names of its content.
#[derive(Debug)]
pub struct Beneath {
    root: OwnedFd,
}

impl Beneath {
    /// Opens the directory. Its own path is trusted.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: fs::open(path, flags, Mode::empty())? })
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens the directory `path`; an empty path is the root.
    ///
    /// # Errors
    /// As `openat2(2)`; `ENOTDIR` when it is something else, `ELOOP` for a refused link.
    pub fn open_dir(&self, path: &[u8], links: Links) -> io::Result<OwnedFd> {
        self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY, links)
    }

    /// Opens `path` for reading; the caller checks what it is. Never blocks on a FIFO, never
    /// takes a terminal as its own.
    ///
    /// # Errors
    /// As `openat2(2)`; `ELOOP` when it is a symbolic link.
    pub fn open_read(&self, path: &[u8], links: Links) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        self.resolve(path, flags, links).map(File::from)
    }

    /// Opens `path` without access to its content (`O_PATH`), whatever it is.
    ///
    /// # Errors
    /// As `openat2(2)`.
    pub fn open_handle(&self, path: &[u8], links: Links) -> io::Result<OwnedFd> {
        self.resolve(path, OFlags::PATH | OFlags::NOFOLLOW, links)
    }

    fn resolve(&self, path: &[u8], flags: OFlags, links: Links) -> io::Result<OwnedFd> {
        let path: &[u8] = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::NO_MAGICLINKS
            | match links {
                Links::InRoot => ResolveFlags::IN_ROOT,
                Links::Refused => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
            };
        // EAGAIN: something was renamed while the kernel checked a "..".
        for _ in 0..64 {
            match fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
        Err(rustix::io::Errno::AGAIN.into())
    }
}

/// Owner, permission bits and times of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    /// Time of last modification; seconds since 1970.
    pub seconds: i64,
    /// The rest of it, below a billion.
    pub nanoseconds: u32,
}

impl Attributes {
    fn owner(&self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }

    fn bits(&self) -> Mode {
        Mode::from_raw_mode(self.mode & 0o7777)
    }

    fn times(&self) -> Timestamps {
        let time = Timespec { tv_sec: self.seconds, tv_nsec: self.nanoseconds.into() };
        Timestamps { last_access: time, last_modification: time }
    }
}

/// Makes a new, empty file for writing; mode 0600 until [`set_attributes`].
///
/// # Errors
/// As `openat(2)`; `EEXIST` when the name is taken, by a dangling symbolic link too.
pub fn create_file(dir: impl AsFd, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::openat(dir, name, flags, Mode::from_raw_mode(0o600))?.into())
}

/// A file without a name in the directory `dir`, for reading and writing; it is gone when closed.
///
/// # Errors
/// As `openat(2)` with `O_TMPFILE`.
pub fn unnamed_file(dir: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    Ok(fs::open(dir, flags, Mode::from_raw_mode(0o600))?.into())
}

/// Makes a directory of mode 0755, or as the process's umask has it.
///
/// # Errors
/// As `mkdirat(2)`.
pub fn make_dir(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    Ok(fs::mkdirat(dir, name, Mode::from_raw_mode(0o755))?)
}

/// Opens the directory `name` of `dir`; `ENOTDIR` or `ELOOP` when it is something else.
///
/// # Errors
/// As `openat(2)`.
pub fn open_dir_at(dir: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::openat(dir, name, flags, Mode::empty())?)
}

/// Makes a symbolic link `name` with this text.
///
/// # Errors
/// As `symlinkat(2)`.
pub fn make_symlink(dir: impl AsFd, name: &[u8], text: &[u8]) -> io::Result<()> {
    Ok(fs::symlinkat(text, dir, name)?)
}

/// Makes a further name for the file `from` of `from_dir`, itself no directory and not followed
/// if it is a symbolic link.
///
/// # Errors
/// As `linkat(2)`.
pub fn make_link(from_dir: impl AsFd, from: &[u8], dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    Ok(fs::linkat(from_dir, from, dir, name, AtFlags::empty())?)
}

/// The kinds of special files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// A character device.
    Character(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A FIFO.
    Fifo,
    /// An empty regular file.
    Empty,
}

/// Makes a special file of mode 0600 at most.
///
/// # Errors
/// As `mknodat(2)`.
pub fn make_special(dir: impl AsFd, name: &[u8], special: Special) -> io::Result<()> {
    let (kind, device) = match special {
        Special::Character(major, minor) => (FileType::CharacterDevice, fs::makedev(major, minor)),
        Special::Block(major, minor) => (FileType::BlockDevice, fs::makedev(major, minor)),
        Special::Fifo => (FileType::Fifo, 0),
        Special::Empty => (FileType::RegularFile, 0),
    };
    Ok(fs::mknodat(dir, name, kind, Mode::from_raw_mode(0o600), device)?)
}

/// Gives the file at `path`, whose own path is trusted, a further name.
///
/// # Errors
/// As `linkat(2)`: `EMLINK` when it has as many as its file system allows.
pub fn link_at(path: &Path, dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    Ok(fs::linkat(fs::CWD, path, dir, name, AtFlags::empty())?)
}

/// What `name` is, not followed; `None` when it does not exist.
///
/// # Errors
/// As `fstatat(2)`.
pub fn stat(dir: impl AsFd, name: &[u8]) -> io::Result<Option<Stat>> {
    match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What an open file is.
///
/// # Errors
/// As `fstat(2)`.
pub fn stat_fd(file: impl AsFd) -> io::Result<Stat> {
    Ok(fs::fstat(file)?)
}

/// The type of what was asked about.
#[must_use]
pub fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether it is a directory.
#[must_use]
pub fn is_dir(stat: &Stat) -> bool {
    kind(stat) == FileType::Directory
}

/// A character device 0:0: overlayfs's mark for "nothing here, whatever lies below".
#[must_use]
pub fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// The text of the symbolic link that `handle` (an `O_PATH` descriptor) stands for.
///
/// # Errors
/// As `readlinkat(2)`.
pub fn read_symlink(handle: impl AsFd) -> io::Result<Vec<u8>> {
    Ok(fs::readlinkat(handle, c"", Vec::new())?.into_bytes())
}

/// Sets owner, mode and times of an open file or directory.
///
/// # Errors
/// As `fchown(2)`, `fchmod(2)` and `futimens(3)`.
pub fn set_attributes(file: impl AsFd, attributes: &Attributes) -> io::Result<()> {
    let file = file.as_fd();
    // The owner first: changing it clears the set-id bits.
    let (uid, gid) = attributes.owner();
    fs::fchown(file, uid, gid)?;
    fs::fchmod(file, attributes.bits())?;
    Ok(fs::futimens(file, &attributes.times())?)
}

/// Sets the permission bits of an open file or directory.
///
/// # Errors
/// As `fchmod(2)`.
pub fn set_mode(file: impl AsFd, mode: u32) -> io::Result<()> {
    Ok(fs::fchmod(file, Mode::from_raw_mode(mode & 0o7777))?)
}

/// Sets owner, mode and times of `name`, which is neither followed nor a symbolic link.
///
/// # Errors
/// As `fchownat(2)`, `chmod(2)` and `utimensat(2)`; `ELOOP` for a symbolic link.
pub fn set_attributes_at(dir: impl AsFd, name: &[u8], attributes: &Attributes) -> io::Result<()> {
    let dir = dir.as_fd();
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = fs::openat(dir, name, flags, Mode::empty())?;
    if kind(&stat_fd(&handle)?) == FileType::Symlink {
        return Err(rustix::io::Errno::LOOP.into());
    }
    let (uid, gid) = attributes.owner();
    fs::chownat(&handle, c"", uid, gid, AtFlags::EMPTY_PATH)?;
    // fchmodat2(2) is younger than our oldest kernel; the descriptor's own name in /proc leads to
    // the very file that was opened.
    fs::chmod(descriptor_path(&handle), attributes.bits())?;
    Ok(fs::utimensat(dir, name, &attributes.times(), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Sets owner and mode of the directory `name`, which is not followed.
///
/// # Errors
/// As `openat(2)`, `fchown(2)` and `fchmod(2)`.
pub fn set_owner_at(
    dir: impl AsFd,
    name: &[u8],
    (uid, gid): (u32, u32),
    mode: u32,
) -> io::Result<()> {
    let dir = open_dir_at(dir, name)?;
    if (uid, gid) != (0, 0) {
        fs::fchown(&dir, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    set_mode(&dir, mode)
}

/// Sets owner and times of the symbolic link `name`; it has no mode of its own.
///
/// # Errors
/// As `fchownat(2)` and `utimensat(2)`.
pub fn set_symlink_attributes(
    dir: impl AsFd,
    name: &[u8],
    attributes: &Attributes,
) -> io::Result<()> {
    let dir = dir.as_fd();
    let (uid, gid) = attributes.owner();
    fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(fs::utimensat(dir, name, &attributes.times(), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Sets the times of an open directory back to what `stat` saw.
///
/// # Errors
/// As `futimens(3)`.
pub fn restore_times(file: impl AsFd, stat: &Stat) -> io::Result<()> {
    let nanoseconds = |value: u64| i64::try_from(value).unwrap_or(0);
    let times = Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: nanoseconds(stat.st_atime_nsec) },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: nanoseconds(stat.st_mtime_nsec),
        },
    };
    Ok(fs::futimens(file, &times)?)
}

/// `/proc/self/fd/N`: the one safe way to give a descriptor to a call that wants a path.
pub(crate) fn descriptor_path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, os::unix::fs::symlink, path::PathBuf};

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("beneath-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn links_lead_nowhere_but_into_the_root() {
        let scratch = Scratch::new("links");
        let root = scratch.0.join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(scratch.0.join("secret"), "outside").unwrap();
        fs::write(root.join("etc/passwd"), "inside").unwrap();
        symlink("/etc", root.join("absolute")).unwrap();
        symlink("../../../../etc", root.join("relative")).unwrap();
        symlink("../secret", root.join("escape")).unwrap();
        symlink("/proc/self/root", root.join("magic")).unwrap();
        let beneath = Beneath::open(&root).unwrap();
        for path in ["absolute/passwd", "relative/passwd", "../../etc/passwd"] {
            let mut text = String::new();
            let mut file = beneath.open_read(path.as_bytes(), Links::InRoot).unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "inside", "{path}");
            assert!(beneath.open_read(path.as_bytes(), Links::Refused).is_err(), "{path}");
        }
        for path in ["escape", "../secret", "magic", "magic/etc", "absolute"] {
            assert!(beneath.open_read(path.as_bytes(), Links::InRoot).is_err(), "{path}");
        }
    }

    #[test]
    fn attributes_are_set_on_the_name_and_never_through_a_link() {
        let scratch = Scratch::new("attributes");
        let target = scratch.0.join("target");
        fs::write(&target, "").unwrap();
        let before = fs::metadata(&target).unwrap();
        symlink(&target, scratch.0.join("link")).unwrap();
        let dir = Beneath::open(&scratch.0).unwrap();
        let wanted =
            Attributes { uid: 7, gid: 8, mode: 0o6751, seconds: -5, nanoseconds: 123_456_789 };
        set_symlink_attributes(dir.root(), b"link", &wanted).unwrap();
        assert!(set_attributes_at(dir.root(), b"link", &wanted).is_err());
        let after = fs::metadata(&target).unwrap();
        assert_eq!(before.permissions(), after.permissions());
        assert_eq!(stat(dir.root(), b"target").unwrap().unwrap().st_uid, 0);
        make_special(dir.root(), b"null", Special::Character(1, 3)).unwrap();
        set_attributes_at(dir.root(), b"null", &wanted).unwrap();
        for name in ["link", "null"] {
            let stat = stat(dir.root(), name.as_bytes()).unwrap().unwrap();
            let seen = (stat.st_uid, stat.st_gid, stat.st_mtime, stat.st_mtime_nsec);
            assert_eq!(seen, (7, 8, -5, 123_456_789), "{name}");
        }
        let null = stat(dir.root(), b"null").unwrap().unwrap();
        assert_eq!((null.st_mode & 0o7777, null.st_rdev), (0o6751, fs_makedev(1, 3)));
        assert!(stat(dir.root(), b"absent").unwrap().is_none());
    }

    fn fs_makedev(major: u32, minor: u32) -> u64 {
        rustix::fs::makedev(major, minor)
    }
}
