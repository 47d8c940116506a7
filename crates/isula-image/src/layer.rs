//! Layers on their way into the store.
//!
//! ```text
//! claim_layer(diff id) ──┬─► Present(hold) ─────────────────────────────┐
//!     waits for whoever  └─► Missing(claim) ──unpack()──► hold ─────────┴─► commit_image(holds)
//!     unpacks it now
//! ```
//!
//! A claim is exclusive: whoever wants the same layer waits, then finds it present or, if it
//! failed, takes over. A hold keeps a layer from being removed until an image has it; a layer
//! that neither is held nor part of an image is removed.

use std::{
    io::{BufRead, Read},
    path::Path,
    sync::Arc,
};

use isula_core::{
    error::{ErrorKind, PortError},
    fault,
    image::Digest,
};
use isula_sys::beneath::writeback::{self, Guarantee};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use crate::{
    archive::Reader,
    compression::Inflated,
    error::{corrupt, from_io},
    hash::{AtMost, Excess, Hashing},
    recipe::{self, Recording},
    store::{Shared, Store, files},
    unpack::{Contents, unpack_noting},
};

/// A layer's recipe, beside its tree.
pub(crate) const RECIPE: &str = "recipe";
/// How much is read after the end of an archive, or after it proved to be none, to know the digest of
/// the whole.
const REST_LIMIT: u64 = 64 << 20;

/// What an operation of the store is part of; names its fault points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A pull from a registry.
    Pull,
    /// The load of an archive.
    Load,
    /// The import of a root file system.
    Import,
}

/// The steps between which the crash tests stop the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    LayerUnpacked,
    LayerCommitted,
    BlobsWritten,
    NamesWritten,
    ImageCommitted,
}

impl Origin {
    pub(crate) fn passes(self, step: Step) {
        fault::point(match (self, step) {
            (Self::Pull, Step::LayerUnpacked) => "pull.layer_unpacked",
            (Self::Pull, Step::LayerCommitted) => "pull.layer_committed",
            (Self::Pull, Step::BlobsWritten) => "pull.blobs_written",
            (Self::Pull, Step::NamesWritten) => "pull.names_written",
            (Self::Pull, Step::ImageCommitted) => "pull.image_committed",
            (Self::Load, Step::LayerUnpacked) => "load.layer_unpacked",
            (Self::Load, Step::LayerCommitted) => "load.layer_committed",
            (Self::Load, Step::BlobsWritten) => "load.blobs_written",
            (Self::Load, Step::NamesWritten) => "load.names_written",
            (Self::Load, Step::ImageCommitted) => "load.image_committed",
            (Self::Import, Step::LayerUnpacked) => "import.layer_unpacked",
            (Self::Import, Step::LayerCommitted) => "import.layer_committed",
            (Self::Import, Step::BlobsWritten) => "import.blobs_written",
            (Self::Import, Step::NamesWritten) => "import.names_written",
            (Self::Import, Step::ImageCommitted) => "import.image_committed",
        });
    }
}

/// The compressed form of a layer, as a manifest announces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob<'a> {
    /// Its digest.
    pub digest: &'a Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Whether a layer is in the store.
#[derive(Debug)]
pub enum Claim {
    /// It is, and stays while it is held.
    Present(LayerHold),
    /// It is not, and it is the caller's to unpack it.
    Missing(LayerClaim),
}

/// Keeps a layer of the store from being removed.
#[derive(Debug)]
pub struct LayerHold {
    shared: Arc<Shared>,
    diff_id: Digest,
}

impl LayerHold {
    pub(crate) fn new(shared: &Arc<Shared>, diff_id: Digest) -> Self {
        shared.layers().hold(&diff_id);
        Self { shared: Arc::clone(shared), diff_id }
    }

    /// The digest of the uncompressed layer.
    #[must_use]
    pub fn diff_id(&self) -> &Digest {
        &self.diff_id
    }
}

impl Drop for LayerHold {
    fn drop(&mut self) {
        if self.shared.layers().release(&self.diff_id) {
            self.shared.collect_later();
        }
    }
}

/// The right to unpack a layer that is missing. Dropping it passes the right on.
#[derive(Debug)]
pub struct LayerClaim {
    hold: LayerHold,
    _turn: OwnedMutexGuard<()>,
}

impl Store {
    /// Claims the layer with this diff id; waits while somebody else unpacks it.
    pub async fn claim_layer(&self, diff_id: &Digest) -> Claim {
        let hold = LayerHold::new(&self.shared, diff_id.clone());
        let turn = self.shared.layers().turn(diff_id);
        let turn = turn.lock_owned().await;
        match self.shared.layers().has(diff_id) {
            true => Claim::Present(hold),
            false => Claim::Missing(LayerClaim { hold, _turn: turn }),
        }
    }

    /// Unpacks a layer of which nothing is known; it must end with its end mark, as there is no
    /// digest to tell whether it is whole.
    pub(crate) fn unpack_unknown(
        &self,
        source: impl Read,
        origin: Origin,
    ) -> Result<LayerHold, PortError> {
        let unpacked = Unpacked::new(&self.shared, source, None)?;
        if !unpacked.is_ended {
            return Err(corrupt("the archive ends without its end mark: it is cut off"));
        }
        let hold = LayerHold::new(&self.shared, unpacked.record.diff_id.clone());
        unpacked.commit(origin)?;
        Ok(hold)
    }
}

impl LayerClaim {
    /// The digest of the uncompressed layer.
    #[must_use]
    pub fn diff_id(&self) -> &Digest {
        &self.hold.diff_id
    }

    /// Reads the (perhaps compressed) layer from `source` to its end in one pass: hashes,
    /// inflates, hashes, unpacks; then makes it durable and visible by one rename. Blocks.
    ///
    /// # Errors
    /// `Corrupt`: the bytes contradict `blob` or the diff id, or are no layer. Nothing is left.
    /// A [`PortError`] within an error of `source` comes out unchanged. The claim stands, so that
    /// the layer can be read from elsewhere.
    pub fn unpack(
        &self,
        source: impl Read,
        blob: Option<Blob<'_>>,
        origin: Origin,
    ) -> Result<LayerHold, PortError> {
        let unpacked = Unpacked::new(&self.hold.shared, source, blob)?;
        if unpacked.record.diff_id != self.hold.diff_id {
            return Err(corrupt(format!(
                "the layer unpacks to {} and not to {} as its configuration says",
                unpacked.record.diff_id, self.hold.diff_id
            )));
        }
        unpacked.commit(origin)?;
        Ok(LayerHold::new(&self.hold.shared, self.hold.diff_id.clone()))
    }
}

/// `layer.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub(crate) diff_id: Digest,
    #[serde(flatten)]
    pub(crate) contents: Contents,
    /// Bytes of its tar, which can be made again with the layer's recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tar: Option<u64>,
}

/// A layer in a directory of its own in `tmp/`.
struct Unpacked {
    dir: files::Scratch,
    record: LayerRecord,
    is_ended: bool,
}

impl Unpacked {
    fn new(
        shared: &Arc<Shared>,
        source: impl Read,
        blob: Option<Blob<'_>>,
    ) -> Result<Self, PortError> {
        let dir = shared.scratch()?;
        let diff = dir.path().join("diff");
        files::make_dir(&diff, 0o755)?;
        let limit = blob.map_or(u64::MAX, |blob| blob.size);
        let source = AtMost::new(
            source,
            limit,
            Excess::Malformed("the layer is longer than its manifest says"),
        );
        let mut compressed = Hashing::new(source);
        let passed = shared.pass(&mut compressed, dir.path());
        let passed = match (passed, blob) {
            // Damage is told by the digest, whatever it did to the unpacking.
            (Err(error), Some(blob)) if error.kind() == ErrorKind::Corrupt => {
                let told = to_the_end(compressed)?.and_then(|found| check_blob(found, blob).err());
                return Err(told.unwrap_or(error));
            }
            (Ok(passed), Some(blob)) => {
                let found = to_the_end(compressed)?
                    .ok_or_else(|| corrupt("the layer goes on long after its end"))?;
                check_blob(found, blob)?;
                passed
            }
            (passed, _) => passed?,
        };
        let (record, is_ended) = passed;
        Ok(Self { dir, record, is_ended })
    }

    fn commit(self, origin: Origin) -> Result<(), PortError> {
        let Self { dir, record, .. } = self;
        // Made last: the commit of the journal that makes this record durable makes all before
        // it durable too (see `unpack::writeback`).
        files::write_new(&dir.path().join("layer.json"), &files::json(&record)?)?;
        if writeback::guarantee(dir.path()) == Guarantee::EachFile {
            files::sync_dir(dir.path())?;
        }
        origin.passes(Step::LayerUnpacked);
        dir.shared().commit_layer(&dir, record)?;
        origin.passes(Step::LayerCommitted);
        Ok(())
    }
}

fn check_blob((digest, size): (Digest, u64), blob: Blob<'_>) -> Result<(), PortError> {
    if size != blob.size {
        return Err(corrupt(format!(
            "the layer {} has {size} bytes and not {} as its manifest says",
            blob.digest, blob.size
        )));
    }
    match &digest == blob.digest {
        true => Ok(()),
        false => Err(corrupt(format!("the layer {} has the digest {digest}", blob.digest))),
    }
}

/// Reads on to the end, but not for ever: none if there is more than [`REST_LIMIT`].
fn to_the_end<R: Read>(mut stream: Hashing<R>) -> Result<Option<(Digest, u64)>, PortError> {
    let failed = |error| from_io("cannot read the layer", error);
    let mut left = REST_LIMIT;
    loop {
        let length = stream.fill_buf().map_err(failed)?.len();
        let Some(less) = left.checked_sub(length as u64) else { return Ok(None) };
        left = less;
        match length {
            0 => return stream.finish().map(Some).map_err(failed),
            length => stream.consume(length),
        }
    }
}

impl Shared {
    fn pass(
        &self,
        compressed: &mut Hashing<impl Read>,
        dir: &Path,
    ) -> Result<(LayerRecord, bool), PortError> {
        let failed = |error| from_io("cannot read the layer", error);
        let inflated = Inflated::new(compressed).map_err(failed)?;
        let limit = self.settings.unpacked_limit.unwrap_or(u64::MAX);
        let excess = Excess::TooLarge("the layer is larger than the limit on unpacked layers");
        let inflated = AtMost::new(inflated, limit, excess);
        let (diff, recipe) = (dir.join("diff"), dir.join(RECIPE));
        let unwritable = |error| PortError::io("cannot write the layer's recipe", error);
        let recording = Recording::new(Hashing::new(inflated), &recipe).map_err(unwritable)?;
        let mut archive = Reader::new(recording);
        let contents = unpack_noting(&mut archive, &diff, recipe::note)?;
        let is_ended = archive.has_ended();
        let (rest, tar) = archive.into_rest().finish(&recipe, REST_LIMIT).map_err(failed)?;
        let tar = tar.filter(|_| !contents.replaced);
        if tar.is_none() {
            files::remove(&recipe)?;
        }
        let (diff_id, _) = to_the_end(rest)?
            .ok_or_else(|| corrupt("the layer goes on long after the end of its archive"))?;
        Ok((LayerRecord { diff_id, contents, tar }, is_ended))
    }

    /// Makes an unpacked layer visible. Somebody else's equal layer is as good. That its name is
    /// durable too is seen to by the commit of the image; without that the layer is worth nothing.
    fn commit_layer(&self, dir: &files::Scratch, record: LayerRecord) -> Result<(), PortError> {
        let path = self.layout.layer(&record.diff_id);
        let mut layers = self.layers();
        if !layers.has(&record.diff_id) {
            files::rename(dir.path(), &path)?;
            layers.insert(record);
        }
        Ok(())
    }
}
