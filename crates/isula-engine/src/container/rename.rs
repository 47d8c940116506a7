//! `rename`.
use isula_core::id::ContainerId;
use crate::{Engine, Result};
impl Engine {
    /// Gives a container another name.
    pub async fn rename(&self, query: &str, name: &str) -> Result<ContainerId> { todo!() }
}
