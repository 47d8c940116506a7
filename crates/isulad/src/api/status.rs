//! Errors as a client sees them: the kind alone decides the code.

use isula_core::error::{ErrorKind, chain};
use tonic::{Code, Status, metadata::MetadataValue};

/// The response metadata that carries the kind's name.
const KIND: &str = "isula-error-kind";

/// The message travels in a header, whose length clients bound.
const MESSAGE: usize = 4 << 10;

/// The status of an error of the engine.
pub(crate) fn of(error: &isula_engine::Error) -> Status {
    new(error.kind(), chain(error))
}

/// The status of a request that is wrong in itself.
pub(crate) fn invalid(message: impl Into<String>) -> Status {
    new(ErrorKind::InvalidInput, message.into())
}

fn new(kind: ErrorKind, mut message: String) -> Status {
    if message.len() > MESSAGE {
        let end = (0..=MESSAGE).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    tracing::debug!(%kind, message, "refused");
    let mut status = Status::new(code(kind), message);
    status.metadata_mut().insert(KIND, MetadataValue::from_static(kind.name()));
    status
}

fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::NotFound | ErrorKind::ImageNotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::InvalidInput => Code::InvalidArgument,
        ErrorKind::WrongState
        | ErrorKind::InUse
        | ErrorKind::NotExecutable
        | ErrorKind::CommandNotFound => Code::FailedPrecondition,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::Unsupported => Code::Unimplemented,
        ErrorKind::Corrupt => Code::DataLoss,
        ErrorKind::Cancelled => Code::Cancelled,
        _ => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::{KIND, MESSAGE, new};
    use isula_core::error::ErrorKind;
    use tonic::Code;

    #[test]
    fn every_kind_travels_by_its_name() {
        for (kind, name) in ErrorKind::NAMES {
            let status = new(kind, "x".to_owned());
            assert_eq!(status.metadata().get(KIND).unwrap(), name);
            assert_ne!(status.code(), Code::Ok);
            assert_eq!(status.code() == Code::Internal, kind == ErrorKind::Internal, "{name}");
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let status = new(ErrorKind::Internal, "ü".repeat(MESSAGE));
        assert!(status.message().len() <= MESSAGE + '…'.len_utf8());
        assert!(status.message().ends_with("ü…"));
    }
}
