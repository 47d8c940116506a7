//! `kill`.
use isula_core::{id::ContainerId, signal::Signal};
use crate::{Engine, Result};
impl Engine {
    /// Sends a signal to the init process.
    pub async fn kill(&self, query: &str, signal: Signal) -> Result<ContainerId> { todo!() }
}
