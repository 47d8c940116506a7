//! Pulling an image: from a reference to an image of the store.
//!
//! ```text
//! resolve      tag or digest ─► index ─► … ─► manifest      (every digest verified)
//! small_blob   configuration                                (verified; names the diff ids)
//! layers       claim ─► download │ pipe │ hash, inflate, hash, unpack ─► hold
//! commit_image all holds, configuration, manifests, names   (visible at once)
//! ```
//!
//! Dropping the future closes the connections and the pipes; the threads that unpack end with an
//! error, and the holds that are dropped let the store remove what no image has.

mod layers;
mod meter;
mod pipe;
mod resolve;

use std::sync::Arc;

use isula_core::{
    error::{ErrorKind, PortError},
    image::{Image, Reference},
    ports::{Progress, ProgressSink, PullOptions},
};
use tokio::task::spawn_blocking;

use crate::{
    config,
    error::corrupt,
    layer::Origin,
    store::{NewImage, Store},
    stream,
};

/// Fetches an image, verifies every byte, and gives it the reference's name (and the one with the
/// manifest's digest).
///
/// # Errors
/// `NotFound`: no such manifest, or none for the platform. `PermissionDenied`, `Unavailable`,
/// `DeadlineExceeded`: the registry. `Corrupt`: what came contradicts its digest, size or form.
/// Each names the reference. Nothing visible is left.
pub(crate) async fn pull(
    store: &Store,
    reference: &Reference,
    options: PullOptions,
    progress: ProgressSink,
) -> Result<Arc<Image>, PortError> {
    let wanted = resolve::Wanted::new(options.platform.as_deref())?;
    let (client, wished) = (store.client().clone(), reference.clone());
    let session = spawn_blocking(move || client.session(&wished, options.credentials)).await;
    let session = stream::join(session)?;
    let found = resolve::resolve(&session, reference, &wanted).await?;

    let raw = session.small_blob(&found.manifest.config.digest, found.manifest.config.size).await?;
    let parsed = config::parse(&raw).map_err(|error| naming(reference, error))?;
    if let Some(remark) = wanted.check(&parsed.config).map_err(|error| naming(reference, error))? {
        progress(Progress::Line(remark));
    }
    let descriptors = found.manifest.layers;
    if parsed.diff_ids.len() != descriptors.len() {
        let (said, listed) = (parsed.diff_ids.len(), descriptors.len());
        return Err(naming(
            reference,
            corrupt(format!("the configuration names {said} layers, the manifest {listed}")),
        ));
    }
    let pairs: Vec<_> = parsed.diff_ids.into_iter().zip(descriptors).collect();
    let layers = layers::fetch(store, &session, &pairs, &progress)
        .await
        .map_err(|error| naming(reference, error))?;

    let names = names(reference, found.digest);
    let (config, manifests) = (raw.to_vec(), found.documents);
    store
        .commit_image(NewImage { config, manifests, layers, names, origin: Origin::Pull })
        .await
        .map_err(|error| naming(reference, error))
}

/// With a digest the image gets no tag: whether the tag means it was not asked.
fn names(reference: &Reference, digest: isula_core::image::Digest) -> Vec<Reference> {
    let by_digest = reference.with_digest(digest);
    match reference.digest() {
        Some(_) => vec![by_digest],
        None => vec![reference.clone(), by_digest],
    }
}

/// The error with the reference in front, unless it names it already.
fn naming(reference: &Reference, error: PortError) -> PortError {
    let prefix = format!("cannot pull {reference}");
    if error.kind() == ErrorKind::Cancelled || error.to_string().starts_with(&prefix) {
        return error;
    }
    PortError::with_source(error.kind(), prefix, error)
}
