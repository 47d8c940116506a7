//! From the errors of readers and parsers to those of the ports.

use std::io;

use isula_core::error::{ErrorKind, PortError};

/// Bytes from outside that contradict their digest, size or format.
pub(crate) fn corrupt(message: impl Into<String>) -> PortError {
    PortError::new(ErrorKind::Corrupt, message)
}

/// An error of reading bytes that came from outside. A [`PortError`] that the reader wrapped (the
/// registry client's, say) comes out unchanged; malformed or cut-off bytes are `Corrupt`.
#[must_use]
pub fn from_io(message: &str, error: io::Error) -> PortError {
    let kind = error.kind();
    match error.downcast::<PortError>() {
        Ok(inner) => inner,
        Err(error) => match kind {
            io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::UnexpectedEof => {
                PortError::with_source(ErrorKind::Corrupt, message, error)
            }
            _ => PortError::io(message, error),
        },
    }
}
