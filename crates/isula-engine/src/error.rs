//! What can go wrong in a use case.
use isula_core::error::{ErrorKind, PortError};
/// Why a use case failed. The message names the object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No container has this name, id or prefix of an id.
    #[error("no such container: {0}")]
    NoSuchContainer(String),
    /// Something outside the engine failed.
    #[error(transparent)]
    Port(#[from] PortError),
}
impl Error {
    /// The class of the error: it decides the gRPC code and the exit status of `isula`.
    #[must_use]
    pub fn kind(&self) -> ErrorKind { match self { Self::NoSuchContainer(_) => ErrorKind::NotFound, Self::Port(error) => error.kind() } }
}
