//! Writing down a sandbox: all its containers at one moment.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use isula_core::{
    container::{Invalid, State},
    error::chain,
    ports::PodPaths,
    sandbox::Sandbox,
};

use super::{LIMIT, POD, SHM, SavedPod, VERSION, container::document};
use crate::{
    Engine, Error, Result,
    slot::{Held, Slot},
};

/// A field of the request.
const CONTAINERS: &str = "container_ids";

impl Engine {
    /// Writes the containers of a sandbox into an empty directory of the caller. They run on.
    ///
    /// # Errors
    /// The sandbox is not ready, a container is not one of its running ones, the directory is not
    /// empty, something cannot be written down, or `limit` was too short. `Unsupported` where the
    /// machine has no CRIU. The directory is empty again then.
    pub async fn checkpoint_sandbox(
        &self,
        query: &str,
        output: PathBuf,
        containers: &[String],
        limit: Option<Duration>,
    ) -> Result<()> {
        self.ports.runtime.can_checkpoint()?;
        // Nobody takes the sandbox down, or adds a container, meanwhile.
        let shared = self.share_sandbox(query).await?;
        let sandbox = &shared.sandbox;
        let slots = self.selected(sandbox, containers)?;
        let files = &self.ports.checkpoints;
        self.port_of(&sandbox.id, "use the directory", files.accept(&output)).await?;
        // In the order of their ids: two that do this do not wait for each other.
        let mut held = Vec::new();
        for slot in &slots {
            let Some(one) = self.hold_slot(slot).await else {
                return Err(Error::NoSuchContainer(slot.id.to_string()));
            };
            if !matches!(one.container().state, State::Running(_)) {
                return Err(Error::NotRunning(slot.id.to_string()));
            }
            held.push(one);
        }
        let Some(first) = held.first().map(Held::container) else {
            return Err(Invalid::value(CONTAINERS, "", "it is empty").into());
        };
        let limit = limit.unwrap_or(LIMIT);
        let work = self.frozen(&held, self.capture_all(sandbox, &held, &output));
        let made = self.within(limit, &first, work).await;
        if made.is_err()
            && let Err(error) = files.empty(&output).await
        {
            tracing::error!("{}: {}", output.display(), chain(&error));
        }
        made
    }

    /// The containers that the request names: running ones of this sandbox, each once.
    fn selected(&self, sandbox: &Sandbox, containers: &[String]) -> Result<Vec<Arc<Slot>>> {
        let mut seen = BTreeSet::new();
        let mut slots = Vec::new();
        for query in containers {
            let slot = self.member_slot(query)?;
            let container = slot.container();
            let here = container.pod.as_ref().is_some_and(|pod| pod.sandbox == sandbox.id);
            if !here {
                let why = "the container is in another sandbox";
                return Err(Invalid::value(CONTAINERS, query, why).into());
            }
            if !matches!(container.state, State::Running(_)) {
                return Err(Error::NotRunning(query.clone()));
            }
            if !seen.insert(slot.id.clone()) {
                return Err(Invalid::value(CONTAINERS, query, "it is there twice").into());
            }
            slots.push(slot);
        }
        if slots.is_empty() {
            return Err(Invalid::value(CONTAINERS, "", "it is empty").into());
        }
        slots.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(slots)
    }

    async fn capture_all(&self, sandbox: &Sandbox, held: &[Held<'_>], output: &Path) -> Result<()> {
        let files = &self.ports.checkpoints;
        let mut containers = Vec::new();
        for (number, one) in held.iter().enumerate() {
            let directory = output.join(number.to_string());
            self.port_of(&sandbox.id, "make a directory", files.make(&directory)).await?;
            containers.push(self.capture(&one.container(), &directory).await?);
        }
        let write = async {
            let shm = self.shm_of(sandbox).await?;
            if let Some(shm) = &shm {
                files.write(&output.join(SHM), self.ports.snapshots.pack(shm)?).await?;
            }
            let pod = SavedPod { version: VERSION, shm: shm.is_some(), containers };
            files.write(&output.join(POD), document(&pod)?).await
        };
        self.port_of_within(LIMIT, &sandbox.id, "write its checkpoint", write).await
    }

    /// The directory behind `/dev/shm` of the containers.
    pub(super) async fn shm_of(
        &self,
        sandbox: &Sandbox,
    ) -> Result<Option<PathBuf>, isula_core::error::PortError> {
        let found: Option<PodPaths> = self.ports.pods.find(&sandbox.id).await?;
        Ok(found.and_then(|paths| paths.shm))
    }
}
