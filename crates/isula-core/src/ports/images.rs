//! The image store and the ways into it.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{ByteStream, Result};
use crate::{
    error::{ErrorKind, PortError},
    image::{Digest, Image, ImageId, Reference},
    sandbox::FilesystemUsage,
};

/// What a registry asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password or access token.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// How to pull.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullOptions {
    /// `os/arch[/variant]`; the host's when absent.
    pub platform: Option<String>,
    /// For the registry of the reference.
    pub credentials: Option<Credentials>,
}

/// How to import a root file system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The name the image gets.
    pub reference: Option<Reference>,
    /// Dockerfile instructions (`CMD ["sh"]`, `ENV A=b`, …) applied to the configuration.
    pub changes: Vec<String>,
    /// History comment.
    pub message: String,
}

/// A step of a long image operation, for a progress display.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// A plain sentence.
    Line(String),
    /// A layer: what is done with it and how far.
    Layer {
        /// The first 12 digits of its digest.
        id: String,
        /// `Downloading`, `Unpacking`, `Exists`, `Done`.
        step: String,
        /// Bytes done.
        current: u64,
        /// Bytes in all, when known.
        total: Option<u64>,
    },
}

/// Where progress goes; called from any thread, must not block.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// What was done by a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemovedImage {
    /// A name is gone.
    Untagged(String),
    /// The image itself is gone.
    Deleted(ImageId),
}

/// Something that changed in the store by itself or by a call, for events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageChange {
    /// The image.
    pub id: ImageId,
    /// Its name.
    pub reference: Option<Reference>,
}

/// A layer of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLayer {
    /// Its digest.
    pub diff_id: Digest,
    /// Bytes of its files.
    pub size: u64,
}

/// What a check of the store has come by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// This layer is being read: its number, and how many there are.
    Layer(Digest, usize, usize),
    /// Something is damaged, in words; it was moved aside.
    Damage(String),
}

/// Where the findings of a check go; called from any thread, must not block.
pub type CheckSink = Arc<dyn Fn(Checked) + Send + Sync>;

/// What a check of the store came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckResult {
    /// Layers that were read.
    pub layers: usize,
    /// Images whose documents were read.
    pub images: usize,
    /// Layers whose tar can't be made again, so that there is nothing to compare them with.
    pub unverifiable: usize,
    /// Things that were damaged.
    pub damaged: usize,
}

/// The archive formats `load` reads (found out from the content) and `save` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    /// `docker save`.
    DockerArchive,
    /// OCI image layout in a tar.
    OciArchive,
}

/// The image store. Reads answer from memory and never wait for a pull.
///
/// Every operation that is dropped (its future cancelled) leaves nothing visible behind.
#[async_trait]
pub trait Images: Send + Sync {
    /// Every image, newest first.
    fn list(&self) -> Vec<Arc<Image>>;

    /// The image with this id.
    fn get(&self, id: &ImageId) -> Option<Arc<Image>>;

    /// The image that a user means: a reference (short forms too), an id or a unique prefix of an
    /// id, with or without `sha256:`.
    ///
    /// # Errors
    /// `ImageNotFound` names the query; `InvalidInput` when the prefix fits several images or the
    /// text is no reference.
    fn find(&self, query: &str) -> Result<Arc<Image>>;

    /// Fetches an image from a registry, verifies every byte, and gives it the reference's name.
    async fn pull(
        &self,
        reference: &Reference,
        options: PullOptions,
        progress: ProgressSink,
    ) -> Result<Arc<Image>>;

    /// Reads the images of an archive (docker-archive or OCI layout, plain or compressed).
    /// `tag` names the image if the archive holds exactly one.
    async fn load(
        &self,
        archive: ByteStream,
        tag: Option<Reference>,
        progress: ProgressSink,
    ) -> Result<Vec<Arc<Image>>>;

    /// Makes an image of one layer from the tar of a root file system (plain, gzip, zstd or xz).
    async fn import(&self, archive: ByteStream, options: ImportOptions) -> Result<Arc<Image>>;

    /// Gives an image a further name; the name is taken from whatever has it.
    async fn tag(&self, id: &ImageId, reference: &Reference) -> Result<()>;

    /// Takes a name from the image, and removes the image with its last name. `query` as in
    /// [`Images::find`]: an id removes the image if it has at most one name, or with `force` all.
    ///
    /// # Errors
    /// `InUse` when a container's snapshot needs it (unless `force`, which then only untags).
    async fn remove(&self, query: &str, force: bool) -> Result<Vec<RemovedImage>>;

    /// What the unpacked layers of all images use, each counted once.
    fn usage(&self) -> FilesystemUsage;

    /// Writes an archive of the images that these queries mean (as in [`Images::find`]); those
    /// asked for by a tag have it in the archive. Dropping the stream ends it.
    ///
    /// # Errors
    /// Those of [`Images::find`]; in the stream `Corrupt` when a layer is damaged.
    fn save(
        &self,
        queries: &[String],
        format: ImageFormat,
        progress: ProgressSink,
    ) -> Result<ByteStream> {
        let _ = (queries, progress);
        Err(unsupported(&format!("save as {format:?}")))
    }

    /// Every layer.
    fn layers(&self) -> Vec<StoredLayer> {
        Vec::new()
    }

    /// Reads everything that is stored and compares it with its digests. What is damaged is moved
    /// aside, so that the next pull or load of its image makes it anew.
    ///
    /// # Errors
    /// The disk failed.
    async fn check(&self, found: CheckSink) -> Result<CheckResult> {
        drop(found);
        Err(unsupported("check itself"))
    }

    /// Asks a registry (`host[:port]`) whether it takes these credentials; gives the token that is
    /// to be kept instead of the password, if the registry has such.
    ///
    /// # Errors
    /// `PermissionDenied`: it does not. `Unavailable`: it can't be asked.
    async fn log_in(&self, registry: &str, credentials: Credentials) -> Result<Option<String>> {
        drop(credentials);
        Err(unsupported(&format!("log in to {registry}")))
    }

    /// Makes an image of what the device's own file system holds, as a manifest says; nothing is
    /// copied (docs/embedded-images.md).
    ///
    /// # Errors
    /// `InvalidInput`: the manifest is malformed, or what it names is not there.
    async fn embed(&self, manifest: Vec<u8>) -> Result<Arc<Image>> {
        drop(manifest);
        Err(unsupported("embed an image"))
    }

    /// What was damaged and moved aside at start, in words.
    fn damage(&self) -> Vec<String>;
}

fn unsupported(what: &str) -> PortError {
    PortError::new(ErrorKind::Unsupported, format!("this store cannot {what}"))
}
