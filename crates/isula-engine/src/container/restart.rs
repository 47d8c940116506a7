//! `restart`.
use std::sync::Arc;
use crate::{Engine, Result, StopOptions, container::Started};
impl Engine {
    /// Stops a container if it runs, and starts it.
    pub async fn restart(self: &Arc<Self>, query: &str, options: StopOptions) -> Result<Started> { todo!() }
}
