//! Paths of a container: resolved beneath its root by descriptor, and made where they are missing.
//!
//! The container's image chose every symbolic link on the way, and another container that shares a
//! volume may change them at any moment. The kernel resolves (`openat2`, `RESOLVE_IN_ROOT`) and
//! what comes back is a descriptor, never a string to walk again.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// `PROC_SUPER_MAGIC`, `statfs(2)`.
const PROC: rustix::fs::FsWord = 0x9fa0;

/// What a missing file is made as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    /// A directory with these permissions (the umask of a process that builds a container is 0).
    Directory(u32),
    /// An empty regular file.
    File,
}

/// A file, and which directories had to be made for it, outermost first.
#[derive(Debug)]
pub(crate) struct Made {
    /// The file, opened with `O_PATH`.
    pub(crate) file: OwnedFd,
    /// New directories on the way and, for [`Make::Directory`], at the end.
    pub(crate) directories: Vec<OwnedFd>,
}

/// The root of a container.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    /// From the descriptor of a directory.
    pub(crate) fn new(directory: OwnedFd) -> Self {
        Self(directory)
    }

    /// The root of this process.
    pub(crate) fn own() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open("/", flags, Mode::empty())?))
    }

    /// Opens what is there; links are followed inside the root.
    pub(crate) fn open(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        open(self.0.as_fd(), path.as_ref(), flags, resolve)
    }

    /// Opens what is there unless a link is on the way or at the end (`ELOOP`).
    pub(crate) fn open_straight(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve =
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        open(self.0.as_fd(), path.as_ref(), flags, resolve)
    }

    /// The file at a path with `O_PATH`, made if it is missing, and its parents too.
    pub(crate) fn ensure(&self, path: &str, make: Make) -> io::Result<Made> {
        match self.open(path, OFlags::PATH) {
            Ok(file) => Ok(Made { file, directories: Vec::new() }),
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {
                Walk::new(self.0.as_fd())?.make(path, make)
            }
            Err(error) => Err(error),
        }
    }

    /// The directory that a path's last name is in, made if it is missing, and the name.
    pub(crate) fn ensure_parent<'p>(&self, path: &'p str) -> io::Result<(OwnedFd, &'p str)> {
        let trimmed = path.trim_end_matches('/');
        let (parent, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
        if matches!(name, "" | "." | "..") {
            return Err(Errno::INVAL.into());
        }
        let parent = if parent.is_empty() { "/" } else { parent };
        Ok((self.ensure(parent, Make::Directory(0o755))?.file, name))
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether a file lies in procfs.
pub(crate) fn is_in_proc(file: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(rustix::fs::fstatfs(file)?.f_type == PROC)
}

fn open(
    directory: BorrowedFd<'_>,
    path: &OsStr,
    flags: OFlags,
    resolve: ResolveFlags,
) -> io::Result<OwnedFd> {
    // EAGAIN: something was renamed while the kernel looked at `..`; it says to try again.
    for _ in 0..64 {
        let flags = flags | OFlags::CLOEXEC;
        match rustix::fs::openat2(directory, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// A resolution one name at a time, which can make what is missing, at the end of dangling links
/// too. `..` pops a stack of open directories and so cannot leave the root.
struct Walk<'r> {
    root: BorrowedFd<'r>,
    above: Vec<OwnedFd>,
    made: Vec<OwnedFd>,
    links: u32,
}

impl<'r> Walk<'r> {
    fn new(root: BorrowedFd<'r>) -> io::Result<Self> {
        Ok(Self { root, above: Vec::new(), made: Vec::new(), links: 0 })
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.above.last().map_or(self.root, AsFd::as_fd)
    }

    fn make(mut self, path: &str, make: Make) -> io::Result<Made> {
        let mut names = split(OsStr::new(path));
        while let Some(name) = names.pop_front() {
            if name == ".." {
                self.above.pop();
                continue;
            }
            let last = names.is_empty();
            let file = self.step(&name, if last { make } else { Make::Directory(0o755) })?;
            match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
                FileType::Symlink => self.follow(&file, &mut names)?,
                FileType::Directory => self.above.push(file),
                _ if last => return Ok(Made { file, directories: self.made }),
                _ => return Err(Errno::NOTDIR.into()),
            }
        }
        let file = match self.above.pop() {
            Some(file) => file,
            None => rustix::io::fcntl_dupfd_cloexec(self.root, 3)?,
        };
        Ok(Made { file, directories: self.made })
    }

    /// Opens one name without following it, after making it if it is missing.
    fn step(&mut self, name: &OsStr, make: Make) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        match open(self.here(), name, flags, resolve) {
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {}
            result => return result,
        }
        match make {
            Make::Directory(mode) => {
                let mode = Mode::from_raw_mode(mode);
                match rustix::fs::mkdirat(self.here(), name, mode) {
                    Ok(()) => {
                        let directory = open(self.here(), name, flags, resolve)?;
                        self.made.push(rustix::io::fcntl_dupfd_cloexec(&directory, 3)?);
                        return Ok(directory);
                    }
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Make::File => {
                let create = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mode = Mode::from_raw_mode(0o644);
                match rustix::fs::openat(self.here(), name, create | OFlags::RDONLY, mode) {
                    Ok(file) => return Ok(file),
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        open(self.here(), name, flags, resolve)
    }

    fn follow(&mut self, link: &OwnedFd, names: &mut VecDeque<OsString>) -> io::Result<()> {
        self.links += 1;
        if self.links > 40 {
            return Err(Errno::LOOP.into());
        }
        let text = rustix::fs::readlinkat(link, c"", Vec::new())?.into_bytes();
        if text.first() == Some(&b'/') {
            self.above.clear();
        }
        for name in split(&OsString::from_vec(text)).into_iter().rev() {
            names.push_front(name);
        }
        Ok(())
    }
}

fn split(path: &OsStr) -> VecDeque<OsString> {
    path.as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(|name| OsStr::from_bytes(name).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("lcr-root-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("root/etc")).unwrap();
            Self(path)
        }

        fn root(&self) -> Root {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            Root::new(rustix::fs::open(self.0.join("root"), flags, Mode::empty()).unwrap())
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn what_is_missing_is_made_inside_however_the_links_point() {
        let tree = Tree::new("make");
        let inside = tree.0.join("root");
        symlink("/run/missing/file", inside.join("etc/absolute")).unwrap();
        symlink("../../../../up/file", inside.join("etc/upwards")).unwrap();
        symlink("/var/link", inside.join("link")).unwrap();
        let root = tree.root();
        for (path, make, made) in [
            ("/a/b/c", Make::Directory(0o700), "a/b/c"),
            ("/etc/absolute", Make::File, "run/missing/file"),
            ("/etc/upwards", Make::File, "up/file"),
            ("/../../x", Make::File, "x"),
            ("/link/below", Make::Directory(0o755), "var/link/below"),
        ] {
            root.ensure(path, make).unwrap();
            let found = fs::symlink_metadata(inside.join(made)).unwrap();
            assert_eq!(found.is_dir(), matches!(make, Make::Directory(_)), "{path}");
            if let Make::Directory(mode) = make {
                assert_eq!(found.permissions().mode() & 0o7777, mode);
            }
        }
        assert_eq!(fs::read_dir(&tree.0).unwrap().count(), 1, "nothing was made outside");
    }

    #[test]
    fn links_in_a_circle_end_and_a_file_on_the_way_is_no_directory() {
        let tree = Tree::new("circle");
        symlink("two", tree.0.join("root/one")).unwrap();
        symlink("one", tree.0.join("root/two")).unwrap();
        fs::write(tree.0.join("root/file"), "").unwrap();
        let root = tree.root();
        let error = root.ensure("/one/x", Make::File).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
        let error = root.ensure("/file/x", Make::File).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::NOTDIR.raw_os_error()));
    }

    #[test]
    fn a_link_is_refused_where_none_may_be() {
        let tree = Tree::new("straight");
        symlink("/etc", tree.0.join("root/proc")).unwrap();
        let error = tree.root().open_straight("/proc", OFlags::PATH).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
        tree.root().open_straight("/etc", OFlags::PATH).unwrap();
    }
}
