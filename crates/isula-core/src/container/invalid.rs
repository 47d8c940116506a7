//! Why a request to make a container is refused, whatever the state of the engine.

use crate::{cdi::CdiNameError, error::ErrorKind, user::UserError};

/// What is wrong with a request. Each message names the option and the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// Neither the request nor the image says what to run.
    #[error("no command specified")]
    NoCommand,
    /// Neither an image nor a directory to run from.
    #[error("no image specified")]
    NoSource,
    /// A value that can't be accepted.
    #[error("invalid {field} {value:?}: {why}")]
    Value {
        /// The option, named as on the command line without dashes.
        field: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// Two options that exclude each other.
    #[error("conflicting options: {0} and {1}")]
    Conflict(&'static str, &'static str),
    /// Known, but not possible here.
    #[error("{field} {value:?} is not supported: {why}")]
    Unsupported {
        /// The option.
        field: &'static str,
        /// What was given.
        value: String,
        /// What is missing.
        why: &'static str,
    },
    /// The user or one of the groups.
    #[error(transparent)]
    User(#[from] UserError),
    /// The name of a device.
    #[error(transparent)]
    Cdi(#[from] CdiNameError),
}

impl Invalid {
    /// A value that can't be accepted.
    pub fn value(field: &'static str, value: impl ToString, why: impl Into<String>) -> Self {
        Self::Value { field, value: value.to_string(), why: why.into() }
    }

    /// The class of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::InvalidInput,
        }
    }
}
