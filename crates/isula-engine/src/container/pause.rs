//! `pause` and `unpause`.

use isula_core::{container::Event, event::ContainerAction, id::ContainerId, ports::Durability};

use crate::{Engine, Error, Result, undo::Undo};

impl Engine {
    /// Freezes all processes of a running container.
    ///
    /// # Errors
    /// It does not run, or is paused already.
    pub async fn pause(&self, query: &str) -> Result<ContainerId> {
        let held = self.hold(query).await?;
        let container = held.container();
        if container.state.run().is_none() {
            return Err(Error::NotRunning(query.to_owned()));
        }
        held.after(Event::Paused)?;
        self.port(&container, "freeze it", self.ports.runtime.pause(held.id())).await?;
        let mut undo = Undo::default();
        undo.push("freezing the processes", self.ports.runtime.resume(held.id()));
        if let Err(error) = held.enter(Event::Paused, Durability::Written).await {
            undo.run().await;
            return Err(error);
        }
        self.publish(held.id(), ContainerAction::Pause);
        Ok(held.id().clone())
    }

    /// Thaws them.
    ///
    /// # Errors
    /// It is not paused.
    pub async fn resume(&self, query: &str) -> Result<ContainerId> {
        let held = self.hold(query).await?;
        held.after(Event::Resumed)?;
        self.thaw(&held).await?;
        self.publish(held.id(), ContainerAction::Unpause);
        Ok(held.id().clone())
    }
}
