//! Reading through all layers without mounting them: what overlayfs would show (kernel
//! documentation, filesystems/overlayfs.rst), found by hand.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Read},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use isula_sys::{
    beneath::{self, Beneath, FileType, Links, Stat, list},
    xattr,
};

use crate::unpack::OPAQUE;

/// As many symbolic links as the kernel follows in one name (path_resolution(7)).
const LINKS: u32 = 40;
/// More parts than a name of the kernel can have.
const PARTS: usize = 4096;

/// The layers of one root file system.
pub(crate) struct Merged {
    /// Topmost first.
    layers: Vec<Beneath>,
    /// Their file systems: what is mounted in a layer is no part of it.
    devices: Vec<u64>,
}

/// A directory of the merged tree: one name, and the layers that contribute to it.
#[derive(Clone)]
struct Dir {
    path: Vec<u8>,
    layers: Vec<usize>,
}

enum Found {
    Dir(Dir),
    Symlink(Vec<u8>),
    /// A file or device of this layer.
    Other {
        path: Vec<u8>,
        layer: usize,
    },
    Nothing,
}

impl Merged {
    pub(crate) fn open(dirs: impl Iterator<Item = PathBuf>) -> io::Result<Self> {
        let layers: Vec<_> = dirs.map(|dir| Beneath::open(&dir)).collect::<io::Result<_>>()?;
        let device = |layer: &Beneath| Ok(beneath::stat_fd(layer.root())?.st_dev);
        let devices = layers.iter().map(device).collect::<io::Result<_>>()?;
        Ok(Self { layers, devices })
    }

    /// The content of a regular file of at most `limit` bytes; `None` for everything else.
    pub(crate) fn read(&self, path: &[u8], limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some((path, layer)) = self.resolve(path)? else { return Ok(None) };
        let Some(layer) = self.layers.get(layer) else { return Ok(None) };
        let handle = layer.open_handle(&path, Links::Refused)?;
        if beneath::kind(&beneath::stat_fd(&handle)?) != FileType::RegularFile {
            return Ok(None);
        }
        if xattr::has(&handle, b"trusted.overlay.metacopy")? {
            return Err(io::Error::other("its data and its attributes are in different layers"));
        }
        let file = layer.open_read(&path, Links::Refused)?;
        if beneath::kind(&beneath::stat_fd(&file)?) != FileType::RegularFile {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 <= limit).then_some(bytes))
    }

    /// The layer that shows `path`, and its name there, free of symbolic links.
    fn resolve(&self, path: &[u8]) -> io::Result<Option<(Vec<u8>, usize)>> {
        let root = Dir { path: Vec::new(), layers: (0..self.layers.len()).collect() };
        let mut dirs = vec![root];
        let mut parts: VecDeque<Vec<u8>> = split(path).collect();
        let mut links = 0;
        while let Some(part) = parts.pop_front() {
            if part == b".." {
                if dirs.len() > 1 {
                    dirs.pop();
                }
                continue;
            }
            let Some(dir) = dirs.last() else { return Ok(None) };
            match self.look_up(dir, &part)? {
                Found::Dir(dir) => dirs.push(dir),
                Found::Other { path, layer } if parts.is_empty() => return Ok(Some((path, layer))),
                Found::Other { .. } | Found::Nothing => return Ok(None),
                Found::Symlink(text) => {
                    links += 1;
                    if text.starts_with(b"/") {
                        dirs.truncate(1);
                    }
                    for part in split(&text).collect::<Vec<_>>().into_iter().rev() {
                        parts.push_front(part);
                    }
                    if links > LINKS || parts.len() > PARTS {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }

    /// What the merged directory shows under a name.
    fn look_up(&self, dir: &Dir, name: &[u8]) -> io::Result<Found> {
        let path = match dir.path.is_empty() {
            true => name.to_vec(),
            false => [dir.path.as_slice(), b"/", name].concat(),
        };
        let mut merged = Vec::new();
        for index in &dir.layers {
            let Some(layer) = self.layers.get(*index) else { continue };
            let handle = match layer.open_handle(&path, Links::Refused) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) if error.kind() == io::ErrorKind::InvalidFilename => break,
                result => result?,
            };
            let stat = beneath::stat_fd(&handle)?;
            let is_dir = beneath::is_dir(&stat);
            // A whiteout hides what is below; so does a file below a directory, and it is hidden
            // itself.
            if beneath::is_whiteout(&stat) || (!merged.is_empty() && !is_dir) {
                break;
            }
            if !is_dir {
                return Ok(match beneath::kind(&stat) {
                    FileType::Symlink => Found::Symlink(beneath::read_symlink(&handle)?),
                    _ => Found::Other { path, layer: *index },
                });
            }
            if xattr::has(&handle, b"trusted.overlay.redirect")? {
                return Err(io::Error::other("a directory on the way was renamed across layers"));
            }
            merged.push(*index);
            if xattr::is(&handle, OPAQUE, b"y")? {
                break;
            }
        }
        Ok(match merged.is_empty() {
            true => Found::Nothing,
            false => Found::Dir(Dir { path, layers: merged }),
        })
    }
}

/// What a walk does with overlayfs's marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// They hide what is below and are not seen.
    Heed,
    /// As `Heed`, and they are seen too: the walk is one of a layer.
    Show,
}

/// Something that a walk comes by.
pub(crate) struct Item<'a> {
    /// Its name from the root on.
    pub(crate) path: &'a [u8],
    /// The directory that it is in, within its layer.
    pub(crate) dir: BorrowedFd<'a>,
    /// Its last part; `.` for the root.
    pub(crate) name: &'a [u8],
    pub(crate) stat: Stat,
    /// The layer it is in.
    pub(crate) layer: usize,
    /// A directory that hides those of the same name below.
    pub(crate) is_opaque: bool,
}

impl Merged {
    /// Visits everything but the root itself, each directory before its content, in an order that
    /// depends on names alone. Memory grows with the largest directory and not with the tree.
    pub(crate) fn walk(
        &self,
        marks: Marks,
        visit: &mut dyn FnMut(&Item<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut dirs = vec![Dir { path: Vec::new(), layers: (0..self.layers.len()).collect() }];
        while let Some(dir) = dirs.pop() {
            let mut children = self.visit_dir(&dir, marks, visit)?;
            children.reverse();
            dirs.append(&mut children);
        }
        Ok(())
    }

    /// Whether there is something under this name; its directories are no links.
    pub(crate) fn shows(&self, path: &[u8]) -> io::Result<bool> {
        let mut dir = Dir { path: Vec::new(), layers: (0..self.layers.len()).collect() };
        let mut parts = split(path).peekable();
        while let Some(part) = parts.next() {
            match self.look_up(&dir, &part)? {
                Found::Dir(next) => dir = next,
                Found::Nothing => return Ok(false),
                Found::Symlink(_) | Found::Other { .. } => return Ok(parts.peek().is_none()),
            }
        }
        Ok(true)
    }

    /// Visits the content of one directory, and gives the directories in it.
    fn visit_dir(
        &self,
        dir: &Dir,
        marks: Marks,
        visit: &mut dyn FnMut(&Item<'_>) -> io::Result<()>,
    ) -> io::Result<Vec<Dir>> {
        let mut open = Vec::with_capacity(dir.layers.len());
        let mut names: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        for index in &dir.layers {
            let Some(layer) = self.layers.get(*index) else { continue };
            let handle = match layer.open_dir(&dir.path, Links::Refused) {
                // A container that runs may have removed it meanwhile, or put something else there.
                Err(error) if is_gone(&error) => continue,
                result => result?,
            };
            for name in list::names(&handle)? {
                names.entry(name).or_default().push(open.len());
            }
            open.push((*index, handle));
        }
        let mut children = Vec::new();
        for (name, places) in names {
            let path = match dir.path.is_empty() {
                true => name.clone(),
                false => [dir.path.as_slice(), b"/", &name].concat(),
            };
            let places = places.iter().filter_map(|place| open.get(*place));
            let layers = self.show(&path, (&name, places), marks, visit)?;
            if !layers.is_empty() {
                children.push(Dir { path, layers });
            }
        }
        Ok(children)
    }

    /// Visits what a name shows; gives the layers that contribute if it is a directory.
    fn show<'a>(
        &self,
        path: &[u8],
        (name, places): (&[u8], impl Iterator<Item = &'a (usize, OwnedFd)>),
        marks: Marks,
        visit: &mut dyn FnMut(&Item<'_>) -> io::Result<()>,
    ) -> io::Result<Vec<usize>> {
        let mut merged = Vec::new();
        for (layer, dir) in places {
            let Some(stat) = beneath::stat(dir, name)? else { continue };
            let is_whiteout = beneath::is_whiteout(&stat);
            let is_dir = beneath::is_dir(&stat);
            let hides = (is_whiteout && marks == Marks::Heed) || (!merged.is_empty() && !is_dir);
            if hides {
                break;
            }
            let mut is_opaque = false;
            if is_dir {
                let handle = match beneath::open_dir_at(dir, name) {
                    Err(error) if is_gone(&error) => continue,
                    result => result?,
                };
                if xattr::has(&handle, b"trusted.overlay.redirect")? {
                    return Err(io::Error::other("a directory was renamed across layers"));
                }
                is_opaque = xattr::is(&handle, OPAQUE, b"y")?;
            }
            if merged.is_empty() {
                let dir = dir.as_fd();
                visit(&Item { path, dir, name, stat, layer: *layer, is_opaque })?;
            }
            let is_mounted = self.devices.get(*layer) != Some(&stat.st_dev);
            if !is_dir || is_mounted {
                break;
            }
            merged.push(*layer);
            if is_opaque {
                break;
            }
        }
        Ok(merged)
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(beneath::ELOOP)
}

fn split(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/');
    parts.filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
}
