//! `restart`: stop and start without letting go in between.

use std::sync::Arc;

use crate::{Engine, Result, StopOptions, container::Started};

impl Engine {
    /// Stops a container if it runs, and starts it.
    ///
    /// # Errors
    /// As [`Engine::stop`] and [`Engine::start`].
    pub async fn restart(self: &Arc<Self>, query: &str, options: StopOptions) -> Result<Started> {
        let held = self.hold(query).await?;
        // One that removes itself does not when it is restarted.
        self.stop_held(&held, options).await?;
        self.start_held(&held, None).await.map(|(started, _)| started)
    }
}
