//! `create` in a sandbox.

use std::sync::PoisonError;

use isula_core::sandbox::NewMember;

use crate::{Engine, Result, container::Created};

/// More different warnings than these are not worth the memory.
const WARNINGS: usize = 64;

impl Engine {
    /// Makes a container in a sandbox that is ready; durable on return.
    ///
    /// # Errors
    /// There is no such sandbox, it is not ready, the request is wrong, the name is taken there,
    /// the image is missing, or a port failed; nothing is left behind.
    pub async fn create_member(&self, new: NewMember) -> Result<Created> {
        self.create_member_as(new, false).await
    }

    /// As [`Engine::create_member`], for one whose processes come from a checkpoint.
    pub(crate) async fn create_member_as(&self, new: NewMember, restored: bool) -> Result<Created> {
        let shared = self.share_sandbox(&new.sandbox).await?;
        let id = isula_core::id::ContainerId::from_random(self.ports.entropy.random());
        let (mut container, warnings) = self.accept_member(id, &shared.sandbox, new).await?;
        if let Some(pod) = &mut container.pod {
            pod.restored = restored;
        }
        for warning in &warnings {
            if self.is_news(warning) {
                tracing::warn!("{}: {warning}; said once for all containers", container.name);
            }
        }
        self.create_accepted(container, warnings).await
    }

    /// Kubelet asks every container for what this host may not have: that is said once.
    fn is_news(&self, warning: &str) -> bool {
        let mut said = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        said.len() < WARNINGS && said.insert(warning.to_owned())
    }
}
