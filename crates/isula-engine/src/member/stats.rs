//! `stats` of containers of sandboxes.

use futures_util::{StreamExt, stream};
use isula_core::{
    container::{Container, Source},
    error::chain,
    sandbox::{ContainerStats, MemberFilter},
};

use crate::{Engine, Result};

/// So many containers are looked at together.
const AT_ONCE: usize = 8;

impl Engine {
    /// What a container uses now.
    ///
    /// # Errors
    /// There is no such container.
    pub async fn member_stats(&self, query: &str) -> Result<ContainerStats> {
        let container = self.member(query)?;
        Ok(self.stats_of_member(&container).await)
    }

    /// What the running containers use that a filter shows; what can't be read of one is absent.
    pub async fn list_member_stats(&self, filter: &MemberFilter) -> Vec<ContainerStats> {
        let mut found = self.list_members(filter);
        found.retain(|container| container.state.run().is_some());
        stream::iter(found)
            .map(|container| async move { self.stats_of_member(&container).await })
            .buffered(AT_ONCE)
            .collect()
            .await
    }

    pub(crate) async fn stats_of_member(&self, container: &Container) -> ContainerStats {
        let id = &container.id;
        let (mut usage, mut filesystem) = (None, None);
        if container.state.run().is_some() {
            let work = self.ports.runtime.usage(id);
            match self.port(container, "read what it uses", work).await {
                Ok(found) => usage = Some(found),
                // It may have ended just now.
                Err(error) => tracing::debug!("{}", chain(&error)),
            }
        }
        if let Source::Image { .. } = container.source {
            let work = self.ports.snapshots.usage(id);
            match self.port(container, "read what its layer uses", work).await {
                Ok(found) => filesystem = Some(found),
                Err(error) => tracing::debug!("{}", chain(&error)),
            }
        }
        ContainerStats { id: id.clone(), at: self.ports.clock.now(), usage, filesystem }
    }
}
