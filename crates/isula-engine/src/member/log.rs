//! `reopen log`: after kubelet has put the file aside.

use crate::{Engine, Error, Result};

impl Engine {
    /// Closes the log of a running container and opens it again by its name.
    ///
    /// # Errors
    /// It does not run, or its log can't be opened.
    pub async fn reopen_member_log(&self, query: &str) -> Result<()> {
        let container = self.member_slot(query)?.container();
        if container.state.run().is_none() {
            return Err(Error::NotRunning(query.to_owned()));
        }
        if container.pod.as_ref().is_none_or(|pod| pod.log.is_none()) {
            return Ok(());
        }
        let work = self.ports.runtime.reopen_log(&container.id);
        self.port(&container, "reopen its log", work).await
    }
}
