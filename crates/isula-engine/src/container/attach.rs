//! `attach`.
use std::pin::Pin;
use isula_core::{id::ContainerId, ports::{Attach, Session}};
use crate::{Engine, Result};
/// Completes with the exit status of the init process (of the run that was attached to). For a
/// `--rm` container it completes when the container is removed.
pub type ExitWaiter = Pin<Box<dyn Future<Output = Result<i32>> + Send>>;
/// A client joined to an init process.
pub struct Attached {
    /// The container.
    pub id: ContainerId,
    /// It has a terminal.
    pub tty: bool,
    /// What `create` had to say.
    pub warnings: Vec<String>,
    /// The streams.
    pub session: Session,
    /// The end.
    pub exit: ExitWaiter,
}
impl Engine {
    /// Joins a client to the init process of a running container.
    pub async fn attach(&self, query: &str, attach: Attach) -> Result<Attached> { todo!() }
}
