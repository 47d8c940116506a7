//! The image store and the ways into it.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{ByteStream, Result};
use crate::{
    image::{Image, ImageId, Reference},
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

/// The archive formats `load` reads; found out from the content.
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

    /// What was damaged and moved aside at start, in words.
    fn damage(&self) -> Vec<String>;
}
