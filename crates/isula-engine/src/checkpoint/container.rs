//! Writing down a container: frozen, captured, thawed.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use isula_core::{
    container::{Container, Source, State},
    error::{ErrorKind, PortError, chain},
    ports::{ByteStream, Rootfs},
    spec::Joined,
};
use serde::Serialize;

use super::{KEPT, LAYER, LIMIT, Saved};
use crate::{
    Engine, Error, Result,
    launch::{Stage, cannot},
    slot::{Held, display_name},
};

/// What checkpointctl(1) shows of an archive.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigDump<'a> {
    id: &'a str,
    name: &'a str,
    rootfs_image: &'a str,
    rootfs_image_ref: String,
    rootfs_image_name: &'a str,
    #[serde(rename = "runtime")]
    oci_runtime: &'a str,
    created_time: String,
    checkpointed_time: String,
    restored: bool,
}

impl Engine {
    /// Writes a running container of a sandbox to an archive. It runs on.
    ///
    /// # Errors
    /// It does not run, has what cannot be written down, or `limit` was too short. `Unsupported`
    /// where the machine has no CRIU. Nothing is left then.
    pub async fn checkpoint_member(
        &self,
        query: &str,
        location: PathBuf,
        limit: Option<Duration>,
    ) -> Result<()> {
        self.ports.runtime.can_checkpoint()?;
        let slot = self.member_slot(query)?;
        let Some(held) = self.hold_slot(&slot).await else {
            return Err(Error::NoSuchContainer(query.to_owned()));
        };
        let container = held.container();
        if !matches!(container.state, State::Running(_)) {
            return Err(Error::NotRunning(query.to_owned()));
        }
        let files = &self.ports.checkpoints;
        let directory = self.port(&container, "begin a checkpoint", files.begin()).await?;
        let limit = limit.unwrap_or(LIMIT);
        let made = self.within(limit, &container, async {
            self.frozen(std::slice::from_ref(&held), self.capture(&container, &directory)).await?;
            let archive = self.ports.snapshots.pack(&directory);
            let archive = archive.map_err(|error| cannot(&container, CHECKPOINT, error))?;
            let published = files.publish(&location, archive).await;
            published.map_err(|error| cannot(&container, CHECKPOINT, error))
        });
        let made = made.await;
        if let Err(error) = files.discard(&directory).await {
            tracing::warn!("{}: {}", display_name(&container), chain(&error));
        }
        made
    }

    /// Does something with these containers, none of whose processes runs meanwhile. Thawed they
    /// are whatever comes of it.
    pub(super) async fn frozen<T>(
        &self,
        containers: &[Held<'_>],
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut done = Ok(());
        let mut frozen = Vec::new();
        for held in containers {
            let container = held.container();
            frozen.push(held.id());
            let paused = self.ports.runtime.pause(held.id());
            if let Err(error) = self.port(&container, "freeze it", paused).await {
                done = Err(error);
                break;
            }
        }
        let thaw = Thaw { engine: self, ids: frozen };
        let result = match done {
            Ok(()) => work.await,
            Err(error) => Err(error),
        };
        thaw.now().await;
        result
    }

    /// Writes a container that is frozen to a directory.
    pub(super) async fn capture(&self, container: &Container, directory: &Path) -> Result<Saved> {
        let failed = |error: PortError| cannot(container, CHECKPOINT, error);
        let joined: Joined = self.joined(container).await?;
        let launch = self.prepare(container, Stage::Stopped(None), joined, None).await?.launch;
        let Rootfs::Overlay { upper, .. } = &launch.rootfs else {
            let text = "its root file system has no writable layer of its own";
            return Err(failed(PortError::new(ErrorKind::Unsupported, text)));
        };
        self.ports.runtime.checkpoint(&launch, directory).await.map_err(failed)?;
        let layer = self.ports.snapshots.pack(upper).map_err(failed)?;
        let files = &self.ports.checkpoints;
        files.write(&directory.join(LAYER), layer).await.map_err(failed)?;
        let whole = Self::whole_spec(&launch);
        let spec = document(&whole).map_err(failed)?;
        files.write(&directory.join("spec.dump"), spec).await.map_err(failed)?;
        let config = document(&self.config_dump(container)).map_err(failed)?;
        files.write(&directory.join("config.dump"), config).await.map_err(failed)?;
        Ok(Saved::of(container, &whole))
    }

    fn config_dump<'a>(&self, container: &'a Container) -> ConfigDump<'a> {
        let (image, reference) = match &container.source {
            Source::Image { id, reference } => (id.to_string(), reference.as_str()),
            Source::Directory(path) => (String::new(), path.as_str()),
        };
        ConfigDump {
            id: container.id.as_str(),
            name: container.name.as_str(),
            rootfs_image: reference,
            rootfs_image_ref: image,
            rootfs_image_name: reference,
            oci_runtime: &container.host.runtime,
            created_time: container.created.to_string(),
            checkpointed_time: self.ports.clock.now().to_string(),
            restored: false,
        }
    }

    /// Breaks off what takes longer than `limit`.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        container: &Container,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            let (object, seconds) = (display_name(container), limit.as_secs());
            Err(Error::Deadline { object, action: CHECKPOINT, seconds })
        })
    }

    /// Where the checkpoint of a container that was restored is kept.
    pub(crate) fn checkpoint_of(&self, container: &Container) -> PathBuf {
        self.ports.records.directory(&container.id, &container.host.runtime).join(KEPT)
    }

    /// The container runs: its checkpoint is needed no more.
    pub(crate) async fn forget_checkpoint(&self, container: &Container, directory: &Path) {
        let gone = self.ports.checkpoints.discard(directory);
        if let Err(error) = self.port(container, "remove its checkpoint", gone).await {
            tracing::warn!("{}", chain(&error));
        }
    }
}

/// How long a thaw is waited for.
const THAWING: Duration = Duration::from_mins(1);

/// What is being done, in errors.
pub(super) const CHECKPOINT: &str = "make a checkpoint";

/// Containers that must be thawed, even when whoever froze them is broken off.
struct Thaw<'a> {
    engine: &'a Engine,
    ids: Vec<&'a isula_core::id::ContainerId>,
}

impl Thaw<'_> {
    async fn now(mut self) {
        for id in std::mem::take(&mut self.ids) {
            thaw(self.engine.ports.runtime.as_ref(), id).await;
        }
    }
}

impl Drop for Thaw<'_> {
    fn drop(&mut self) {
        for id in std::mem::take(&mut self.ids) {
            let (runtime, id) = (self.engine.ports.runtime.clone(), id.clone());
            tokio::spawn(async move { thaw(runtime.as_ref(), &id).await });
        }
    }
}

async fn thaw(runtime: &dyn isula_core::ports::Runtime, id: &isula_core::id::ContainerId) {
    match tokio::time::timeout(THAWING, runtime.resume(id)).await {
        // It has ended: killing goes through ice.
        Ok(Err(error)) if error.kind() == ErrorKind::WrongState => {}
        Ok(Err(error)) => tracing::error!("container {id} stays frozen: {}", chain(&error)),
        Err(_) => tracing::error!("container {id} stays frozen: no answer in time"),
        Ok(Ok(())) => {}
    }
}

/// A document as JSON.
pub(super) fn document(value: &impl Serialize) -> Result<ByteStream, PortError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| {
        PortError::with_source(ErrorKind::Internal, "cannot write a document", error)
    })?;
    bytes.push(b'\n');
    Ok(Box::pin(futures_util::stream::iter([Ok(Bytes::from(bytes))])))
}
