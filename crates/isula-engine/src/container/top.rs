//! `top`.
use crate::{Engine, Result};
impl Engine {
    /// The pids of all processes of a running container, on the host.
    pub async fn top(&self, query: &str) -> Result<Vec<i32>> { todo!() }
    /// What a running container uses now.
    pub async fn usage(&self, query: &str) -> Result<isula_core::ports::Usage> { todo!() }
}
