//! Making the one file, directory, link or device that an entry stands for.

use std::{
    cell::Cell,
    io::{self, BufRead, Seek, SeekFrom, Write},
    os::fd::BorrowedFd,
};

use isula_sys::{
    beneath::{self, FileType, Links, Special, is_dir, is_whiteout, tree, writeback},
    xattr,
};

use super::{Error, OPAQUE, Unpacker, attributes, path, tolerate, wanted_xattrs};
use crate::{
    archive::{Entry, Kind, Reader, Segment},
    reserve::Reserve,
};

/// How much of a large file is written before the disk is set to work.
const STRIDE: u64 = 8 << 20;

impl Unpacker {
    pub(super) fn place<R: BufRead>(
        &mut self,
        entry: &Entry,
        parent: &[u8],
        name: &[u8],
        data: &mut Reader<R>,
    ) -> Result<(), Error> {
        let failed = |error| Error::write(&entry.path, error);
        self.enter(parent).map_err(failed)?;
        let dir = self.parent_dir();
        let special =
            |special| anew(&self.replaced, dir, name, || beneath::make_special(dir, name, special));
        match &entry.kind {
            Kind::File { size, sparse } => {
                return self.file(entry, name, (*size, sparse.as_deref()), data);
            }
            Kind::Hardlink(target) => return self.link(entry, name, target),
            Kind::Directory => return self.directory(entry, name).map_err(failed),
            Kind::Symlink(text) => {
                anew(&self.replaced, dir, name, || beneath::make_symlink(dir, name, text))
            }
            Kind::Character(major, minor) => special(Special::Character(*major, *minor)),
            Kind::Block(major, minor) => special(Special::Block(*major, *minor)),
            Kind::Fifo => special(Special::Fifo),
        }
        .map_err(failed)?;
        describe(dir, name, entry).map_err(failed)
    }

    fn file<R: BufRead>(
        &mut self,
        entry: &Entry,
        name: &[u8],
        (size, sparse): (u64, Option<&[Segment]>),
        data: &mut Reader<R>,
    ) -> Result<(), Error> {
        let failed = |error| Error::write(&entry.path, error);
        let dir = self.parent_dir();
        let mut file = None;
        anew(&self.replaced, dir, name, || {
            file = Some(beneath::create_file(dir, name)?);
            Ok(())
        })
        .map_err(failed)?;
        let Some(mut file) = file else { return Ok(()) };
        let whole = [Segment { offset: 0, length: size }];
        let mut stored = 0;
        for segment in sparse.unwrap_or(&whole) {
            if sparse.is_some() {
                file.seek(SeekFrom::Start(segment.offset)).map_err(failed)?;
            }
            copy((&mut self.reserve, data), &mut file, segment.length, &failed)?;
            stored += segment.length;
        }
        if sparse.is_some() {
            file.set_len(size).map_err(failed)?;
        }
        beneath::set_attributes(&file, &attributes(entry)).map_err(failed)?;
        for (attribute, value) in wanted_xattrs(entry) {
            tolerate(xattr::set(&file, attribute, value), attribute).map_err(failed)?;
        }
        self.contents.size += stored;
        self.writeback.push_file(file.into(), stored).map_err(failed)
    }

    fn directory(&mut self, entry: &Entry, name: &[u8]) -> io::Result<()> {
        let dir = self.parent_dir();
        let mut hides = false;
        let made = match beneath::make_dir(dir, name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match beneath::stat(dir, name)? {
                    Some(stat) if is_dir(&stat) => {}
                    Some(stat) => {
                        // This layer hid what is below before it made something of its own.
                        hides = is_whiteout(&stat);
                        tree::remove(dir, name, &mut || Ok(()))?;
                        beneath::make_dir(dir, name)?;
                    }
                    None => return Err(error),
                }
                beneath::open_dir_at(dir, name)?
            }
            result => {
                result?;
                beneath::open_dir_at(dir, name)?
            }
        };
        if hides {
            xattr::set(&made, OPAQUE, b"y")?;
        }
        beneath::set_attributes(&made, &attributes(entry))?;
        for (attribute, value) in wanted_xattrs(entry) {
            tolerate(xattr::set(&made, attribute, value), attribute)?;
        }
        self.writeback.push_dir(made)
    }

    /// A further name of a file of this layer, which is found without following any link.
    fn link(&mut self, entry: &Entry, name: &[u8], target: &[u8]) -> Result<(), Error> {
        let refused = |why| Error::refused(&entry.path, why);
        let failed = |error| Error::write(&entry.path, error);
        let outside = || refused("it is a link to a file outside the layer");
        let target = path::clean(target).filter(|target| !target.is_empty()).ok_or_else(outside)?;
        let (from_path, from) = path::split(&target);
        let from_dir = match self.root.open_dir(from_path, Links::Refused) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(outside()),
            result => result.map_err(failed)?,
        };
        let dir = self.parent_dir();
        match (beneath::stat(&from_dir, from), beneath::stat(dir, name)) {
            (Ok(None), _) => return Err(outside()),
            (Ok(Some(source)), _) if is_dir(&source) => {
                return Err(refused("it is a hard link to a directory"));
            }
            // It is there: an archive may name a link twice, or link a file to itself.
            (Ok(Some(source)), Ok(Some(there)))
                if (source.st_dev, source.st_ino) == (there.st_dev, there.st_ino) =>
            {
                return Ok(());
            }
            (Err(error), _) | (_, Err(error)) => return Err(failed(error)),
            _ => {}
        }
        anew(&self.replaced, dir, name, || beneath::make_link(&from_dir, from, dir, name)).map_err(
            |error| {
                match error.kind() {
                    // Its own target was below what it replaces.
                    io::ErrorKind::NotFound => outside(),
                    _ => failed(error),
                }
            },
        )
    }

    fn parent_dir(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.parent.as_ref().map_or_else(|| self.root.root(), |parent| parent.dir.as_fd())
    }
}

/// Makes something under a name; what had the name is removed first (later entries win).
fn anew(
    replaced: &Cell<bool>,
    dir: BorrowedFd<'_>,
    name: &[u8],
    mut make: impl FnMut() -> io::Result<()>,
) -> io::Result<()> {
    match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let had_content = |stat: beneath::Stat| {
                matches!(beneath::kind(&stat), FileType::RegularFile | FileType::Directory)
            };
            if beneath::stat(dir, name)?.is_some_and(had_content) {
                replaced.set(true);
            }
            tree::remove(dir, name, &mut || Ok(()))?;
            make()
        }
        result => result,
    }
}

/// Owner, mode, times and attributes of a symbolic link or special file.
fn describe(dir: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> io::Result<()> {
    match entry.kind {
        Kind::Symlink(_) => beneath::set_symlink_attributes(dir, name, &attributes(entry))?,
        _ => beneath::set_attributes_at(dir, name, &attributes(entry))?,
    }
    for (attribute, value) in wanted_xattrs(entry) {
        tolerate(xattr::set_at(dir, name, attribute, value), attribute)?;
    }
    Ok(())
}

fn copy<R: BufRead>(
    (reserve, data): (&mut Reserve, &mut Reader<R>),
    file: &mut std::fs::File,
    length: u64,
    failed: &impl Fn(io::Error) -> Error,
) -> Result<(), Error> {
    let (mut left, mut unstarted) = (length, 0);
    while left > 0 {
        let mut source = data.data();
        let available = source.fill_buf().map_err(|error| Error::Archive(error.into()))?;
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(available.len());
        let Some(part) = available.get(..part).filter(|part| !part.is_empty()) else {
            return Err(Error::Archive(crate::archive::Error::Truncated));
        };
        reserve.take(part.len() as u64).map_err(failed)?;
        file.write_all(part).map_err(failed)?;
        let written = part.len();
        source.consume(written);
        left -= written as u64;
        unstarted += written as u64;
        if unstarted >= STRIDE {
            unstarted = 0;
            writeback::start(&*file).map_err(failed)?;
        }
    }
    Ok(())
}
