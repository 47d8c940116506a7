//! Where things are.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use isula_core::{
    error::PortError,
    id::ContainerId,
    image::{Digest, ImageId, Reference},
};

use crate::hash;

/// The directories of a store; see the crate's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the directories that are missing, and takes them from everybody but root.
    pub(super) fn new(root: &Path) -> Result<Self, PortError> {
        let layout = Self { root: root.to_owned() };
        let all = [
            root.to_owned(),
            layout.blobs(),
            layout.layers(),
            layout.images(),
            layout.names(),
            layout.snapshots(),
            layout.tmp(),
            layout.trash(),
            layout.quarantine(),
        ];
        for dir in all {
            let failed = |error| {
                PortError::io(format!("cannot make the directory {}", dir.display()), error)
            };
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        Ok(layout)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(crate) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    /// The unpacked tree of a layer.
    pub(crate) fn diff(&self, diff_id: &Digest) -> PathBuf {
        self.layer(diff_id).join("diff")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(crate) fn image(&self, id: &ImageId) -> PathBuf {
        self.images().join(format!("{}.json", id.hex()))
    }

    pub(crate) fn names(&self) -> PathBuf {
        self.root.join("refs")
    }

    pub(crate) fn name(&self, reference: &Reference) -> PathBuf {
        self.names().join(Self::name_file(reference))
    }

    /// A name is up to 400 bytes long and has slashes; its hash is neither.
    pub(crate) fn name_file(reference: &Reference) -> String {
        format!("{}.json", hash::digest(reference.to_string().as_bytes()).hex())
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub(crate) fn snapshot(&self, id: &ContainerId) -> PathBuf {
        self.snapshots().join(id.as_str())
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    pub(crate) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }
}
