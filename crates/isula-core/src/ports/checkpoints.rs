//! The files of checkpoints.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{ByteStream, Result};

/// Files of checkpoints: those that are being made, and those that somebody gives.
#[async_trait]
pub trait Checkpoints: Send + Sync {
    /// A new empty directory, for root alone. What a daemon leaves of one is gone with the next.
    async fn begin(&self) -> Result<PathBuf>;

    /// Checks that a directory which the caller gave exists, is reached without a symbolic link,
    /// and is empty.
    ///
    /// # Errors
    /// `InvalidInput`.
    async fn accept(&self, directory: &Path) -> Result<()>;

    /// Makes a directory.
    async fn make(&self, directory: &Path) -> Result<()>;

    /// Writes a new file, for root alone.
    async fn write(&self, file: &Path, content: ByteStream) -> Result<()>;

    /// Writes an archive where the caller wants it, whole or not at all; a file that is there is
    /// replaced, a symbolic link in its place too.
    ///
    /// # Errors
    /// `InvalidInput` where the path is not absolute or leads through a symbolic link.
    async fn publish(&self, file: &Path, content: ByteStream) -> Result<()>;

    /// Reads a file of a checkpoint of at most `limit` bytes.
    ///
    /// # Errors
    /// `PermissionDenied` where somebody else than root may change the checkpoint.
    async fn read(&self, checkpoint: &Path, name: &str, limit: u64) -> Result<Vec<u8>>;

    /// Copies a directory of a checkpoint, regular files alone, to a new one.
    async fn copy(&self, from: &Path, to: &Path) -> Result<()>;

    /// Removes what is in a directory.
    async fn empty(&self, directory: &Path) -> Result<()>;

    /// Removes a directory with all that is in it; one that is not there is no error.
    async fn discard(&self, directory: &Path) -> Result<()>;
}
