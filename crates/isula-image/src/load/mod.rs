//! Loading images from an archive: what `docker save` and others write.
//!
//! The archive is inflated into a file without a name first, because its order is free: what
//! describes the layers may come after them. Then every image is checked and all its layers are
//! unpacked, and only when all of that went well the images become visible.

mod docker;
mod members;
mod oci;
#[cfg(test)]
mod tests;

use std::{
    io::{self, Read},
    sync::{Arc, Weak},
};

use isula_core::{
    error::{ErrorKind, PortError},
    image::{Digest, Image, ImageId, Reference},
    ports::{ByteStream, Progress, ProgressSink, Result},
};
use tokio::task::spawn_blocking;

use crate::{
    error::corrupt,
    hash,
    layer::{Blob, Claim, LayerHold, Origin},
    store::{NewImage, Store},
    stream,
};
use members::{Members, Part};

/// How often progress is reported, in bytes.
const STRIDE: u64 = 4 << 20;

/// An image of an archive, all its documents verified.
struct Planned {
    config: Vec<u8>,
    manifests: Vec<Vec<u8>>,
    names: Vec<Reference>,
    layers: Vec<PlannedLayer>,
}

/// A layer of an archive, not yet read.
struct PlannedLayer {
    diff_id: Digest,
    part: Part,
    /// What its manifest says of it.
    blob: Option<(Digest, u64)>,
}

/// See [`isula_core::ports::Images::load`].
pub(crate) async fn load(
    store: &Store,
    archive: ByteStream,
    tag: Option<Reference>,
    progress: ProgressSink,
) -> Result<Vec<Arc<Image>>> {
    let tmp = store.shared.layout.tmp();
    let planned = stream::read_blocking(archive, move |bytes| {
        let members = Members::read(bytes, &tmp)?;
        plan(&members)
    });
    let mut planned = planned.await?;
    if let Some(tag) = tag {
        let [image] = planned.as_mut_slice() else {
            return Err(PortError::new(
                ErrorKind::InvalidInput,
                format!("cannot name {} images {}", planned.len(), tag.familiar()),
            ));
        };
        let tag = tag.without_digest().ok_or_else(|| {
            let text = format!("cannot name an image {}: it has a digest", tag.familiar());
            PortError::new(ErrorKind::InvalidInput, text)
        })?;
        image.names = vec![tag];
    }
    let mut ready = Vec::with_capacity(planned.len());
    for image in planned {
        let mut layers = Vec::with_capacity(image.layers.len());
        for layer in image.layers {
            layers.push(unpack(store, layer, &progress).await?);
        }
        let Planned { config, manifests, names, .. } = image;
        ready.push(NewImage { config, manifests, layers, names, origin: Origin::Load });
    }
    let mut ids: Vec<ImageId> = Vec::with_capacity(ready.len());
    for image in ready {
        let id = store.commit_image(image).await?.id.clone();
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    // As they are now: a later image may have taken the name of an earlier one.
    let index = store.shared.index();
    Ok(ids.iter().filter_map(|id| index.get(id).cloned()).collect())
}

/// An archive with `oci-layout` is an OCI one, even if it is a docker-archive too (as `docker
/// save` writes since version 25): there every blob has a digest and a size.
fn plan(members: &Members) -> Result<Vec<Planned>> {
    if members.has("oci-layout") {
        oci::plan(members)
    } else if members.has("manifest.json") {
        docker::plan(members)
    } else if members.has("repositories") {
        Err(PortError::new(
            ErrorKind::Unsupported,
            "the archive has the format of Docker before 1.10, without a manifest.json",
        ))
    } else {
        Err(corrupt("the archive holds no image: neither oci-layout nor manifest.json is in it"))
    }
}

/// Reads an archive as [`load`] does, up to the layers; gives the number of images.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn check(bytes: impl Read, tmp: &std::path::Path) -> Result<usize> {
    plan(&Members::read(bytes, tmp)?).map(|planned| planned.len())
}

async fn unpack(store: &Store, layer: PlannedLayer, progress: &ProgressSink) -> Result<LayerHold> {
    let PlannedLayer { diff_id, part, blob } = layer;
    let total = part.size();
    let id: String = diff_id.hex().chars().take(12).collect();
    let report = {
        let progress = Arc::clone(progress);
        move |step: &str, current| {
            let (id, step) = (id.clone(), step.to_owned());
            progress(Progress::Layer { id, step, current, total: Some(total) });
        }
    };
    let claim = match store.claim_layer(&diff_id).await {
        Claim::Present(hold) => {
            report("Exists", total);
            return Ok(hold);
        }
        Claim::Missing(claim) => claim,
    };
    // When this future is dropped, the reader fails, and with it the unpacking.
    let alive = Arc::new(());
    let watched = Arc::downgrade(&alive);
    let task = spawn_blocking(move || {
        let step = |current| report("Unpacking", current);
        let source = Watched { part, alive: watched, count: 0, reported: 0, report: step };
        let blob = blob.as_ref().map(|(digest, size)| Blob { digest, size: *size });
        let hold = claim.unpack(source, blob, Origin::Load)?;
        report("Done", total);
        Ok(hold)
    });
    let done = stream::join(task.await);
    drop(alive);
    done.map_err(|error| {
        PortError::with_source(error.kind(), format!("cannot load layer {diff_id}"), error)
    })
}

/// A part of the archive that is read as long as somebody waits for it.
struct Watched<F> {
    part: Part,
    alive: Weak<()>,
    count: u64,
    reported: u64,
    report: F,
}

impl<F: Fn(u64)> Read for Watched<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.alive.strong_count() == 0 {
            let cancelled = PortError::new(ErrorKind::Cancelled, "the load was broken off");
            return Err(io::Error::other(cancelled));
        }
        let length = self.part.read(buffer)?;
        self.count += length as u64;
        if self.count - self.reported >= STRIDE {
            self.reported = self.count;
            (self.report)(self.count);
        }
        Ok(length)
    }
}

/// Checks a document against the digest that leads to it.
fn verify(what: &str, bytes: &[u8], expected: &Digest) -> Result<()> {
    let digest = hash::digest(bytes);
    match &digest == expected {
        true => Ok(()),
        false => Err(corrupt(format!("{what} {expected} has the digest {digest}"))),
    }
}

/// Pairs the layers of a manifest with the diff ids of the configuration.
fn pair<T>(diff_ids: Vec<Digest>, layers: Vec<T>) -> Result<impl Iterator<Item = (Digest, T)>> {
    match diff_ids.len() == layers.len() {
        true => Ok(diff_ids.into_iter().zip(layers)),
        false => Err(corrupt(format!(
            "the manifest has {} layers and the configuration {}",
            layers.len(),
            diff_ids.len()
        ))),
    }
}
