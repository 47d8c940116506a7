//! Fetching the layers of an image, in parallel.

use futures_util::future::try_join_all;
use isula_core::{
    error::{ErrorKind, PortError},
    image::Digest,
    ports::ProgressSink,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::spawn_blocking,
};

use super::{
    meter::Meter,
    pipe::{PipeWriter, ReaderGone, pipe},
};
use crate::{
    layer::{self, Claim, LayerClaim, LayerHold, Origin},
    manifest::Descriptor,
    registry::{self, Session},
    store::Store,
    stream,
};

/// Brings every layer into the store, each once, whoever else wants it too. The holds come in the
/// order of `layers`. The first error ends all of them.
pub(super) async fn fetch(
    store: &Store,
    session: &Session,
    layers: &[(Digest, Descriptor)],
    progress: &ProgressSink,
) -> Result<Vec<LayerHold>, PortError> {
    // Each thread that works has a sender: when none is left, no thread is.
    let (working, mut idle) = mpsc::channel::<()>(1);
    let each = layers.iter().map(|(diff_id, blob)| {
        let meter = Meter::new(progress, &blob.digest, blob.size);
        fetch_one(store, diff_id, Fetch { session, blob, meter, working: working.clone() })
    });
    let fetched = try_join_all(each).await;
    drop(working);
    // After an error the others' pipes are cut: their threads end and clean up before it is told.
    idle.recv().await;
    fetched
}

async fn fetch_one(
    store: &Store,
    diff_id: &Digest,
    mut fetch: Fetch<'_>,
) -> Result<LayerHold, PortError> {
    let claim = match store.claim_layer(diff_id).await {
        Claim::Present(hold) => {
            fetch.meter.exists();
            return Ok(hold);
        }
        Claim::Missing(claim) => claim,
    };
    let closed = |_| PortError::new(ErrorKind::Cancelled, "the image store is closed");
    let permit = store.downloads().acquire_owned().await.map_err(closed)?;
    let hold = fetch.run(claim, permit).await?;
    fetch.meter.done();
    Ok(hold)
}

/// One layer on its way.
struct Fetch<'a> {
    session: &'a Session,
    blob: &'a Descriptor,
    meter: Meter,
    working: mpsc::Sender<()>,
}

impl Fetch<'_> {
    /// Downloads and unpacks; what an endpoint sent under a wrong digest is fetched again from the
    /// next one.
    async fn run(
        &mut self,
        mut claim: LayerClaim,
        mut permit: OwnedSemaphorePermit,
    ) -> Result<LayerHold, PortError> {
        let start = || self.session.blob(&self.blob.digest, self.blob.size);
        let mut source = start();
        loop {
            let (writer, reader) = pipe(self.blob.size);
            let (blob, working) = (self.blob.clone(), self.working.clone());
            let unpacking = spawn_blocking(move || {
                let announced = layer::Blob { digest: &blob.digest, size: blob.size };
                let result = claim.unpack(reader, Some(announced), Origin::Pull);
                // The claim and the permit live as long as the thread works, even if the pull is
                // dropped: whoever waits for them must not start before it has ended.
                drop(working);
                (claim, permit, result)
            });
            let fed = feed(&mut source, writer, &mut self.meter).await;
            // The thread ends soon: it has all bytes, or its pipe is cut.
            let unpacked;
            (claim, permit, unpacked) = stream::join(unpacking.await.map(Ok))?;
            let error = match (fed, unpacked) {
                (Err(error), _) => return Err(error),
                (Ok(()), Ok(hold)) => return Ok(hold),
                (Ok(()), Err(error)) => error,
            };
            let next = start().at_endpoint(source.endpoint().saturating_add(1));
            match next {
                Some(next) if error.kind() == ErrorKind::Corrupt => {
                    tracing::warn!("layer {}: at the next endpoint: {error}", self.blob.digest);
                    source = next;
                }
                _ => return Err(error),
            }
        }
    }
}

/// Moves the bytes. It is no error here if the reader goes: it says itself why.
async fn feed(
    source: &mut registry::Blob<'_>,
    mut writer: PipeWriter,
    meter: &mut Meter,
) -> Result<(), PortError> {
    let mut received = 0_u64;
    while let Some(piece) = source.next_piece().await? {
        received = received.saturating_add(piece.len() as u64);
        meter.downloaded(received);
        if writer.write(&piece).await == Err(ReaderGone) {
            return Ok(());
        }
    }
    meter.unpacking();
    // If the reader goes now, its own error is the one that counts.
    let _ = writer.finish().await;
    Ok(())
}
