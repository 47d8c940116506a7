//! `list` and `status`: read what was shown last and wait for nobody.

use std::{cmp::Reverse, sync::Arc};

use isula_core::{
    container::Container,
    ports::PodPaths,
    sandbox::{Sandbox, SandboxFilter, SandboxId},
};

use crate::{Engine, Error, Result};

impl Engine {
    /// The sandbox with this id or prefix of an id; its parts are the whole of its status.
    ///
    /// # Errors
    /// There is none, or several.
    pub fn sandbox(&self, query: &str) -> Result<Arc<Sandbox>> {
        let found = self.sandboxes.find(query)?.sandbox();
        found.ok_or_else(|| Error::NoSuchSandbox(query.to_owned()))
    }

    /// The sandboxes that a filter shows, newest first.
    #[must_use]
    pub fn list_sandboxes(&self, filter: &SandboxFilter) -> Vec<Arc<Sandbox>> {
        let all = self.sandboxes.slots().into_iter().filter_map(|slot| slot.sandbox());
        let mut found: Vec<_> = all.filter(|sandbox| filter.shows(sandbox)).collect();
        found.sort_by_key(|sandbox| Reverse(sandbox.created));
        found
    }

    /// The containers of a sandbox, oldest first.
    #[must_use]
    pub fn sandbox_containers(&self, id: &SandboxId) -> Vec<Arc<Container>> {
        let members = self.members_of(id);
        let mut found: Vec<_> = members.iter().map(|slot| slot.container()).collect();
        found.sort_by_key(|container| container.created);
        found
    }

    /// Where the namespaces of a sandbox are pinned, for its verbose status.
    ///
    /// # Errors
    /// The port failed.
    pub async fn sandbox_namespaces(&self, id: &SandboxId) -> Result<Option<PodPaths>> {
        self.port_of(id, "find its namespaces", self.ports.pods.find(id)).await
    }
}
