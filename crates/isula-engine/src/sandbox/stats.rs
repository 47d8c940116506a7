//! `stats`: what sandboxes use, all their containers together.

use futures_util::{StreamExt, stream};
use isula_core::{
    error::chain,
    sandbox::{Sandbox, SandboxFilter, SandboxStats},
};

use crate::{Engine, Result};

/// So many sandboxes are looked at together.
const AT_ONCE: usize = 8;

impl Engine {
    /// What a sandbox uses now.
    ///
    /// # Errors
    /// There is no such sandbox.
    pub async fn sandbox_stats(&self, query: &str) -> Result<SandboxStats> {
        let sandbox = self.sandbox(query)?;
        Ok(self.stats_of_sandbox(&sandbox).await)
    }

    /// What the sandboxes use that a filter shows; what can't be read of one is absent.
    pub async fn list_sandbox_stats(&self, filter: &SandboxFilter) -> Vec<SandboxStats> {
        let found = self.list_sandboxes(filter);
        stream::iter(found)
            .map(|sandbox| async move { self.stats_of_sandbox(&sandbox).await })
            .buffered(AT_ONCE)
            .collect()
            .await
    }

    async fn stats_of_sandbox(&self, sandbox: &Sandbox) -> SandboxStats {
        let id = &sandbox.id;
        let (mut usage, mut network) = (None, Vec::new());
        if sandbox.is_ready() {
            let work = self.ports.pods.usage(&sandbox.cgroup);
            match self.port_of(id, "read what it uses", work).await {
                Ok(found) => usage = Some(found),
                Err(error) => tracing::debug!("{}", chain(&error)),
            }
            if sandbox.has_network() {
                let path = self.ports.networks.namespace_path(id);
                let work = self.ports.pods.interfaces(&path);
                match self.port_of(id, "read its interfaces", work).await {
                    Ok(found) => network = found,
                    Err(error) => tracing::debug!("{}", chain(&error)),
                }
            }
        }
        let mut containers = Vec::new();
        for container in self.sandbox_containers(id) {
            if container.state.run().is_some() {
                containers.push(self.stats_of_member(&container).await);
            }
        }
        SandboxStats { id: id.clone(), at: self.ports.clock.now(), usage, network, containers }
    }
}
