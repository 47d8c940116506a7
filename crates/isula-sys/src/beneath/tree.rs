//! Directory trees that strangers made, removed and measured: any depth, any names, by descriptor.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use super::{Beneath, Links, is_dir, stat};
use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, RawDir, RenameFlags},
    io::Errno,
};

/// Directories below this depth are moved up before they are emptied, so that a tree of any depth
/// needs few descriptors and little stack.
const DEPTH: usize = 32;
/// Names that are held in memory at once, for each level.
const BATCH: usize = 512;

/// Removes `name` of `dir`, with all its content if it is a directory; symbolic links are removed,
/// not followed. What does not exist is no error. `after_each` is called after each thing removed
/// (to bound the rate) and may stop the removal with an error.
///
/// # Errors
/// As `unlinkat(2)` and `openat(2)`, or what `after_each` says.
pub fn remove(
    dir: impl AsFd,
    name: &[u8],
    after_each: &mut dyn FnMut() -> io::Result<()>,
) -> io::Result<()> {
    let dir = dir.as_fd();
    match unlink(dir, name, AtFlags::empty()) {
        Err(error) if is(&error, Errno::ISDIR) => {}
        result => {
            result?;
            return after_each();
        }
    }
    let Some(top) = open(dir, name)? else { return Ok(()) };
    Removal { top: top.as_fd(), moved: 0, after_each }.empty(top.as_fd(), 0)?;
    unlink(dir, name, AtFlags::REMOVEDIR)?;
    after_each()
}

/// Bytes of names of directories that wait to be measured: a hostile tree must not fill the memory.
const WAITING: usize = 4 << 20;

/// What a tree takes on its file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes allocated.
    pub bytes: u64,
    /// Entries, the root not among them.
    pub entries: u64,
}

/// Measures what is beneath a directory; symbolic links count themselves. What vanishes meanwhile
/// does not count, nor what is deeper than a path can name.
///
/// # Errors
/// As `getdents(2)`.
pub fn measure(root: &Beneath) -> io::Result<Size> {
    let mut size = Size::default();
    let mut waiting = vec![Vec::new()];
    let mut held = 0;
    while let Some(path) = waiting.pop() {
        held -= path.len();
        let Ok(dir) = root.open_dir(&path, Links::Refused) else { continue };
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut reader = RawDir::new(&dir, &mut buffer);
        while let Some(entry) = reader.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let Ok(Some(stat)) = stat(&dir, name) else { continue };
            size.entries += 1;
            size.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
            if is_dir(&stat) && held < WAITING {
                let mut below = path.clone();
                if !below.is_empty() {
                    below.push(b'/');
                }
                below.extend_from_slice(name);
                held += below.len();
                waiting.push(below);
            }
        }
    }
    Ok(size)
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    moved: u64,
    after_each: &'a mut dyn FnMut() -> io::Result<()>,
}

impl Removal<'_> {
    fn empty(&mut self, dir: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
        loop {
            // What was moved up meanwhile is found by the next reading of the top.
            let batch = entries(dir)?;
            if batch.is_empty() {
                return Ok(());
            }
            for (name, kind) in batch {
                self.remove(dir, &name, kind, depth)?;
            }
        }
    }

    fn remove(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        kind: FileType,
        depth: usize,
    ) -> io::Result<()> {
        if kind != FileType::Directory {
            match unlink(dir, name, AtFlags::empty()) {
                // Some file systems do not say the type in the directory.
                Err(error) if is(&error, Errno::ISDIR) => {}
                result => {
                    result?;
                    return (self.after_each)();
                }
            }
        }
        if depth == DEPTH {
            return self.move_up(dir, name);
        }
        let Some(child) = open(dir, name)? else { return Ok(()) };
        self.empty(child.as_fd(), depth + 1)?;
        unlink(dir, name, AtFlags::REMOVEDIR)?;
        (self.after_each)()
    }

    fn move_up(&mut self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        loop {
            self.moved += 1;
            let new = format!(".moved-{}", self.moved);
            match fs::renameat_with(dir, name, self.top, new, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                result => return Ok(result?),
            }
        }
    }
}

/// The first entries of a directory.
fn entries(dir: BorrowedFd<'_>) -> io::Result<Vec<(Vec<u8>, FileType)>> {
    // A descriptor of its own: the position of a shared one is shared too.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = fs::openat(dir, ".", flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut reader = RawDir::new(own, &mut buffer);
    let mut batch = Vec::new();
    while batch.len() < BATCH
        && let Some(entry) = reader.next()
    {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            batch.push((name.to_vec(), entry.file_type()));
        }
    }
    Ok(batch)
}

fn open(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match fs::openat(dir, name, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn unlink(dir: BorrowedFd<'_>, name: &[u8], flags: AtFlags) -> io::Result<()> {
    match fs::unlinkat(dir, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::super::{Beneath, make_dir};
    use super::{measure, remove};

    #[test]
    fn a_tree_is_measured_without_following_links() {
        let scratch = std::env::temp_dir().join(format!("measured-{}", std::process::id()));
        fs::create_dir_all(scratch.join("a/b")).unwrap();
        fs::write(scratch.join("a/b/file"), vec![1; 10_000]).unwrap();
        symlink("/", scratch.join("a/link")).unwrap();
        let size = measure(&Beneath::open(&scratch).unwrap()).unwrap();
        assert_eq!(size.entries, 4);
        assert!((10_000..100_000).contains(&size.bytes), "{size:?}");
        fs::remove_dir_all(&scratch).unwrap();
    }

    #[test]
    fn a_tree_of_any_depth_is_removed_and_links_are_not_followed() {
        let scratch = std::env::temp_dir().join(format!("tree-{}", std::process::id()));
        fs::create_dir_all(scratch.join("kept")).unwrap();
        fs::write(scratch.join("kept/file"), "x").unwrap();
        fs::create_dir(scratch.join("tree")).unwrap();
        symlink(scratch.join("kept"), scratch.join("tree/link")).unwrap();
        let root = Beneath::open(&scratch).unwrap();
        // Deeper than PATH_MAX and than the descriptors of a process allow.
        let mut dir = root.open_dir(b"tree", super::super::Links::Refused).unwrap();
        for _ in 0..3000 {
            make_dir(&dir, b"deep").unwrap();
            fs::write(format!("{}/file", super::super::descriptor_path(&dir)), "x").unwrap();
            dir = Beneath { root: dir }.open_dir(b"deep", super::super::Links::Refused).unwrap();
        }
        let mut count = 0_u32;
        remove(root.root(), b"tree", &mut || {
            count += 1;
            Ok(())
        })
        .unwrap();
        assert!(!scratch.join("tree").exists());
        assert_eq!(count, 3000 + 3000 + 2);
        assert_eq!(fs::read(scratch.join("kept/file")).unwrap(), b"x");
        remove(root.root(), b"absent", &mut || Ok(())).unwrap();
        fs::remove_dir_all(&scratch).unwrap();
    }
}
