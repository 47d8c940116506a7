//! `create`: a name, a writable layer, a durable record, volumes.

use isula_core::{
    container::{Container, NewContainer, Source},
    event::ContainerAction,
    fault,
    id::ContainerId,
    ports::Durability,
    user::ResolvedUser,
};

use crate::{
    Engine, Result,
    launch::{Prepared, Stage},
    slot::Slot,
    undo::Undo,
};

/// A container was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: ContainerId,
    /// What was asked for and can't be had as asked.
    pub warnings: Vec<String>,
}

/// What is known of a container that was just made.
struct Made {
    warnings: Vec<String>,
    fingerprint: u64,
    /// Whom it runs as, unless somebody else may change the files that say so.
    user: Option<Box<ResolvedUser>>,
}

impl Engine {
    /// Makes a container; durable on return.
    ///
    /// # Errors
    /// The request is wrong, the name is taken, the image is missing, or a port failed; nothing is
    /// left behind.
    pub async fn create(&self, new: NewContainer) -> Result<Created> {
        let id = ContainerId::from_random(self.ports.entropy.random());
        let (container, warnings) = self.accept(id, new)?;
        self.create_accepted(container, warnings).await
    }

    /// Makes a container that was accepted.
    pub(crate) async fn create_accepted(
        &self,
        container: Container,
        mut warnings: Vec<String>,
    ) -> Result<Created> {
        let id = container.id.clone();
        let name = self.index.reserve(&container.name, &id)?;
        fault::point("create.named");

        let mut undo = Undo::default();
        match self.make(&container, &mut undo).await {
            Ok(made) => {
                drop(undo);
                warnings.extend(made.warnings);
                let slot = Slot::new(container);
                let mut marks = slot.marks();
                marks.fingerprint = Some(made.fingerprint);
                marks.user = made.user;
                drop(marks);
                self.index.add(slot);
                name.keep();
                fault::point("create.shown");
                self.publish(&id, ContainerAction::Create);
                Ok(Created { id, warnings })
            }
            Err(error) => {
                undo.run().await;
                Err(error)
            }
        }
    }

    async fn make<'a>(&'a self, container: &'a Container, undo: &mut Undo<'a>) -> Result<Made> {
        let ports = &self.ports;
        let Container { id, host, .. } = container;
        if let Source::Image { .. } = &container.source {
            undo.push("making the writable layer", ports.snapshots.remove(id));
        }
        // The layer is made while the spec is built. Both end, whatever becomes of the other.
        let (layer, prepared) =
            tokio::join!(self.make_layer(container), self.prepare_new(container));
        layer?;
        fault::point("create.snapshot");
        let prepared = prepared?;
        undo.push(
            "recording the container",
            ports.records.remove(id, &host.runtime, Durability::Synced),
        );
        let files = prepared.files(container);
        self.port(container, "record it", ports.records.create(container, files)).await?;
        fault::point("create.records");

        let warnings = self.provide_volumes(container, undo).await?;
        fault::point("create.volumes");
        let own = matches!(container.source, Source::Image { .. });
        let user = own.then(|| Box::new(prepared.user));
        Ok(Made { warnings, fingerprint: prepared.fingerprint, user })
    }

    async fn make_layer(&self, container: &Container) -> Result<()> {
        let Source::Image { id: image, .. } = &container.source else { return Ok(()) };
        let (id, snapshots) = (&container.id, &self.ports.snapshots);
        self.port(container, "make its writable layer", snapshots.prepare(id, image)).await?;
        let Some(bytes) = container.host.storage_size() else { return Ok(()) };
        self.port(container, "limit its writable layer", snapshots.limit(id, bytes)).await
    }

    async fn prepare_new(&self, container: &Container) -> Result<Prepared> {
        // A container whose namespaces are joined need not run before the start.
        let joined = self.joined(container).await.unwrap_or_default();
        let prepared = self.prepare(container, Stage::New, joined, None).await?;
        let checked = async { self.ports.runtime.verify(&prepared.launch) };
        self.port(container, "be run as asked", checked).await?;
        Ok(prepared)
    }
}
