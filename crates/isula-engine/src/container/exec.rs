//! `exec`.
use isula_core::{container::ExecConfig, id::ContainerId, ports::{Attach, ExecExit, ProcessId, Session}};
use crate::{Engine, Result};
/// A detached process was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// The container.
    pub container: ContainerId,
    /// Names the process.
    pub id: ProcessId,
    /// On the host.
    pub pid: i32,
}
/// A process with a client.
pub struct ExecAttached {
    /// The process.
    pub process: Executed,
    /// It has a terminal.
    pub tty: bool,
    /// The streams; they end with [`isula_core::ports::Chunk::Exited`].
    pub session: Session,
    /// The end (the same status as in the stream).
    pub exit: ExecExit,
}
impl Engine {
    /// Starts a further process in a running container and leaves it alone.
    pub async fn exec(&self, query: &str, config: ExecConfig) -> Result<Executed> { todo!() }
    /// Starts a further process in a running container with a client.
    pub async fn exec_attached(&self, query: &str, config: ExecConfig, attach: Attach) -> Result<ExecAttached> { todo!() }
}
