//! `remove`: stop, then the containers, then the record.

use std::sync::Arc;

use isula_core::{
    event::SandboxAction,
    fault,
    ports::Durability,
    sandbox::{SandboxEvent, SandboxState},
};

use super::slot::HeldSandbox;
use crate::{Engine, Error, Result};

impl Engine {
    /// Removes a sandbox with all its containers; one that is ready is stopped first. Idempotent: a
    /// sandbox that is not there is no error.
    ///
    /// # Errors
    /// A part can't be removed; the removal can be asked for again.
    pub async fn remove_sandbox(self: &Arc<Self>, query: &str) -> Result<()> {
        let slot = match self.sandboxes.find(query) {
            Ok(slot) => slot,
            Err(Error::NoSuchSandbox(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        match self.hold_sandbox(&slot).await {
            Some(held) => self.remove_sandbox_held(&held).await,
            None => Ok(()),
        }
    }

    pub(super) async fn remove_sandbox_held(
        self: &Arc<Self>,
        held: &HeldSandbox<'_>,
    ) -> Result<()> {
        self.stop_sandbox_held(held).await?;
        if held.sandbox()?.state != SandboxState::Removing {
            held.enter(SandboxEvent::Remove, Durability::Written).await?;
        }
        fault::point("rmp.intent");
        for slot in self.members_of(held.id()) {
            self.remove_member_slot(&slot).await?;
        }
        fault::point("rmp.containers");
        let work = self.ports.sandboxes.remove_sandbox(held.id());
        self.port_of(held.id(), "remove its record", work).await?;
        fault::point("rmp.record");
        let id = held.id().clone();
        held.show_gone();
        self.publish_sandbox(&id, SandboxAction::Remove);
        Ok(())
    }
}
