//! `stop`: the containers, then the network, then the namespaces.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use isula_core::{
    event::SandboxAction,
    fault,
    ports::Durability,
    sandbox::{Sandbox, SandboxEvent, SandboxId, SandboxState},
};

use super::slot::HeldSandbox;
use crate::{Engine, Error, Result};

/// So many containers of one sandbox are ended at once.
const AT_ONCE: usize = 16;

impl Engine {
    /// Kills the containers of a sandbox and takes down its network and namespaces. Idempotent: a
    /// sandbox that is not there, or not ready, is left as it is.
    ///
    /// # Errors
    /// A part can't be taken down; the sandbox is not ready then, and the stop can be asked for
    /// again.
    pub async fn stop_sandbox(self: &Arc<Self>, query: &str) -> Result<()> {
        let slot = match self.sandboxes.find(query) {
            Ok(slot) => slot,
            Err(Error::NoSuchSandbox(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        match self.hold_sandbox(&slot).await {
            Some(held) => self.stop_sandbox_held(&held).await,
            None => Ok(()),
        }
    }

    pub(super) async fn stop_sandbox_held(self: &Arc<Self>, held: &HeldSandbox<'_>) -> Result<()> {
        match held.sandbox()?.state {
            SandboxState::NotReady | SandboxState::Removing => return Ok(()),
            // From Stopping: a former stop could not be finished.
            SandboxState::Stopping => {}
            SandboxState::Starting | SandboxState::Ready(_) => {
                held.enter(SandboxEvent::Stop, Durability::Written).await?;
            }
        }
        fault::point("stopp.intent");
        self.end_members(held.id()).await?;
        fault::point("stopp.containers");
        let sandbox = held.sandbox()?;
        self.take_down(&sandbox).await?;
        fault::point("stopp.down");
        let next = held.after(SandboxEvent::Stopped)?;
        held.put(Sandbox { attachment: None, ..next }, Durability::Written).await?;
        self.publish_sandbox(held.id(), SandboxAction::Stop);
        Ok(())
    }

    /// Ends all containers of a sandbox at once, without patience.
    async fn end_members(self: &Arc<Self>, id: &SandboxId) -> Result<()> {
        let members = self.members_of(id);
        let ends: Vec<Result<()>> = stream::iter(members)
            .map(|slot| async move { self.end_member(&slot).await })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        ends.into_iter().collect()
    }
}
