//! `pause` and `unpause`.
use isula_core::id::ContainerId;
use crate::{Engine, Result};
impl Engine {
    /// Freezes all processes of a running container.
    pub async fn pause(&self, query: &str) -> Result<ContainerId> { todo!() }
    /// Thaws them.
    pub async fn resume(&self, query: &str) -> Result<ContainerId> { todo!() }
}
