//! What is asked of the streaming server, and what it asks of the engine.

use async_trait::async_trait;
use isula_core::ports::{ExecExit, Result, Session};
use tokio::io::{AsyncRead, AsyncWrite};

/// Which streams a client is joined to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    /// It sends input.
    pub stdin: bool,
    /// It reads output.
    pub stdout: bool,
    /// It reads errors.
    pub stderr: bool,
    /// They are those of a terminal, which it may resize.
    pub tty: bool,
}

/// A command to run in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    /// The container.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// What the client sees of it.
    pub streams: Streams,
}

/// A container's own process to attach to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachRequest {
    /// The container.
    pub container: String,
    /// What the client sees of it. `tty` says what the container has.
    pub streams: Streams,
}

/// Ports of a sandbox to forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortForwardRequest {
    /// The sandbox.
    pub sandbox: String,
    /// The ports. A WebSocket client gets a pair of channels for each; a SPDY client names the port
    /// of every connection itself, as it does with every other runtime.
    pub ports: Vec<u16>,
}

/// A process that a client is joined to. It is dropped when the client leaves.
pub struct Running {
    /// Its streams.
    pub session: Session,
    /// Its end. `None` for an attached process: the session then ends when its streams do, with
    /// success. A [`Chunk::Exited`](isula_core::ports::Chunk::Exited) in the session's output ends
    /// it as well.
    pub exit: Option<ExecExit>,
}

/// A connection to a port of a sandbox.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What carries the requests out.
///
/// The calls are made when a client has connected, which may be a minute after the URL was asked
/// for: the container may be gone by then. Their errors go to the client as text.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Runs a command in a container.
    async fn exec(&self, request: &ExecRequest) -> Result<Running>;

    /// Attaches to a container's own process.
    async fn attach(&self, request: &AttachRequest) -> Result<Running>;

    /// Connects to a port within the network namespace of a sandbox.
    async fn port_forward(&self, sandbox: &str, port: u16) -> Result<Box<dyn Duplex>>;
}
