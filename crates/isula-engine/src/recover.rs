//! What a new daemon makes of what the former one left.
use std::sync::Arc;
use isula_core::ports::Quarantined;
use crate::{Engine, Result};
/// What recovery found and did.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Containers that were restored.
    pub containers: usize,
    /// Of them, those that run and are watched again.
    pub running: usize,
    /// Records that could not be read and were moved aside.
    pub quarantined: Vec<Quarantined>,
    /// What was finished, undone or swept, in sentences for the log.
    pub notes: Vec<String>,
}
impl Engine {
    /// Loads all records, settles every container that a crash left between two states, takes away
    /// what nobody owns, watches what runs, and starts what its restart policy wants started.
    pub async fn recover(self: &Arc<Self>) -> Result<Recovery> { todo!() }
}
