//! `remove`: what a run left first, then the volumes, then the record and the layer. What fails can be
//! tried again.

use isula_core::{
    container::{Container, Event, Mount, MountKind, State},
    error::{ErrorKind, PortError, chain},
    event::ContainerAction,
    fault,
    id::{ContainerId, Name},
    ports::Durability,
    signal::Signal,
};
use tokio::sync::oneshot;

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

    /// Removes all parts of a container that does not run. Once its record is gone it does not come
    /// back with another daemon, which takes away what is left of it.
    ///
    /// # Errors
    /// A part can't be removed: the container is still there, and its removal can be asked for again.
    pub(crate) async fn take_apart(&self, held: &Held<'_>, volumes: Anonymous) -> Result<()> {
        let container = held.container();
        let removing = match container.state {
            // A former removal could not be finished.
            State::Removing => Container::clone(&container),
            _ => removing(held, volumes)?,
        };
        let durability = self.intend(held, &removing).await?;
        fault::point("rm.intent");

        let ports = &self.ports;
        let Container { id, host, .. } = &removing;
        let work = ports.runtime.clean(id, &host.runtime);
        let cleaned = self.port(&removing, "clean up after its runs", work).await;
        fault::point("rm.cleaned");
        let disconnected = self.disconnect(&removing).await;
        let emptied = self.remove_volumes(&removing).await;
        fault::point("rm.volumes");
        together([cleaned, disconnected, emptied])?;

        // The layer goes on the same thread: to wake another one costs as much as the removal.
        let (told, layer) = oneshot::channel();
        let removal = ports.snapshots.removal(id);
        let then = Box::new(move || drop(told.send(removal())));
        let work = ports.records.remove_then(id, &host.runtime, durability, then);
        self.port(&removing, "remove its record", work).await?;
        fault::point("rm.records");
        let layer = async { layer.await.unwrap_or_else(|_| Err(undone(id))) };
        if let Err(error) = self.port(&removing, "remove its writable layer", layer).await {
            held.show(removing);
            return Err(error);
        }
        held.show_gone();
        self.publish(id, ContainerAction::Destroy);
        Ok(())
    }

    /// Puts the intent on record where volumes go, which another daemon could not know without the
    /// container. Says how safe the removal of the record must be.
    async fn intend(&self, held: &Held<'_>, removing: &Container) -> Result<Durability> {
        let container = held.container();
        if container.state == State::Removing {
            return Ok(Durability::Written);
        }
        // That a `--rm` container goes when it has ended is on record from the beginning.
        let goes = container.host.auto_remove && matches!(container.state, State::Stopped(_));
        let durability = if goes { Durability::Written } else { Durability::Synced };
        if !removing.host.mounts.iter().any(is_anonymous) {
            return Ok(durability);
        }
        held.save(removing, durability).await?;
        held.show(removing.clone());
        Ok(Durability::Written)
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

/// The first failure; the others are logged.
fn together(parts: [Result<()>; 3]) -> Result<()> {
    let mut failures = parts.into_iter().filter_map(Result::err);
    let Some(first) = failures.next() else { return Ok(()) };
    for further in failures {
        tracing::error!("{}", chain(&further));
    }
    Err(first)
}

/// The container on its way out. It says itself which volumes go: those that are still called
/// anonymous in it.
fn removing(held: &Held<'_>, volumes: Anonymous) -> Result<Container> {
    let mut next = held.after(Event::Remove)?;
    if volumes == Anonymous::Keep {
        for mount in &mut next.host.mounts {
            if let MountKind::Volume { anonymous, .. } = &mut mount.kind {
                *anonymous = false;
            }
        }
    }
    Ok(next)
}

fn is_anonymous(mount: &Mount) -> bool {
    matches!(mount.kind, MountKind::Volume { anonymous: true, .. })
}

fn undone(id: &ContainerId) -> PortError {
    PortError::new(ErrorKind::Internal, format!("the layer of container {id} was not removed"))
}
