//! `top` and `stats`: what runs in a container and what it uses.

use std::sync::Arc;

use isula_core::{container::Container, ports::Usage};

use crate::{Engine, Error, Result};

impl Engine {
    /// The pids of all processes of a running container, on the host.
    ///
    /// # Errors
    /// It does not run.
    pub async fn top(&self, query: &str) -> Result<Vec<i32>> {
        let container = self.running(query)?;
        let work = self.ports.runtime.pids(&container.id);
        self.port(&container, "list its processes", work).await
    }

    /// What a running container uses now.
    ///
    /// # Errors
    /// It does not run.
    pub async fn usage(&self, query: &str) -> Result<Usage> {
        let container = self.running(query)?;
        let work = self.ports.runtime.usage(&container.id);
        self.port(&container, "measure what it uses", work).await
    }

    /// A container that runs, paused or not.
    pub(crate) fn running(&self, query: &str) -> Result<Arc<Container>> {
        let container = self.index.find(query)?.container();
        match container.state.run() {
            Some(_) => Ok(container),
            None => Err(Error::NotRunning(query.to_owned())),
        }
    }
}
