//! Making layers and a configuration into an image, with its names.

use std::{collections::HashSet, fs, path::PathBuf, sync::Arc};

use isula_core::{
    error::{ErrorKind, PortError},
    image::{Digest, Image, ImageId, Reference},
};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::{Shared, Store, StoredImage, Tables, files, names::PendingName};
use crate::{
    config,
    error::corrupt,
    hash,
    layer::{LayerHold, Origin, Step},
    stream,
};

/// What [`Store::commit_image`] makes an image of. All bytes were verified against what led to
/// them.
#[derive(Debug)]
pub struct NewImage {
    /// The configuration, byte for byte; its digest is the image's id.
    pub config: Vec<u8>,
    /// The manifest and the indexes that led to it, byte for byte.
    pub manifests: Vec<Vec<u8>>,
    /// Its layers, base first: exactly those that the configuration names.
    pub layers: Vec<LayerHold>,
    /// The names it gets: with tag and no digest, or with digest and no tag.
    pub names: Vec<Reference>,
    /// What this is part of.
    pub origin: Origin,
}

/// A file of `images/`. What else there is to know is in the configuration, among the blobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ImageRecord {
    /// Manifests and indexes that led to it.
    #[serde(default)]
    pub(super) manifests: Vec<Digest>,
    /// Directories of the host that are its layers, base first, if it is an embedded image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) embedded: Vec<PathBuf>,
}

impl Store {
    /// Makes the image durable, then visible with all its names at once: the rename of its record
    /// is the one step that counts. Names are taken from whatever has them.
    ///
    /// # Errors
    /// `Corrupt`: the configuration is malformed or names other layers. Nothing is left then, nor
    /// when the disk is full.
    pub async fn commit_image(&self, new: NewImage) -> Result<Arc<Image>, PortError> {
        let shared = Arc::clone(&self.shared);
        stream::join(spawn_blocking(move || shared.commit_image(&new)).await)
    }
}

impl Shared {
    pub(crate) fn commit_image(&self, new: &NewImage) -> Result<Arc<Image>, PortError> {
        self.commit_embedded(new, &[])
    }

    /// As [`Shared::commit_image`], for an image whose layers are directories of the host.
    pub(crate) fn commit_embedded(
        &self,
        new: &NewImage,
        embedded: &[PathBuf],
    ) -> Result<Arc<Image>, PortError> {
        let parsed = config::parse(&new.config)?;
        if !parsed.diff_ids.iter().eq(new.layers.iter().map(LayerHold::diff_id)) {
            return Err(corrupt("the image has other layers than its configuration says"));
        }
        let id = ImageId(hash::digest(&new.config));
        let manifests: Vec<Digest> =
            new.manifests.iter().map(|bytes| hash::digest(bytes)).collect();
        let mut stored = StoredImage {
            created: parsed.created,
            layers: parsed.diff_ids,
            config: parsed.config,
            raw_config: new.config.as_slice().into(),
            manifests,
            embedded: embedded.to_vec(),
        };
        let mut tables = self.tables();
        let known = tables.images.get(&id).map(|known| known.manifests.clone());
        let all = known.iter().flatten().chain(&stored.manifests).cloned();
        let mut seen = HashSet::new();
        stored.manifests = all.filter(|digest| seen.insert(digest.clone())).collect();

        let result = self.write_image(&id, &stored, new, known.as_ref());
        match result {
            Ok(pending) => {
                tables.images.insert(id.clone(), Arc::new(stored));
                self.apply_names(&mut tables, pending)?;
            }
            Err(error) => {
                self.undo(&tables, &id, new);
                return Err(error);
            }
        }
        let index = self.index();
        index.get(&id).cloned().ok_or_else(|| {
            PortError::new(ErrorKind::Internal, format!("the image {id} is gone at once"))
        })
    }

    /// Everything up to and with the step that counts.
    fn write_image(
        &self,
        id: &ImageId,
        stored: &StoredImage,
        new: &NewImage,
        known: Option<&Vec<Digest>>,
    ) -> Result<Vec<PendingName>, PortError> {
        // Once for all layers of the image: they were renamed, each with durable content.
        files::sync_dir(&self.layout.layers())?;
        for bytes in new.manifests.iter().chain([&new.config]) {
            self.write_blob(bytes)?;
        }
        files::sync_dir(&self.layout.blobs())?;
        new.origin.passes(Step::BlobsWritten);
        let pending = |name| PendingName::write(&self.layout, name, id);
        let pending = new.names.iter().map(pending).collect::<Result<Vec<_>, _>>()?;
        files::sync_dir(&self.layout.names())?;
        new.origin.passes(Step::NamesWritten);
        if known != Some(&stored.manifests) {
            let record = ImageRecord {
                manifests: stored.manifests.clone(),
                embedded: stored.embedded.clone(),
            };
            self.replace(&self.layout.image(id), &files::json(&record)?)?;
            files::sync_dir(&self.layout.images())?;
        }
        new.origin.passes(Step::ImageCommitted);
        Ok(pending)
    }

    /// Gives names their effect, on disk and for readers.
    fn apply_names(&self, tables: &mut Tables, pending: Vec<PendingName>) -> Result<(), PortError> {
        let applied = pending.into_iter().try_for_each(|mut name| {
            name.apply()?;
            tables.names.insert(name.reference.clone(), name.image.clone());
            Ok(())
        });
        self.publish(tables);
        applied.and_then(|()| files::sync_dir(&self.layout.names()))
    }

    /// Gives an image that is there one more name.
    pub(super) fn tag(&self, id: &ImageId, reference: &Reference) -> Result<(), PortError> {
        // A tag names what the digest would: only one of them can be the name.
        let Some(reference) = reference.without_digest() else {
            return Err(PortError::new(
                ErrorKind::InvalidInput,
                format!("cannot tag with {}: it has a digest", reference.familiar()),
            ));
        };
        let mut tables = self.tables();
        if !tables.images.contains_key(id) {
            return Err(PortError::new(ErrorKind::ImageNotFound, format!("no such image: {id}")));
        }
        let pending = PendingName::write(&self.layout, &reference, id)?;
        self.apply_names(&mut tables, vec![pending])
    }

    /// Writes a manifest or configuration under its digest, unless it is there.
    fn write_blob(&self, bytes: &[u8]) -> Result<(), PortError> {
        let path = self.layout.blob(&hash::digest(bytes));
        // One that was damaged since is made good.
        match files::read(&path, bytes.len()) {
            Ok(there) if there == bytes => Ok(()),
            _ => self.replace(&path, bytes),
        }
    }

    /// Puts a durable file in the place of another or of none; the caller syncs the directory.
    pub(crate) fn replace(&self, path: &std::path::Path, bytes: &[u8]) -> Result<(), PortError> {
        let temporary = self.layout.tmp().join(self.serial());
        files::write_new(&temporary, bytes)?;
        files::rename(&temporary, path).inspect_err(|_| {
            // What remains in `tmp/` is removed at the next start anyway.
            let _ = fs::remove_file(&temporary);
        })
    }

    /// After a failure: removes what was written for nothing.
    fn undo(&self, tables: &Tables, id: &ImageId, new: &NewImage) {
        let needed = needed_blobs(tables);
        let blobs = new.manifests.iter().chain([&new.config]).map(|bytes| hash::digest(bytes));
        let unneeded = blobs.filter(|digest| !needed.contains(digest));
        let record = (!tables.images.contains_key(id)).then(|| self.layout.image(id));
        let files = record.into_iter().chain(unneeded.map(|digest| self.layout.blob(&digest)));
        for path in files {
            if let Err(error) = files::remove(&path) {
                tracing::warn!(%error, "cannot clean up after a failure");
            }
        }
    }
}

/// The configurations and manifests of all images.
pub(super) fn needed_blobs(tables: &Tables) -> HashSet<&Digest> {
    let images = tables.images.iter();
    images.flat_map(|(id, image)| image.manifests.iter().chain([&id.0])).collect()
}
