//! Root file systems of containers, and volumes.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{ByteStream, Result};
use crate::{
    error::{ErrorKind, PortError},
    id::{ContainerId, Name},
    image::ImageId,
    sandbox::FilesystemUsage,
};

/// Where the root file system of a container comes from; it is mounted by the runtime inside the
/// container's own mount namespace and never in the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rootfs {
    /// An overlay.
    Overlay {
        /// Layer directories, topmost first.
        lower: Vec<PathBuf>,
        /// The container's own directory of changes.
        upper: PathBuf,
        /// Overlay's work directory, beside `upper`.
        work: PathBuf,
        /// The changes need not survive a crash (`--rm`).
        volatile: bool,
    },
    /// A directory that is used as it is.
    Directory(PathBuf),
}

/// Removes a writable layer; it blocks.
pub type Removal = Box<dyn FnOnce() -> Result<()> + Send>;

/// What happened to a path of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is another one.
    Changed,
    /// It was not there.
    Added,
    /// It is gone.
    Deleted,
}

/// A path that a container changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path, from `/` on.
    pub path: Vec<u8>,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// The writable layers of containers over the layers of images.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// Makes the writable layer of a container; the image can't be removed while it exists.
    ///
    /// # Errors
    /// No such image, or the disk is full; nothing is left behind.
    async fn prepare(&self, id: &ContainerId, image: &ImageId) -> Result<()>;

    /// What the runtime must mount. `volatile` as in [`Rootfs::Overlay`].
    ///
    /// # Errors
    /// The container has no writable layer, or a layer of the image is damaged.
    fn rootfs(&self, id: &ContainerId, image: &ImageId, volatile: bool) -> Result<Rootfs>;

    /// What [`Snapshots::rootfs`] says once [`Snapshots::prepare`] is done.
    ///
    /// # Errors
    /// No such image, or a layer of it is damaged.
    fn rootfs_of_new(&self, id: &ContainerId, image: &ImageId, volatile: bool) -> Result<Rootfs>;

    /// The layer directories of an image, topmost first, for an image that is mounted itself.
    ///
    /// # Errors
    /// No such image, or a layer of it is damaged.
    fn layers(&self, image: &ImageId) -> Result<Vec<PathBuf>> {
        let message = format!("this store cannot mount the image {image}");
        Err(PortError::new(ErrorKind::Unsupported, message))
    }

    /// Reads a regular file of a container that does not run, through all its layers, symbolic
    /// links resolved within its root; `None` when it is not there, is no regular file, or is
    /// larger than `limit` bytes.
    async fn read(
        &self,
        id: &ContainerId,
        image: &ImageId,
        path: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>>;

    /// The same of an image: what a container that was just made has. The store may remember it.
    ///
    /// # Errors
    /// No such image, or the disk failed.
    async fn read_image(&self, image: &ImageId, path: &str, limit: u64) -> Result<Option<Vec<u8>>>;

    /// Copies what the root file system of a container that does not run holds in the directory
    /// `path` (symbolic links resolved within its root) into the directory `into` of the host, with
    /// owner, mode and extended attributes, and gives `into` those of `path`: so a new volume starts
    /// with the image's content. Does nothing where `into` is not empty, or `path` is no directory.
    ///
    /// # Errors
    /// `into` is as it was. `Unsupported` from a store that can't do it.
    async fn copy_up(
        &self,
        id: &ContainerId,
        image: &ImageId,
        path: &str,
        into: &Path,
    ) -> Result<()> {
        let _ = (id, image, into);
        let message = format!("this store cannot copy {path} of the image into a volume");
        Err(PortError::new(ErrorKind::Unsupported, message))
    }

    /// What the writable layer of a container uses.
    ///
    /// # Errors
    /// There is none, or it can't be read.
    async fn usage(&self, id: &ContainerId) -> Result<FilesystemUsage> {
        let message = format!("this store does not count what container {id} uses");
        Err(PortError::new(ErrorKind::Unsupported, message))
    }

    /// The tar of a root file system as the container sees it, without what is mounted in it. The
    /// container may run. Dropping the stream ends it.
    ///
    /// # Errors
    /// In the stream too: the disk failed.
    fn export(&self, rootfs: &Rootfs) -> Result<ByteStream> {
        let _ = rootfs;
        Err(PortError::new(ErrorKind::Unsupported, "this store cannot export"))
    }

    /// The tar of a directory as that of a layer: marks of overlayfs become whiteouts. Dropping the
    /// stream ends it.
    ///
    /// # Errors
    /// In the stream too: the disk failed.
    fn pack(&self, directory: &Path) -> Result<ByteStream> {
        let text = format!("this store cannot pack {}", directory.display());
        Err(PortError::new(ErrorKind::Unsupported, text))
    }

    /// Unpacks such a tar into an empty directory. Nothing in it can reach anything else.
    ///
    /// # Errors
    /// `Corrupt`, or the disk failed; the directory may hold some of it.
    async fn unpack(&self, archive: &Path, into: &Path) -> Result<()> {
        let text = format!("this store cannot unpack {} to {}", archive.display(), into.display());
        Err(PortError::new(ErrorKind::Unsupported, text))
    }

    /// What a container changed of its image, by path.
    ///
    /// # Errors
    /// The disk failed.
    async fn changes(&self, rootfs: &Rootfs) -> Result<Vec<Change>> {
        let _ = rootfs;
        Err(PortError::new(ErrorKind::Unsupported, "this store cannot compare"))
    }

    /// Bytes that the files below a directory take on the disk.
    ///
    /// # Errors
    /// The disk failed.
    async fn disk_usage(&self, dir: &Path) -> Result<u64> {
        let text = format!("this store cannot measure {}", dir.display());
        Err(PortError::new(ErrorKind::Unsupported, text))
    }

    /// Lets the writable layer take no more than so many bytes, for ever.
    ///
    /// # Errors
    /// `Unsupported` where the file system has no project quotas, or they are off.
    async fn limit(&self, id: &ContainerId, bytes: u64) -> Result<()> {
        let text = format!("this store cannot limit {} to {bytes} bytes", id.short());
        Err(PortError::new(ErrorKind::Unsupported, text))
    }

    /// Changes what [`Snapshots::limit`] has set.
    ///
    /// # Errors
    /// As there.
    async fn change_limit(&self, id: &ContainerId, bytes: u64) -> Result<()> {
        self.limit(id, bytes).await
    }

    /// Removes the writable layer: gone from view on return, its blocks freed later. One that is
    /// not there is no error.
    async fn remove(&self, id: &ContainerId) -> Result<()>;

    /// What does the same where it is called, which must be on a thread that may block.
    fn removal(&self, id: &ContainerId) -> Removal;

    /// The ids of all writable layers, for recovery.
    async fn list(&self) -> Result<Vec<ContainerId>>;
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: Name,
    /// The directory to mount.
    pub path: PathBuf,
}

/// The volumes of the engine (the `local` driver).
#[async_trait]
pub trait Volumes: Send + Sync {
    /// The volume with this name, made durable if it is new. The flag says whether it was made now.
    async fn ensure(&self, name: &Name) -> Result<(Volume, bool)>;

    /// Where the volume with this name is, or would be.
    fn path(&self, name: &Name) -> PathBuf;

    /// All volumes, by name.
    async fn list(&self) -> Result<Vec<Volume>>;

    /// Removes a volume; one that is not there is no error.
    async fn remove(&self, name: &Name) -> Result<()>;
}
