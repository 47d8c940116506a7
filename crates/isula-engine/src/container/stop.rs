//! `stop`.
use isula_core::id::ContainerId;
use crate::{Engine, Result, StopOptions};
impl Engine {
    /// Asks the init process to end, and kills it when it does not.
    pub async fn stop(&self, query: &str, options: StopOptions) -> Result<ContainerId> { todo!() }
}
