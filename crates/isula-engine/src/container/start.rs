//! `start`.
use std::sync::Arc;
use isula_core::{container::Run, id::ContainerId, ports::Attach};
use crate::{Engine, Result, container::Attached};
/// A container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The container.
    pub id: ContainerId,
    /// Its run.
    pub run: Run,
}
impl Engine {
    /// Starts a container that was created or has stopped; one that runs is left as it is.
    pub async fn start(self: &Arc<Self>, query: &str) -> Result<Started> { todo!() }
    /// Starts a container with a client that misses no byte; joins the client to one that runs.
    pub async fn start_attached(self: &Arc<Self>, query: &str, attach: Attach) -> Result<Attached> { todo!() }
}
