//! The kinds of error. The kind alone decides the gRPC code and the exit status of `isula`.

use std::fmt;

/// What class of thing went wrong, from the view of whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The object that was named does not exist.
    NotFound,
    /// The image that was named is not in the store (the client may pull it and ask again).
    ImageNotFound,
    /// The name or object exists already.
    AlreadyExists,
    /// The request itself is wrong, whatever the state of the engine.
    InvalidInput,
    /// The object's state does not allow it.
    WrongState,
    /// Something else uses the object.
    InUse,
    /// The peer refused our credentials or we refused the caller's.
    PermissionDenied,
    /// Something outside did not answer or broke off; asking again may help.
    Unavailable,
    /// A deadline passed.
    DeadlineExceeded,
    /// Disk, inodes, descriptors, memory or a configured limit ran out.
    ResourceExhausted,
    /// The command exists but can't be executed (exit status 126).
    NotExecutable,
    /// The command does not exist in the container (exit status 127).
    CommandNotFound,
    /// Known, but this build, kernel or runtime can't do it.
    Unsupported,
    /// Bytes from outside contradict their digest, size or format.
    Corrupt,
    /// The caller gave up.
    Cancelled,
    /// The engine's own fault, or an unexplained error of the system.
    Internal,
}

impl ErrorKind {
    /// All kinds with their stable names, as they travel in the API's `isula-error-kind` metadata.
    pub const NAMES: [(Self, &'static str); 16] = [
        (Self::NotFound, "not-found"),
        (Self::ImageNotFound, "image-not-found"),
        (Self::AlreadyExists, "already-exists"),
        (Self::InvalidInput, "invalid-input"),
        (Self::WrongState, "wrong-state"),
        (Self::InUse, "in-use"),
        (Self::PermissionDenied, "permission-denied"),
        (Self::Unavailable, "unavailable"),
        (Self::DeadlineExceeded, "deadline-exceeded"),
        (Self::ResourceExhausted, "resource-exhausted"),
        (Self::NotExecutable, "not-executable"),
        (Self::CommandNotFound, "command-not-found"),
        (Self::Unsupported, "unsupported"),
        (Self::Corrupt, "corrupt"),
        (Self::Cancelled, "cancelled"),
        (Self::Internal, "internal"),
    ];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map_or("internal", |(_, name)| name)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// An error of a port: what went wrong outside the engine. The text names the object and the
/// step; `source` carries the cause, which is not repeated in the text.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct PortError {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl PortError {
    /// An error without a deeper cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// An error with its cause.
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { kind, message: message.into(), source: Some(source.into()) }
    }

    /// An error of the operating system: `message` says what was done to which object; the kind
    /// follows from the error number (a full disk is `ResourceExhausted`, and so on).
    pub fn io(message: impl Into<String>, error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::AlreadyExists => ErrorKind::AlreadyExists,
            Io::PermissionDenied => ErrorKind::PermissionDenied,
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge | Io::OutOfMemory => {
                ErrorKind::ResourceExhausted
            }
            Io::TimedOut => ErrorKind::DeadlineExceeded,
            Io::ConnectionRefused
            | Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::BrokenPipe
            | Io::UnexpectedEof => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        };
        Self::with_source(kind, message, error)
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// The text of an error and of all its causes, joined by `: `, on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text.replace('\n', " ")
}
