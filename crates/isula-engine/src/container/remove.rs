//! `remove`.
use isula_core::id::ContainerId;
use crate::{Engine, Result};
/// How to remove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Kill it first if it runs.
    pub force: bool,
    /// With its anonymous volumes.
    pub volumes: bool,
}
impl Engine {
    /// Removes a container.
    pub async fn remove(&self, query: &str, options: RemoveOptions) -> Result<ContainerId> { todo!() }
}
