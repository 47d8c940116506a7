//! `remove`: the intent first, then the parts, the record last. What fails can be tried again.

use isula_core::{
    container::{Container, Event, MountKind, State},
    error::chain,
    event::ContainerAction,
    fault,
    id::{ContainerId, Name},
    ports::Durability,
    signal::Signal,
};

use crate::{Engine, Error, Result, slot::Held};

/// How to remove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Kill it first if it runs.
    pub force: bool,
    /// With its anonymous volumes.
    pub volumes: bool,
}

/// What becomes of a container's anonymous volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anonymous {
    Keep,
    Remove,
}

impl Engine {
    /// Removes a container.
    ///
    /// # Errors
    /// It runs and force was not asked for; or a part can't be removed, and the removal can be
    /// asked for again.
    pub async fn remove(&self, query: &str, options: RemoveOptions) -> Result<ContainerId> {
        if options.force {
            // It may be held by somebody who waits for its end: bring that about.
            let slot = self.index.find(query)?;
            let container = slot.container();
            if container.state.run().is_some() {
                self.send_signal(&slot, &container, Signal::KILL).await?;
            }
        }
        let held = self.hold(query).await?;
        let container = held.container();
        let seen = held.slot().seen();
        match container.state {
            State::Running(_) | State::Paused(_) if options.force => {
                held.slot().marks().end_wanted = true;
                let exit = self.kill_held(&held).await?;
                self.settle(&held, exit).await;
            }
            State::Running(_) | State::Paused(_) => {
                return Err(Error::StillRunning(query.to_owned(), seen.state_name()));
            }
            _ if seen.restarting && !options.force => {
                return Err(Error::StillRunning(query.to_owned(), seen.state_name()));
            }
            _ => {}
        }
        held.show_restarting(false);
        let remove_volumes = options.volumes || container.host.auto_remove;
        let volumes = if remove_volumes { Anonymous::Remove } else { Anonymous::Keep };
        self.take_apart(&held, volumes).await?;
        Ok(held.id().clone())
    }

    /// A `--rm` container goes with its anonymous volumes; a failure is logged, and a new daemon
    /// tries again.
    pub(crate) async fn remove_itself(&self, held: &Held<'_>) {
        if let Err(error) = self.take_apart(held, Anonymous::Remove).await {
            tracing::error!("{}", chain(&error));
        }
    }

    /// Removes all parts of a container that does not run. Every part is tried; the record goes
    /// only when the others are gone.
    pub(crate) async fn take_apart(&self, held: &Held<'_>, volumes: Anonymous) -> Result<()> {
        let container = held.container();
        // From Removing: a former removal could not be finished.
        if container.state != State::Removing {
            self.intend(held, volumes).await?;
        }
        fault::point("rm.intent");

        let ports = &self.ports;
        let container = held.container();
        let Container { id, host, .. } = &*container;
        let work = ports.runtime.clean(id, &host.runtime);
        let cleaned = self.port(&container, "clean up after its runs", work).await;
        fault::point("rm.cleaned");
        let work = ports.snapshots.remove(id);
        let layer = self.port(&container, "remove its writable layer", work).await;
        fault::point("rm.snapshot");
        let emptied = self.remove_volumes(&container).await;
        fault::point("rm.volumes");
        let failures = [cleaned, layer, emptied].into_iter().filter_map(Result::err);
        if let Some(error) = failures.reduce(|first, further| {
            tracing::error!("{}", chain(&further));
            first
        }) {
            return Err(error);
        }
        // The intent is on disk, so that what a power cut undoes here is done again.
        let work = ports.records.remove(id, &host.runtime, Durability::Written);
        self.port(&container, "remove its record", work).await?;
        fault::point("rm.records");
        held.show_gone();
        self.publish(id, ContainerAction::Destroy);
        Ok(())
    }

    /// Puts the intent on record. The record says itself which volumes go: those that are still
    /// called anonymous in it.
    async fn intend(&self, held: &Held<'_>, volumes: Anonymous) -> Result<()> {
        // That a `--rm` container goes when it has ended is on record from the beginning.
        let container = held.container();
        let goes = container.host.auto_remove && matches!(container.state, State::Stopped(_));
        let durability = if goes { Durability::Written } else { Durability::Synced };
        let mut next = held.after(Event::Remove)?;
        if volumes == Anonymous::Keep {
            for mount in &mut next.host.mounts {
                if let MountKind::Volume { anonymous, .. } = &mut mount.kind {
                    *anonymous = false;
                }
            }
        }
        held.save(&next, durability).await?;
        held.show(next);
        Ok(())
    }

    /// Removes the anonymous volumes that no other container uses.
    async fn remove_volumes(&self, container: &Container) -> Result<()> {
        let uses = |other: &Container, volume: &str| {
            other.id != container.id
                && other.host.mounts.iter().any(
                    |mount| matches!(&mount.kind, MountKind::Volume { name, .. } if name == volume),
                )
        };
        let mut result = Ok(());
        for mount in &container.host.mounts {
            let MountKind::Volume { name, anonymous: true } = &mount.kind else { continue };
            if self.index.slots().iter().any(|slot| uses(&slot.container(), name)) {
                continue;
            }
            let name = Name::try_from(name.clone())?;
            let work = self.ports.volumes.remove(&name);
            result = result.and(self.port(container, "remove a volume", work).await);
        }
        result
    }
}
