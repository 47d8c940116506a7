//! Packing a tree into a tar: the root file system of a container, or a layer.
//!
//! The tree may belong to a container that changes it meanwhile. It is walked by descriptors, no
//! link is followed, and a file that shrinks is filled up with zeros, as GNU tar does.

pub(crate) mod header;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    io::{self, Write},
    os::fd::AsFd,
};

use isula_sys::{
    beneath::{self, FileType, Stat, list},
    xattr,
};

use crate::{
    archive::{Entry, Kind},
    merged::{Item, Marks, Merged},
};
use header::{ZEROS, padding};

const BUFFER: usize = 128 << 10;

/// Writes the tar of a tree, with its end mark. With [`Marks::Show`] overlayfs's marks become
/// whiteouts of the image specification.
///
/// # Errors
/// The tree can't be read; as the output's.
pub(crate) fn pack(merged: &Merged, marks: Marks, output: &mut impl Write) -> io::Result<()> {
    let mut packer = Packer { output, marks, links: HashMap::new(), buffer: vec![0; BUFFER] };
    merged.walk(marks, &mut |item| {
        packer.item(item).map_err(|error| match error.kind() {
            // Of the output: it says enough.
            io::ErrorKind::BrokenPipe => error,
            kind => {
                let name = String::from_utf8_lossy(item.path).into_owned();
                io::Error::new(kind, format!("/{name}: {error}"))
            }
        })
    })?;
    output.write_all(&ZEROS)
}

/// An empty file, as whiteouts are.
///
/// # Errors
/// As the output's.
pub(crate) fn empty_file(path: Vec<u8>, output: &mut impl Write) -> io::Result<()> {
    let kind = Kind::File { size: 0, sparse: None };
    let entry = Entry { path, kind, mode: 0, uid: 0, gid: 0, modified: (0, 0), xattrs: Vec::new() };
    header::write(&entry, output)
}

struct Packer<'a, W> {
    output: &'a mut W,
    marks: Marks,
    /// Files with several names: the first one's, and how many are still to come.
    links: HashMap<(usize, u64, u64), (Vec<u8>, u64)>,
    buffer: Vec<u8>,
}

impl<W: Write> Packer<'_, W> {
    fn item(&mut self, item: &Item<'_>) -> io::Result<()> {
        let Item { path, dir, name, stat, .. } = *item;
        if beneath::is_whiteout(&stat) && self.marks == Marks::Show {
            let parent = path.len() - name.len();
            let parent = path.get(..parent).unwrap_or_default();
            return empty_file([parent, b".wh.", name].concat(), self.output);
        }
        let kind = beneath::kind(&stat);
        if kind == FileType::RegularFile {
            return self.file(item);
        }
        let handle = match list::open_handle_at(dir, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result?,
        };
        let (major, minor) = list::device(&stat);
        let kind = match kind {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => match beneath::read_symlink(&handle) {
                Ok(text) => Kind::Symlink(text),
                // It is something else by now.
                Err(_) => return Ok(()),
            },
            FileType::CharacterDevice => Kind::Character(major, minor),
            FileType::BlockDevice => Kind::Block(major, minor),
            FileType::Fifo => Kind::Fifo,
            // A tar has no sockets.
            _ => return Ok(()),
        };
        let is_dir = kind == Kind::Directory;
        let path = if is_dir { [path, b"/"].concat() } else { path.to_vec() };
        let opaque = (item.is_opaque && self.marks == Marks::Show).then(|| path.clone());
        let kind = match self.earlier(item) {
            Some(first) if !is_dir => Kind::Hardlink(first),
            _ => kind,
        };
        self.write(&entry(path, kind, &stat, &handle)?)?;
        match opaque {
            Some(path) => empty_file([path.as_slice(), b".wh..wh..opq"].concat(), self.output),
            None => Ok(()),
        }
    }

    fn file(&mut self, item: &Item<'_>) -> io::Result<()> {
        if let Some(first) = self.earlier(item) {
            let kind = Kind::Hardlink(first);
            let handle = list::open_handle_at(item.dir, item.name)?;
            return self.write(&entry(item.path.to_vec(), kind, &item.stat, &handle)?);
        }
        let file = match list::open_read_at(item.dir, item.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result?,
        };
        let stat = beneath::stat_fd(&file)?;
        if beneath::kind(&stat) != FileType::RegularFile {
            return Ok(());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let kind = Kind::File { size, sparse: None };
        self.write(&entry(item.path.to_vec(), kind, &stat, &file)?)?;
        let mut left = size;
        let mut file = io::Read::take(file, size);
        while left > 0 {
            let read = io::Read::read(&mut file, &mut self.buffer)?;
            if read == 0 {
                self.buffer.fill(0);
            }
            let part = match read {
                0 => usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len()),
                read => read,
            };
            self.output.write_all(self.buffer.get(..part).unwrap_or_default())?;
            left -= part as u64;
        }
        self.output.write_all(padding(size))
    }

    /// The first name of a file that has several.
    fn earlier(&mut self, item: &Item<'_>) -> Option<Vec<u8>> {
        let Stat { st_dev, st_ino, st_nlink, .. } = item.stat;
        if st_nlink < 2 || beneath::is_dir(&item.stat) {
            return None;
        }
        let key = (item.layer, st_dev, st_ino);
        if let Some((first, left)) = self.links.get_mut(&key) {
            let first = first.clone();
            *left -= 1;
            if *left == 0 {
                self.links.remove(&key);
            }
            return Some(first);
        }
        #[allow(clippy::useless_conversion, reason = "it has 32 bits on other architectures")]
        let names = u64::from(st_nlink);
        self.links.insert(key, (item.path.to_vec(), names - 1));
        None
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        header::write(entry, self.output)
    }
}

fn entry(path: Vec<u8>, kind: Kind, stat: &Stat, handle: impl AsFd) -> io::Result<Entry> {
    let mut xattrs = xattr::all(handle)?;
    // What steers overlayfs is ours alone, and labels are those of this host.
    xattrs.retain(|(name, _)| {
        let ours = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
        let host = [&b"security.selinux"[..], b"security.ima", b"security.evm"];
        !ours && !host.contains(&name.as_slice())
    });
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Ok(Entry {
        path,
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified: (stat.st_mtime, nanoseconds),
        xattrs,
    })
}
