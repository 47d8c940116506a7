//! Errors on the wire: the kind alone decides the gRPC code, and travels beside it by name.

use isula_core::error::{ErrorKind, chain};
use isula_engine::Error;
use tonic::{Code, Status, metadata::MetadataValue};

/// Response metadata that holds the name of the [`ErrorKind`].
const KIND: &str = "isula-error-kind";

/// What a service method gives back.
pub type Answer<T> = Result<tonic::Response<T>, Status>;

/// The status for an error of the engine.
#[must_use]
pub fn refuse(error: &Error) -> Status {
    status(error.kind(), &chain(error))
}

/// The status for a request that can't even be understood.
#[must_use]
pub fn invalid(message: impl AsRef<str>) -> Status {
    status(ErrorKind::InvalidInput, message.as_ref())
}

/// The status for a kind of error and a message.
#[must_use]
pub fn status(kind: ErrorKind, message: &str) -> Status {
    let mut status = Status::new(code(kind), message);
    status.metadata_mut().insert(KIND, MetadataValue::from_static(kind.name()));
    status
}

fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::NotFound | ErrorKind::ImageNotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::InvalidInput | ErrorKind::NotExecutable | ErrorKind::CommandNotFound => {
            Code::InvalidArgument
        }
        ErrorKind::WrongState | ErrorKind::InUse => Code::FailedPrecondition,
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
    use super::status;
    use isula_core::error::ErrorKind;

    #[test]
    fn every_kind_travels_by_name() {
        for (kind, name) in ErrorKind::NAMES {
            let status = status(kind, "x: y");
            let sent = status.metadata().get("isula-error-kind").unwrap();
            assert_eq!(sent.to_str().unwrap(), name);
            assert_ne!(status.code(), tonic::Code::Ok);
        }
    }
}
