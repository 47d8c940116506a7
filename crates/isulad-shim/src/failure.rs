//! Failures as the daemon is told of them.

use std::io;

use crate::protocol::{Failure, FailureKind};

/// The failure of a step of ours.
pub fn failure(what: &str, error: &io::Error) -> Failure {
    let mut text = String::from("cannot ");
    text.push_str(what);
    text.push_str(": ");
    text.push_str(&isula_sys::errno::describe(error));
    Failure { kind: FailureKind::Other, text }
}

/// The failure of a step of the runtime.
pub fn refused(error: &lcr::StartError) -> Failure {
    let kind = match error.exit_code() {
        127 => FailureKind::CommandNotFound,
        126 => FailureKind::NotExecutable,
        _ => FailureKind::Other,
    };
    Failure { kind, text: error.to_string() }
}

/// A failure with a text of its own.
pub fn other(text: impl Into<String>) -> Failure {
    Failure { kind: FailureKind::Other, text: text.into() }
}

/// The container is not in the state for it.
pub fn wrong_state(text: &str) -> Failure {
    Failure { kind: FailureKind::WrongState, text: text.to_owned() }
}
