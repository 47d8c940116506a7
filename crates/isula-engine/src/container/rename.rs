//! `rename`.

use isula_core::{
    container::Container,
    event::ContainerAction,
    id::{ContainerId, Name},
    ports::Durability,
};

use crate::{Engine, Result};

impl Engine {
    /// Gives a container another name; durable on return.
    ///
    /// # Errors
    /// The text is no name, or the name is taken (by the container itself, too).
    pub async fn rename(&self, query: &str, name: &str) -> Result<ContainerId> {
        let held = self.hold(query).await?;
        let container = held.container();
        let bare = name.strip_prefix('/').unwrap_or(name);
        let name = Name::try_from(bare.to_owned())?;
        let reservation = self.index.reserve(&name, held.id())?;
        let restarting = held.slot().seen().restarting;
        let renamed = Container { name, ..Container::clone(&container) };
        held.save(&renamed, Durability::Synced).await?;
        reservation.keep();
        held.show(renamed);
        held.show_restarting(restarting);
        self.index.release(&container.name);
        self.publish(held.id(), ContainerAction::Rename);
        Ok(held.id().clone())
    }
}
