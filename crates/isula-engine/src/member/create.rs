//! `create` in a sandbox.

use isula_core::sandbox::NewMember;

use crate::{Engine, Result, container::Created};

impl Engine {
    /// Makes a container in a sandbox that is ready; durable on return.
    ///
    /// # Errors
    /// There is no such sandbox, it is not ready, the request is wrong, the name is taken there,
    /// the image is missing, or a port failed; nothing is left behind.
    pub async fn create_member(&self, new: NewMember) -> Result<Created> {
        let shared = self.share_sandbox(&new.sandbox).await?;
        let id = isula_core::id::ContainerId::from_random(self.ports.entropy.random());
        let (container, warnings) = self.accept_member(id, &shared.sandbox, new).await?;
        for warning in &warnings {
            tracing::warn!("{}: {warning}", container.name);
        }
        self.create_accepted(container, warnings).await
    }
}
