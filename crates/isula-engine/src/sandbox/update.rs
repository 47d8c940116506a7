//! `update`: what a sandbox may use.

use isula_core::{container::Resources, ports::Durability, sandbox::Sandbox};

use crate::{Engine, Error, Result};

impl Engine {
    /// Changes the limits and the overhead of a sandbox that is ready. What is absent stays. The
    /// limits are set on a control group of the engine's; one that the orchestrator named is its
    /// own to limit.
    ///
    /// # Errors
    /// It is not ready, or a limit is refused: the sandbox is as it was.
    pub async fn update_sandbox_resources(
        &self,
        query: &str,
        overhead: Option<Resources>,
        resources: Option<Resources>,
    ) -> Result<()> {
        let slot = self.sandboxes.find(query)?;
        let Some(held) = self.hold_sandbox(&slot).await else {
            return Err(Error::NoSuchSandbox(query.to_owned()));
        };
        let sandbox = held.sandbox()?;
        if !sandbox.is_ready() {
            return Err(Error::SandboxNotReady(query.to_owned(), sandbox.state.name()));
        }
        if let Some(resources) = &resources {
            self.limit_sandbox(&sandbox, resources).await?;
        }
        let mut next = Sandbox::clone(&sandbox);
        if resources.is_some() {
            next.config.resources = resources;
        }
        if overhead.is_some() {
            next.config.overhead = overhead;
        }
        held.put(next, Durability::Synced).await
    }
}
