//! `create`.
use isula_core::{container::NewContainer, id::ContainerId};
use crate::{Engine, Result};
/// A container was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: ContainerId,
    /// What was asked for and can't be had as asked.
    pub warnings: Vec<String>,
}
impl Engine {
    /// Makes a container; durable on return.
    pub async fn create(&self, new: NewContainer) -> Result<Created> { todo!() }
}
