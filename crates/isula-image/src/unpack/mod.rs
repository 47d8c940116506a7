//! Unpacking a layer: the entries of its tar become files, and its whiteouts overlayfs's marks.
//!
//! The archive is hostile. Every name is cleaned, its directory is resolved beneath the layer's
//! root, and everything is then done by descriptor on one last component that is never followed.
//! Memory does not grow with the layer: nothing is remembered but the directory at hand.

mod error;
pub(crate) mod path;
mod place;
#[cfg(test)]
mod tests;
mod writeback;

use std::{
    cell::Cell,
    io::{self, BufRead},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use isula_sys::{
    beneath::{self, Attributes, Beneath, Links, Special, Stat, is_dir},
    xattr,
};
use serde::{Deserialize, Serialize};

pub(crate) use error::Error;
use writeback::Writeback;

use crate::{
    archive::{Entry, Kind, Reader},
    reserve::Reserve,
};

/// The most entries of one layer.
const ENTRY_LIMIT: u64 = 1 << 22;
/// What an entry takes on the disk beside its content.
const ENTRY_COST: u64 = 4096;
/// overlayfs's mark of a directory that hides the one below it.
pub(crate) const OPAQUE: &[u8] = b"trusted.overlay.opaque";
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";
/// AUFS's own names, which mean nothing to anybody else.
const AUFS: &[u8] = b".wh..wh.";

/// What was unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// Bytes of all regular files.
    pub(crate) size: u64,
    /// Number of entries.
    pub(crate) entries: u64,
    /// The layer hides everything below it. (overlayfs has no mark for this.)
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) hides_all: bool,
    /// A later entry took the place of an earlier one, whose content is gone.
    #[serde(skip)]
    pub(crate) replaced: bool,
    /// Owner and mode of `/`, if the layer says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root: Option<Root>,
}

/// Owner and mode of `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Root {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
}

/// Unpacks all entries of `archive` into the empty directory `root`, and has the kernel write
/// them out. The caller makes them durable by an `fsync` of what it makes after them.
///
/// # Errors
/// The archive is malformed, wants to leave the directory, or the disk failed.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn unpack<R: BufRead>(archive: &mut Reader<R>, root: &Path) -> Result<Contents, Error> {
    unpack_noting(archive, root, |_, _| {})
}

/// As `unpack`; `note` sees each entry before its content is read.
///
/// # Errors
/// As `unpack`.
pub(crate) fn unpack_noting<R: BufRead>(
    archive: &mut Reader<R>,
    root: &Path,
    note: impl FnMut(&mut Reader<R>, &Entry),
) -> Result<Contents, Error> {
    unpack_at_most(ENTRY_LIMIT, archive, root, note)
}

fn unpack_at_most<R: BufRead>(
    entries: u64,
    archive: &mut Reader<R>,
    root: &Path,
    mut note: impl FnMut(&mut Reader<R>, &Entry),
) -> Result<Contents, Error> {
    let mut unpacker = Unpacker::new(root).map_err(|error| Error::write(b"/", error))?;
    while let Some(entry) = archive.next_entry()? {
        unpacker.contents.entries += 1;
        if unpacker.contents.entries > entries {
            return Err(Error::refused(&entry.path, "the layer has too many entries"));
        }
        note(archive, &entry);
        unpacker.apply(&entry, archive)?;
    }
    unpacker.finish().map_err(|error| Error::write(b"/", error))
}

struct Unpacker {
    root: Beneath,
    /// The directory of the last entry.
    parent: Option<Parent>,
    writeback: Writeback,
    reserve: Reserve,
    contents: Contents,
    replaced: Cell<bool>,
}

/// An open directory. What is made in it changes its times; they are set back when it is left.
struct Parent {
    path: Vec<u8>,
    dir: OwnedFd,
    before: Stat,
}

impl Unpacker {
    fn new(root: &Path) -> io::Result<Self> {
        Ok(Self {
            root: Beneath::open(root)?,
            parent: None,
            writeback: Writeback::new(root),
            reserve: Reserve::new(root)?,
            contents: Contents::default(),
            replaced: Cell::new(false),
        })
    }

    fn finish(mut self) -> io::Result<Contents> {
        self.leave()?;
        self.writeback.push_dir(self.root.root().try_clone_to_owned()?)?;
        self.writeback.finish()?;
        self.contents.replaced = self.replaced.get();
        Ok(self.contents)
    }

    fn apply<R: BufRead>(&mut self, entry: &Entry, data: &mut Reader<R>) -> Result<(), Error> {
        let refused = |why| Error::refused(&entry.path, why);
        let path = path::clean(&entry.path).ok_or_else(|| refused("it leads out of the layer"))?;
        if path.is_empty() {
            return match entry.kind {
                Kind::Directory => self.root_entry(entry),
                _ => Err(refused("the root must be a directory")),
            };
        }
        self.reserve.take(ENTRY_COST).map_err(|error| Error::write(&entry.path, error))?;
        let (parent, name) = path::split(&path);
        let is_aufs = |part: &[u8]| part.starts_with(AUFS) && part != OPAQUE_WHITEOUT;
        if path::components(&path).any(is_aufs) {
            return Ok(());
        }
        if path::components(parent).any(|component| component.starts_with(WHITEOUT)) {
            return Err(refused("a whiteout can't be a directory"));
        }
        let failed = |error| Error::write(&entry.path, error);
        match name.strip_prefix(WHITEOUT) {
            _ if name == OPAQUE_WHITEOUT => self.hide_below(parent).map_err(failed),
            Some(b"" | b"." | b"..") => Err(refused("it is a whiteout of nothing")),
            Some(hidden) => self.whiteout(parent, hidden).map_err(failed),
            None => self.place(entry, parent, name, data),
        }
    }

    fn root_entry(&mut self, entry: &Entry) -> Result<(), Error> {
        let Entry { uid, gid, mode, .. } = *entry;
        self.contents.root = Some(Root { uid, gid, mode });
        let failed = |error| Error::write(&entry.path, error);
        self.leave().map_err(failed)?;
        let root = self.root.root();
        beneath::set_attributes(root, &attributes(entry)).map_err(failed)?;
        for (name, value) in wanted_xattrs(entry) {
            tolerate(xattr::set(root, name, value), name).map_err(failed)?;
        }
        Ok(())
    }

    /// The directory `path`, made if it is missing. The last one stays open: entries of one
    /// directory follow each other.
    fn enter(&mut self, path: &[u8]) -> io::Result<BorrowedFd<'_>> {
        if self.parent.as_ref().is_none_or(|parent| parent.path != path) {
            self.leave()?;
            let dir = match self.root.open_dir(path, Links::InRoot) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_all(path)?,
                result => result?,
            };
            let before = beneath::stat_fd(&dir)?;
            self.parent = Some(Parent { path: path.to_vec(), dir, before });
        }
        match &self.parent {
            Some(parent) => Ok(parent.dir.as_fd()),
            None => Ok(self.root.root()),
        }
    }

    fn leave(&mut self) -> io::Result<()> {
        if let Some(Parent { dir, before, .. }) = self.parent.take() {
            beneath::restore_times(&dir, &before)?;
            self.writeback.push_dir(dir)?;
        }
        Ok(())
    }

    /// Makes the directories that an archive takes for granted.
    fn make_all(&mut self, path: &[u8]) -> io::Result<OwnedFd> {
        let mut dir = self.root.open_dir(b"", Links::InRoot)?;
        // In a directory that was made here there is nothing to find.
        let mut is_new = false;
        for end in path::ends(path) {
            let prefix = path.get(..end).unwrap_or_default();
            if !is_new {
                match self.root.open_dir(prefix, Links::InRoot) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => is_new = true,
                    result => {
                        dir = result?;
                        continue;
                    }
                }
            }
            let (_, name) = path::split(prefix);
            let before = beneath::stat_fd(&dir)?;
            beneath::make_dir(&dir, name)?;
            let made = beneath::open_dir_at(&dir, name)?;
            beneath::set_mode(&made, 0o755)?;
            beneath::restore_times(&dir, &before)?;
            self.writeback.push_dir(std::mem::replace(&mut dir, made))?;
        }
        Ok(dir)
    }

    fn hide_below(&mut self, path: &[u8]) -> io::Result<()> {
        if path.is_empty() {
            self.contents.hides_all = true;
        }
        let dir = self.enter(path)?;
        xattr::set(dir, OPAQUE, b"y")
    }

    /// Hides `name` of the layers below. What this layer itself has there stays (image-spec
    /// layer.md, "Whiteouts"), and hides alone.
    fn whiteout(&mut self, parent: &[u8], name: &[u8]) -> io::Result<()> {
        let dir = self.enter(parent)?;
        match beneath::stat(dir, name)? {
            None => beneath::make_special(dir, name, Special::Character(0, 0)),
            Some(stat) if is_dir(&stat) => {
                xattr::set(beneath::open_dir_at(dir, name)?, OPAQUE, b"y")
            }
            Some(_) => Ok(()),
        }
    }
}

fn attributes(entry: &Entry) -> Attributes {
    let Entry { uid, gid, mode, modified: (seconds, nanoseconds), .. } = *entry;
    Attributes { uid, gid, mode, seconds, nanoseconds }
}

/// The attributes that a layer may set. What steers overlayfs is ours alone: it could make one
/// layer show the files of another, or of the container.
fn wanted_xattrs(entry: &Entry) -> impl Iterator<Item = (&[u8], &[u8])> {
    let wanted =
        |name: &[u8]| !name.starts_with(b"trusted.overlay.") && !name.starts_with(b"user.overlay.");
    let all = entry.xattrs.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
    all.filter(move |(name, _)| wanted(name))
}

/// Attributes that the file system or the kind of file does not take are left out, as every other
/// engine does; but a program must not silently lose its capabilities.
fn tolerate(result: io::Result<()>, name: &[u8]) -> io::Result<()> {
    match result {
        Err(error) if name != b"security.capability" => match error.kind() {
            io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied => {
                tracing::debug!(attribute = %String::from_utf8_lossy(name), %error, "left out");
                Ok(())
            }
            _ => Err(error),
        },
        result => result,
    }
}
