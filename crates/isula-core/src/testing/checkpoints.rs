//! Files of checkpoints in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;

use super::{Failures, locked};
use crate::{
    error::{ErrorKind, PortError},
    ports::{ByteStream, Checkpoints, Result},
};

/// Files of checkpoints in memory.
pub struct FakeCheckpoints {
    failures: Arc<Failures>,
    disk: Mutex<Disk>,
}

#[derive(Default)]
struct Disk {
    directories: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Vec<u8>>,
    begun: u32,
}

impl FakeCheckpoints {
    pub(super) fn new(failures: Arc<Failures>) -> Self {
        Self { failures, disk: Mutex::default() }
    }

    /// All files.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        locked(&self.disk).files.keys().cloned().collect()
    }

    /// All directories.
    #[must_use]
    pub fn directories(&self) -> Vec<PathBuf> {
        locked(&self.disk).directories.iter().cloned().collect()
    }

    /// Replaces a file that is there.
    pub fn overwrite(&self, file: &Path, bytes: &[u8]) {
        locked(&self.disk).files.insert(file.to_owned(), bytes.to_vec());
    }

    async fn put(&self, file: &Path, mut content: ByteStream) -> Result<()> {
        let mut bytes = Vec::new();
        let mut next =
            async || std::future::poll_fn(|context| content.as_mut().poll_next(context)).await;
        while let Some(piece) = next().await {
            bytes.extend(piece.map_err(|error| PortError::io("cannot write", error))?);
        }
        locked(&self.disk).files.insert(file.to_owned(), bytes);
        Ok(())
    }
}

#[async_trait]
impl Checkpoints for FakeCheckpoints {
    async fn begin(&self) -> Result<PathBuf> {
        self.failures.pass("checkpoints.begin").await?;
        let mut disk = locked(&self.disk);
        disk.begun += 1;
        let path = PathBuf::from(format!("/data/checkpoints/{}", disk.begun));
        disk.directories.insert(path.clone());
        Ok(path)
    }

    async fn accept(&self, directory: &Path) -> Result<()> {
        self.failures.pass("checkpoints.accept").await?;
        let full = locked(&self.disk).files.keys().any(|file| file.starts_with(directory));
        match full {
            true => Err(PortError::new(ErrorKind::InvalidInput, "it is not empty")),
            false => Ok(()),
        }
    }

    async fn make(&self, directory: &Path) -> Result<()> {
        self.failures.pass("checkpoints.make").await?;
        locked(&self.disk).directories.insert(directory.to_owned());
        Ok(())
    }

    async fn write(&self, file: &Path, content: ByteStream) -> Result<()> {
        self.failures.pass("checkpoints.write").await?;
        self.put(file, content).await
    }

    async fn publish(&self, file: &Path, content: ByteStream) -> Result<()> {
        self.failures.pass("checkpoints.publish").await?;
        self.put(file, content).await
    }

    async fn read(&self, checkpoint: &Path, name: &str, _: u64) -> Result<Vec<u8>> {
        self.failures.pass("checkpoints.read").await?;
        let found = locked(&self.disk).files.get(&checkpoint.join(name)).cloned();
        found.ok_or_else(|| PortError::new(ErrorKind::NotFound, "there is no such file"))
    }

    async fn copy(&self, _: &Path, to: &Path) -> Result<()> {
        self.failures.pass("checkpoints.copy").await?;
        locked(&self.disk).directories.insert(to.to_owned());
        Ok(())
    }

    async fn empty(&self, directory: &Path) -> Result<()> {
        self.failures.pass("checkpoints.empty").await?;
        let mut disk = locked(&self.disk);
        disk.files.retain(|file, _| !file.starts_with(directory));
        disk.directories.retain(|other| other == directory || !other.starts_with(directory));
        Ok(())
    }

    async fn discard(&self, directory: &Path) -> Result<()> {
        self.failures.pass("checkpoints.discard").await?;
        let mut disk = locked(&self.disk);
        disk.files.retain(|file, _| !file.starts_with(directory));
        disk.directories.retain(|other| !other.starts_with(directory));
        Ok(())
    }
}
