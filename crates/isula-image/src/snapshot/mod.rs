//! The writable layers of containers, and the port `Snapshots`.
//!
//! A snapshot costs five system calls and no `fsync`: nothing in it is data. Which image it is of
//! says the *name* of an empty file beside its directories, so that the commit of the file system's
//! journal that makes the container's own record durable makes this durable too.

mod points;
mod quota;
pub(crate) mod remembered;
#[cfg(test)]
mod tests;
mod usage;
mod view;

use std::{
    collections::HashMap,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use isula_core::{
    error::{ErrorKind, PortError},
    fault,
    id::ContainerId,
    image::{Image, ImageId},
    ports::{ByteStream, Change, Removal, Result, Rootfs, Snapshots},
    sandbox::FilesystemUsage,
};
use isula_sys::beneath::{self, Beneath, Special};

use crate::{
    merged::Merged,
    store::{Shared, Store, files},
    unpack::Root,
};

/// Which image each container needs; `None` where that is not known, because its mark was lost.
pub(crate) type Uses = HashMap<ContainerId, Option<ImageId>>;

const MARK: &str = "image-";
/// The file whose further names are the marks of snapshots.
const MARKS: &str = "mark";
/// The directory that makes two of a single layer.
const EMPTY: &str = "empty";

/// The image of the snapshot in `dir`.
pub(crate) fn image_of(dir: &Path) -> Option<ImageId> {
    let image = |name: &[u8]| {
        let hex = std::str::from_utf8(name).ok()?.strip_prefix(MARK)?;
        Some(ImageId(format!("sha256:{hex}").parse().ok()?))
    };
    beneath::list::find_name(dir, image).ok().flatten()
}

#[async_trait]
impl Snapshots for Store {
    async fn prepare(&self, id: &ContainerId, image: &ImageId) -> Result<()> {
        let (id, image) = (id.clone(), image.clone());
        self.blocking(move |shared| shared.prepare(&id, &image)).await
    }

    fn rootfs(&self, id: &ContainerId, image: &ImageId, volatile: bool) -> Result<Rootfs> {
        let dir = self.shared.layout.snapshot(id);
        let (upper, work) = (dir.join("diff"), dir.join("work"));
        if !upper.is_dir() || !work.is_dir() {
            return Err(no_snapshot(id));
        }
        self.rootfs_of_new(id, image, volatile)
    }

    fn rootfs_of_new(&self, id: &ContainerId, image: &ImageId, volatile: bool) -> Result<Rootfs> {
        let dir = self.shared.layout.snapshot(id);
        let (upper, work) = (dir.join("diff"), dir.join("work"));
        let image = self.shared.needed_image(id, image)?;
        let mut lower = self.shared.lower(&image)?;
        self.shared.add_mount_points(&mut lower)?;
        Ok(Rootfs::Overlay { lower, upper, work, volatile })
    }

    fn layers(&self, image: &ImageId) -> Result<Vec<PathBuf>> {
        let found = self.shared.index().get(image).cloned().ok_or_else(|| no_image(image))?;
        let visible = self.shared.visible(&found)?;
        let mut layers: Vec<_> =
            visible.iter().map(|layer| self.shared.layout.diff(layer)).collect();
        // Without a writable layer, an overlay has at least two others.
        layers.push(self.shared.empty_layer()?);
        Ok(layers)
    }

    async fn usage(&self, id: &ContainerId) -> Result<FilesystemUsage> {
        let id = id.clone();
        self.blocking(move |shared| shared.usage(&id)).await
    }

    async fn read(
        &self,
        id: &ContainerId,
        image: &ImageId,
        path: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>> {
        let (id, image, path) = (id.clone(), image.clone(), path.to_owned());
        self.blocking(move |shared| shared.read(&id, &image, &path, limit)).await
    }

    async fn read_image(&self, image: &ImageId, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        if let Some(known) = self.shared.recall(image, path, limit) {
            return Ok(known);
        }
        let (image, path) = (image.clone(), path.to_owned());
        self.blocking(move |shared| shared.read_image(&image, &path, limit)).await
    }

    fn export(&self, rootfs: &Rootfs) -> Result<ByteStream> {
        view::export(rootfs)
    }

    fn pack(&self, directory: &Path) -> Result<ByteStream> {
        view::pack(directory)
    }

    async fn unpack(&self, archive: &Path, into: &Path) -> Result<()> {
        let (archive, into) = (archive.to_owned(), into.to_owned());
        self.blocking(move |_| view::unpack(&archive, &into)).await
    }

    async fn changes(&self, rootfs: &Rootfs) -> Result<Vec<Change>> {
        let rootfs = rootfs.clone();
        self.blocking(move |_| view::changes(&rootfs)).await
    }

    async fn disk_usage(&self, dir: &Path) -> Result<u64> {
        let dir = dir.to_owned();
        self.blocking(move |_| view::disk_usage(&dir)).await
    }

    async fn limit(&self, id: &ContainerId, bytes: u64) -> Result<()> {
        let id = id.clone();
        self.blocking(move |shared| shared.limit_snapshot(&id, bytes)).await
    }

    async fn change_limit(&self, id: &ContainerId, bytes: u64) -> Result<()> {
        let id = id.clone();
        self.blocking(move |shared| shared.change_snapshot_limit(&id, bytes)).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        let id = id.clone();
        self.blocking(move |shared| shared.remove_snapshot(&id)).await
    }

    fn removal(&self, id: &ContainerId) -> Removal {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        Box::new(move || shared.remove_snapshot(&id))
    }

    async fn list(&self) -> Result<Vec<ContainerId>> {
        let mut all: Vec<_> = self.shared.uses().keys().cloned().collect();
        all.sort_unstable();
        Ok(all)
    }
}

impl Shared {
    fn prepare(&self, id: &ContainerId, image: &ImageId) -> Result<()> {
        let image = {
            // The image can't be taken from view between these two lines.
            let mut uses = self.uses();
            let found = self.index().get(image).cloned().ok_or_else(|| no_image(image))?;
            if uses.contains_key(id) {
                return Err(PortError::new(
                    ErrorKind::AlreadyExists,
                    format!("container {} has a writable layer already", id.short()),
                ));
            }
            uses.insert(id.clone(), Some(image.clone()));
            found
        };
        let dir = self.layout.snapshot(id);
        self.make_snapshot(&dir, &image).inspect_err(|_| {
            if let Err(error) = self.remove_snapshot(id) {
                tracing::warn!(container = %id, %error, "cannot clean up after a failure");
            }
        })?;
        fault::point("create.snapshot_prepared");
        Ok(())
    }

    fn make_snapshot(&self, dir: &Path, image: &Image) -> Result<()> {
        let failed = |error: io::Error| files::cannot("make", dir, error);
        files::make_dir(dir, 0o700)?;
        let dir = Beneath::open(dir).map_err(failed)?;
        let mark = format!("{MARK}{}", image.id.hex());
        self.mark(&dir, mark.as_bytes()).map_err(failed)?;
        beneath::make_dir(dir.root(), b"work").map_err(failed)?;
        beneath::make_dir(dir.root(), b"diff").map_err(failed)?;
        // The root directory of an overlay is the upper one: it must look as the image's.
        let Root { uid, gid, mode } = self.root_of(image);
        beneath::set_owner_at(dir.root(), b"diff", (uid, gid), mode).map_err(failed)
    }

    /// Makes an empty file: a name more of one that all snapshots share, or one of its own where that
    /// has as many names as a file can have, or is not there.
    fn mark(&self, dir: &Beneath, name: &[u8]) -> io::Result<()> {
        let shared = self.layout.root().join(MARKS);
        for _ in 0..2 {
            match beneath::link_at(&shared, dir.root(), name) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::OpenOptions::new().append(true).create(true).open(&shared)?;
                }
                Err(_) => break,
            }
        }
        beneath::make_special(dir.root(), name, Special::Empty)
    }

    /// Owner and mode of `/`: the topmost layer that says something counts.
    fn root_of(&self, image: &Image) -> Root {
        use std::os::unix::fs::MetadataExt;
        let index = self.index();
        let topmost = index.embedded(&image.id).and_then(<[_]>::last);
        if let Some(Ok(found)) = topmost.map(fs::metadata) {
            let mode = found.mode() & 0o7777;
            return Root { uid: found.uid(), gid: found.gid(), mode };
        }
        let layers = self.layers();
        let roots = image.layers.iter().rev();
        roots.filter_map(|layer| layers.contents(layer)?.root).next().unwrap_or(Root {
            uid: 0,
            gid: 0,
            mode: 0o755,
        })
    }

    /// The image of a container. From now on it is known that the container needs it.
    fn needed_image(&self, id: &ContainerId, image: &ImageId) -> Result<Arc<Image>> {
        let mut uses = self.uses();
        let found = self.index().get(image).cloned().ok_or_else(|| no_image(image))?;
        if let Some(used) = uses.get_mut(id).filter(|used| used.is_none()) {
            *used = Some(image.clone());
        }
        Ok(found)
    }

    /// The layers that show, topmost first: down to one that hides all below it, and each once
    /// (overlayfs refuses a directory that is there twice; what the upper one shows is the same).
    fn visible(&self, image: &Image) -> Result<Vec<isula_core::image::Digest>> {
        let layers = self.layers();
        let mut visible = Vec::with_capacity(image.layers.len());
        for layer in image.layers.iter().rev() {
            let contents = layers.contents(layer).ok_or_else(|| {
                let text = format!("layer {layer} of image {} is missing", image.id);
                PortError::new(ErrorKind::Corrupt, text)
            })?;
            if !visible.contains(layer) {
                visible.push(layer.clone());
            }
            if contents.hides_all {
                break;
            }
        }
        Ok(visible)
    }

    /// The directories below a container of the image, topmost first.
    fn lower(&self, image: &Image) -> Result<Vec<PathBuf>> {
        if let Some(dirs) = self.index().embedded(&image.id) {
            if let Some(missing) = dirs.iter().find(|dir| !dir.is_dir()) {
                let text = format!("layer {} of image {} is missing", missing.display(), image.id);
                return Err(PortError::new(ErrorKind::Corrupt, text));
            }
            return Ok(dirs.iter().rev().cloned().collect());
        }
        let visible = self.visible(image)?;
        Ok(visible.iter().map(|layer| self.layout.diff(layer)).collect())
    }

    fn empty_layer(&self) -> Result<PathBuf> {
        let path = self.layout.root().join(EMPTY);
        match files::make_dir(&path, 0o755) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(path),
        }
    }

    fn remove_snapshot(&self, id: &ContainerId) -> Result<()> {
        let dir = self.layout.snapshot(id);
        self.trash().discard(&dir).map_err(|error| files::cannot("remove", &dir, error))?;
        fault::point("rm.snapshot_removed");
        self.uses().remove(id);
        self.trash().sweep();
        Ok(())
    }

    fn read(
        &self,
        id: &ContainerId,
        image: &ImageId,
        path: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>> {
        let upper = self.layout.snapshot(id).join("diff");
        if !upper.is_dir() {
            return Err(no_snapshot(id));
        }
        let image = self.needed_image(id, image)?;
        let dirs = std::iter::once(upper).chain(self.lower(&image)?);
        let path = std::ffi::OsStr::new(path);
        Merged::open(dirs).and_then(|merged| merged.read(path.as_bytes(), limit)).map_err(|error| {
            let text = format!("cannot read {} of container {}", path.display(), id.short());
            PortError::io(text, error)
        })
    }
}

fn no_image(image: &ImageId) -> PortError {
    PortError::new(ErrorKind::ImageNotFound, format!("no such image: {image}"))
}

fn no_snapshot(id: &ContainerId) -> PortError {
    let text = format!("container {} has no writable layer", id.short());
    PortError::new(ErrorKind::NotFound, text)
}
