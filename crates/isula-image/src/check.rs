//! Checking the store: everything is read and compared with its digest.
//!
//! A damaged layer is moved to quarantine, and is missing then: the next pull or load of its image
//! unpacks it anew, under the same name, for the same image. A damaged document is written again
//! from memory, or it is moved aside if it is not needed to run the image.

use std::{path::Path, sync::Arc};

use isula_core::{
    error::{ErrorKind, PortError, chain},
    image::{Digest, Image},
    ports::{CheckResult, CheckSink, Checked, Images, Result},
};

use crate::{
    hash,
    layer::LayerHold,
    manifest::DOCUMENT_LIMIT,
    save,
    store::{Shared, Store, files},
};

/// See [`isula_core::ports::Images::check`].
pub(crate) async fn check(store: &Store, found: CheckSink) -> Result<CheckResult> {
    let layers = Images::layers(store);
    let mut result = CheckResult { layers: layers.len(), ..CheckResult::default() };
    for (at, layer) in layers.iter().enumerate() {
        found(Checked::Layer(layer.diff_id.clone(), at + 1, layers.len()));
        let (of, diff_id) = (store.clone(), layer.diff_id.clone());
        // Held, so that it is not removed while it is read.
        let hold = LayerHold::new(&store.shared, diff_id.clone());
        let verified = store.blocking(move |_| {
            let verified = save::verify(&of, &diff_id);
            drop(hold);
            Ok(verified)
        });
        match verified.await? {
            Ok(true) => {}
            Ok(false) => result.unverifiable += 1,
            // The disk's own trouble says nothing about the layer.
            Err(error) if !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => {
                return Err(error);
            }
            Err(error) => {
                result.damaged += 1;
                let diff_id = layer.diff_id.clone();
                let removed = store.blocking(move |shared| shared.set_aside(&diff_id));
                let text = match removed.await? {
                    true => chain(&error),
                    // Somebody removed the image meanwhile.
                    false => continue,
                };
                found(Checked::Damage(text));
            }
        }
    }
    for image in Images::list(store) {
        result.images += 1;
        let damage = store.blocking(move |shared| shared.check_documents(&image)).await?;
        result.damaged += damage.len();
        damage.into_iter().for_each(|text| found(Checked::Damage(text)));
    }
    Ok(result)
}

impl Shared {
    /// Takes a damaged layer out of the store; says whether it was there.
    fn set_aside(&self, diff_id: &Digest) -> Result<bool> {
        let mut layers = self.layers();
        if !layers.has(diff_id) {
            return Ok(false);
        }
        self.quarantine(&self.layout.layer(diff_id))?;
        layers.forget(diff_id);
        drop(layers);
        files::sync_dir(&self.layout.layers())?;
        Ok(true)
    }

    fn quarantine(&self, path: &Path) -> Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let target = self.layout.quarantine().join(format!("{name}.{}", self.serial()));
        tracing::warn!(path = %path.display(), quarantine = %target.display(), "damaged");
        files::rename(path, &target)
    }

    /// Compares an image's configuration and manifests with their digests.
    fn check_documents(&self, image: &Arc<Image>) -> Result<Vec<String>> {
        let mut damage = Vec::new();
        let tables = self.tables();
        let Some(stored) = tables.images.get(&image.id) else { return Ok(damage) };
        for digest in stored.manifests.iter().chain([&image.id.0]) {
            let path = self.layout.blob(digest);
            let why = match files::read(&path, DOCUMENT_LIMIT) {
                Ok(bytes) if hash::digest(&bytes) == *digest => continue,
                Ok(_) => format!("document {digest} of image {} is damaged", image.id),
                Err(error) => {
                    format!("document {digest} of image {}: {}", image.id, chain(&error))
                }
            };
            let aside = self.quarantine(&path);
            if digest == &image.id.0 {
                self.replace(&path, &image.raw_config)?;
                files::sync_dir(&self.layout.blobs())?;
                damage.push(format!("{why}; written again"));
            } else {
                // The next pull writes it again; nothing else needs it.
                aside.or_else(|error: PortError| match error.kind() {
                    ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })?;
                damage.push(why);
            }
        }
        Ok(damage)
    }
}
