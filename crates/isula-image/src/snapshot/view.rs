//! Looking at root file systems as a whole: export, changes, usage.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use isula_core::{
    error::{ErrorKind, PortError},
    ports::{ByteStream, Change, ChangeKind, Result, Rootfs},
};
use isula_sys::beneath::{self, Beneath, FileType, Links, list};

/// Bytes that are read at once.
const BUFFER: usize = 64 << 10;

use crate::{
    archive::Reader,
    error::from_io,
    merged::{Item, Marks, Merged},
    pack, stream,
    unpack::unpack_noting,
};

/// The directories of a root file system, topmost first.
fn dirs(rootfs: &Rootfs) -> Vec<PathBuf> {
    match rootfs {
        Rootfs::Overlay { lower, upper, .. } => {
            std::iter::once(upper).chain(lower).cloned().collect()
        }
        Rootfs::Directory(path) => vec![path.clone()],
    }
}

/// See [`isula_core::ports::Snapshots::export`].
pub(super) fn export(rootfs: &Rootfs) -> Result<ByteStream> {
    write(dirs(rootfs), Marks::Heed, "cannot export the root file system")
}

/// See [`isula_core::ports::Snapshots::pack`].
pub(super) fn pack(directory: &Path) -> Result<ByteStream> {
    write(vec![directory.to_owned()], Marks::Show, "cannot pack a directory")
}

/// See [`isula_core::ports::Snapshots::unpack`].
pub(super) fn unpack(archive: &Path, into: &Path) -> Result<()> {
    let text = || format!("cannot unpack {}", archive.display());
    let file = File::open(archive).map_err(|error| PortError::io(text(), error))?;
    let mut entries = Reader::new(BufReader::with_capacity(BUFFER, file));
    unpack_noting(&mut entries, into, |_, _| {}).map(drop).map_err(PortError::from)
}

fn write(dirs: Vec<PathBuf>, marks: Marks, text: &'static str) -> Result<ByteStream> {
    let failed = move |error| from_io(text, error);
    let merged = Merged::open(dirs.into_iter()).map_err(failed)?;
    stream::write_blocking(move |output| {
        pack::pack(&merged, marks, output).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => {
                PortError::new(ErrorKind::Cancelled, "nobody reads the archive any more")
            }
            _ => failed(error),
        })
    })
}

/// See [`isula_core::ports::Snapshots::changes`].
pub(super) fn changes(rootfs: &Rootfs) -> Result<Vec<Change>> {
    let failed = |error| from_io("cannot compare with the image", error);
    let Rootfs::Overlay { upper, lower, .. } = rootfs else { return Ok(Vec::new()) };
    let own = Merged::open(std::iter::once(upper.clone())).map_err(failed)?;
    let image = Merged::open(lower.iter().cloned()).map_err(failed)?;
    let mut changes = Vec::new();
    let mut note = |item: &Item<'_>| {
        let before = image.shows(item.path)?;
        let kind = match (beneath::is_whiteout(&item.stat), before) {
            (true, true) => ChangeKind::Deleted,
            (true, false) => return Ok(()),
            (false, true) => ChangeKind::Changed,
            (false, false) => ChangeKind::Added,
        };
        changes.push(Change { path: [b"/", item.path].concat(), kind });
        Ok(())
    };
    own.walk(Marks::Show, &mut note).map_err(failed)?;
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(changes)
}

/// See [`isula_core::ports::Snapshots::disk_usage`]. A file with several names counts once.
pub(super) fn disk_usage(dir: &Path) -> Result<u64> {
    let failed = |error| PortError::io(format!("cannot measure {}", dir.display()), error);
    let root = Beneath::open(dir).map_err(failed)?;
    let mut seen = HashSet::new();
    let mut total = 0;
    let mut dirs = vec![Vec::new()];
    while let Some(path) = dirs.pop() {
        let dir = match root.open_dir(&path, Links::Refused) {
            // What goes away meanwhile does not count.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            result => result.map_err(failed)?,
        };
        for name in list::names(&dir).map_err(failed)? {
            let Some(stat) = beneath::stat(dir.as_fd(), &name).map_err(failed)? else { continue };
            if beneath::is_dir(&stat) {
                dirs.push(match path.is_empty() {
                    true => name,
                    false => [path.as_slice(), b"/", &name].concat(),
                });
            } else if beneath::kind(&stat) == FileType::RegularFile
                && (stat.st_nlink == 1 || seen.insert((stat.st_dev, stat.st_ino)))
            {
                total += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
            }
        }
    }
    Ok(total)
}
