//! `wait`.
use crate::{Engine, Result};
/// What to wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Condition {
    /// That it does not run; at once if so.
    #[default]
    NotRunning,
    /// Its next exit.
    NextExit,
    /// That it is gone.
    Removed,
}
impl Engine {
    /// Waits, and gives the exit status of the last run.
    pub async fn wait(&self, query: &str, condition: Condition) -> Result<i32> { todo!() }
}
