//! `run`: create and start in one call.
use std::sync::Arc;
use isula_core::{container::NewContainer, ports::Attach};
use crate::{Engine, Result, container::{Attached, Created}};
impl Engine {
    /// Creates and starts a container, detached.
    pub async fn run(self: &Arc<Self>, new: NewContainer) -> Result<Created> { todo!() }
    /// Creates and starts a container with a client that misses no byte.
    pub async fn run_attached(self: &Arc<Self>, new: NewContainer, attach: Attach) -> Result<Attached> { todo!() }
}
