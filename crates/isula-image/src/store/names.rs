//! Names of images on disk: one file each, replaced whole.

use std::path::PathBuf;

use isula_core::{
    error::PortError,
    image::{ImageId, Reference},
};
use serde::{Deserialize, Serialize};

use super::{Layout, files};

/// A file of `refs/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NameRecord {
    /// The reference in full.
    pub(super) reference: String,
    /// The image that has it.
    pub(super) image: ImageId,
}

/// Suffix of a name that takes effect with its image: it is renamed after the image's own record,
/// and a crash in between is made good at start.
pub(super) const PENDING: &str = ".new";

/// A name that was written, but has no effect yet. Dropping it takes it back.
pub(super) struct PendingName {
    pub(super) reference: Reference,
    pub(super) image: ImageId,
    pending: PathBuf,
    path: PathBuf,
    applied: bool,
}

impl PendingName {
    /// Writes the name durably; the caller syncs the directory.
    pub(super) fn write(
        layout: &Layout,
        reference: &Reference,
        image: &ImageId,
    ) -> Result<Self, PortError> {
        let path = layout.name(reference);
        let mut pending = path.clone().into_os_string();
        pending.push(PENDING);
        let pending = PathBuf::from(pending);
        let record = NameRecord { reference: reference.to_string(), image: image.clone() };
        // One left by a failure that could not even clean up.
        files::remove(&pending)?;
        files::write_new(&pending, &files::json(&record)?)?;
        let (reference, image) = (reference.clone(), image.clone());
        Ok(Self { reference, image, pending, path, applied: false })
    }

    /// Gives the name its effect; the caller syncs the directory.
    pub(super) fn apply(&mut self) -> Result<(), PortError> {
        files::rename(&self.pending, &self.path)?;
        self.applied = true;
        Ok(())
    }
}

impl Drop for PendingName {
    fn drop(&mut self) {
        if !self.applied
            && let Err(error) = files::remove(&self.pending)
        {
            tracing::warn!(%error, "cannot take back a name");
        }
    }
}
