//! Why a layer was not unpacked.

use std::io;

use isula_core::error::{ErrorKind, PortError};

use crate::{archive, error::from_io};

/// Why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The archive itself is malformed or can't be read.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// An entry asks for what no layer may do.
    #[error("entry {entry:?} is refused: {why}")]
    Refused { entry: String, why: &'static str },
    /// The file system said no.
    #[error("cannot unpack {entry:?}")]
    Write { entry: String, source: io::Error },
}

impl Error {
    pub(super) fn refused(entry: &[u8], why: &'static str) -> Self {
        Self::Refused { entry: shown(entry), why }
    }

    pub(super) fn write(entry: &[u8], source: io::Error) -> Self {
        Self::Write { entry: shown(entry), source }
    }
}

fn shown(entry: &[u8]) -> String {
    String::from_utf8_lossy(entry.get(..200).unwrap_or(entry)).into_owned()
}

impl From<archive::Error> for PortError {
    fn from(error: archive::Error) -> Self {
        match error {
            archive::Error::Read(source) => from_io("cannot read the archive", source),
            error => Self::new(ErrorKind::Corrupt, error.to_string()),
        }
    }
}

impl From<Error> for PortError {
    fn from(error: Error) -> Self {
        match error {
            Error::Archive(error) => error.into(),
            Error::Refused { .. } => Self::new(ErrorKind::Corrupt, error.to_string()),
            Error::Write { entry, source } => {
                let message = format!("cannot unpack {entry:?}");
                match source.kind() {
                    // The layer's own names make it impossible; the disk is not to blame.
                    io::ErrorKind::NotADirectory
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::NotFound
                    | io::ErrorKind::AlreadyExists
                    | io::ErrorKind::InvalidFilename
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::CrossesDevices => {
                        Self::with_source(ErrorKind::Corrupt, message, source)
                    }
                    _ if is_loop(&source) => Self::with_source(ErrorKind::Corrupt, message, source),
                    _ => Self::io(message, source),
                }
            }
        }
    }
}

fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(isula_sys::beneath::ELOOP)
}
