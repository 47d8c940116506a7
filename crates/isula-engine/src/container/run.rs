//! `run`: create and start in one call.

use std::sync::Arc;

use isula_core::{container::NewContainer, ports::Attach};

use crate::{
    Engine, Result,
    container::{Attached, Created},
};

impl Engine {
    /// Creates and starts a container, detached.
    ///
    /// # Errors
    /// As [`Engine::create`] and [`Engine::start`]: a container that can't be started stays, unless
    /// it removes itself.
    pub async fn run(self: &Arc<Self>, new: NewContainer) -> Result<Created> {
        let created = self.create(new).await?;
        self.start(created.id.as_str()).await?;
        Ok(created)
    }

    /// Creates and starts a container with a client that misses no byte.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub async fn run_attached(
        self: &Arc<Self>,
        new: NewContainer,
        attach: Attach,
    ) -> Result<Attached> {
        let created = self.create(new).await?;
        let attached = self.start_attached(created.id.as_str(), attach).await?;
        Ok(Attached { warnings: created.warnings, ..attached })
    }
}
