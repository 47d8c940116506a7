//! Why a command failed, the one line that says so, and the exit status.
//!
//! | what | `run`, `create`, `exec` | other commands |
//! |---|---|---|
//! | unknown command, or one that this version does not have | 1 | 1 |
//! | wrong flags or arguments | 125 | 125 |
//! | the engine refused or failed, or can't be reached | 125 | 1 |
//! | the command can't be executed, is not found | 126, 127 | 1 |
//! | the process ended | its status, 128+n after signal n | 0 |
//! | interrupted by Ctrl-C | 130 | 130 |
//! | the reader of our output went away | 141 | 141 |

use std::io;

use tonic::Status;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Wrong flags or arguments; the hint names the command's help.
    #[error("{message}\nSee '{command} --help'.")]
    Usage {
        /// `isula run`.
        command: String,
        /// What is wrong.
        message: String,
    },
    /// There is no such command.
    #[error("isula: command \"{0}\" not found\nSee 'isula --help'.")]
    UnknownCommand(String),
    /// A command of the seed that is not built yet.
    #[error("isula {0}: not available in this version")]
    NotAvailable(String),
    /// No daemon answers.
    #[error("Cannot connect to the isulad daemon at {address}: {reason}")]
    Connect {
        /// `unix:///run/isulad/isulad.sock`.
        address: String,
        /// Why, as a question where it is likely that it does not run.
        reason: String,
    },
    /// The daemon refused or failed.
    #[error("Error response from daemon: {message}")]
    Daemon {
        /// Its words.
        message: String,
        /// The name of the kind of error (`isula-error-kind`), empty if it sent none.
        kind: String,
    },
    /// Something on this side failed.
    #[error("{0}")]
    Local(String),
    /// Our output can't be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    /// A signal asked the command to stop.
    #[error("interrupted")]
    Interrupted(u8),
    /// Some of several objects failed; the errors are told already.
    #[error("")]
    Told(u8),
}

/// What a command ends with: an exit status or why it failed.
pub type Outcome = Result<u8, Failure>;

/// What happens when the reader of a pipe goes away: 128 + SIGPIPE.
const BROKEN_PIPE: u8 = 141;

impl Failure {
    /// Wrong flags or arguments of a command.
    pub fn usage(command: &str, message: impl Into<String>) -> Self {
        let command = format!("isula {command}").trim_end().to_owned();
        Self::Usage { command, message: message.into() }
    }

    /// Something on this side failed.
    pub fn local(message: impl Into<String>) -> Self {
        Self::Local(message.into())
    }

    /// Whether the daemon said that it is this kind of error.
    #[must_use]
    pub fn is_kind(&self, name: &str) -> bool {
        matches!(self, Self::Daemon { kind, .. } if kind == name)
    }

    /// The exit status; `runs` says that the command's own status is that of a process.
    #[must_use]
    pub fn status(&self, runs: bool) -> u8 {
        match self {
            Self::Usage { .. } => 125,
            Self::UnknownCommand(_) | Self::NotAvailable(_) => 1,
            Self::Daemon { kind, .. } if runs && kind == "not-executable" => 126,
            Self::Daemon { kind, .. } if runs && kind == "command-not-found" => 127,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => BROKEN_PIPE,
            Self::Interrupted(status) | Self::Told(status) => *status,
            Self::Connect { .. } | Self::Daemon { .. } | Self::Local(_) | Self::Output(_) => {
                if runs { 125 } else { 1 }
            }
        }
    }

    /// Whether there is something to tell the user.
    #[must_use]
    pub fn speaks(&self) -> bool {
        match self {
            Self::Told(_) | Self::Interrupted(_) => false,
            Self::Output(error) => error.kind() != io::ErrorKind::BrokenPipe,
            _ => true,
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let kind = status.metadata().get("isula-error-kind");
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        // The daemon names the kind of each of its errors; a cause is known only of what happened
        // on this side, which is the connection.
        let here = std::error::Error::source(&status).is_some();
        if kind.is_empty() && (here || status.code() == tonic::Code::Unavailable) {
            return Self::local("the connection to the isulad daemon was lost");
        }
        // One line: what a message quotes may hold newlines or drive the terminal.
        let visible = |c: char| if c == '\n' || c == '\t' || c.is_control() { ' ' } else { c };
        Self::Daemon { message: status.message().chars().map(visible).collect(), kind }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(kind: &str) -> Failure {
        let mut status = Status::not_found("no such\ncontainer: x\u{1b}[2J");
        if !kind.is_empty() {
            status.metadata_mut().insert("isula-error-kind", kind.parse().unwrap());
        }
        status.into()
    }

    #[test]
    fn the_kind_decides_the_status() {
        let table = [
            (daemon("not-found"), 125, 1),
            (daemon("not-executable"), 126, 1),
            (daemon("command-not-found"), 127, 1),
            (daemon(""), 125, 1),
            (Failure::usage("run", "x"), 125, 125),
            (Failure::UnknownCommand("x".into()), 1, 1),
            (Failure::local("x"), 125, 1),
            (Failure::Output(io::ErrorKind::BrokenPipe.into()), 141, 141),
            (Failure::Interrupted(130), 130, 130),
        ];
        for (failure, runs, other) in table {
            assert_eq!((failure.status(true), failure.status(false)), (runs, other), "{failure:?}");
        }
    }

    #[test]
    fn a_daemons_error_is_one_harmless_line() {
        let text = daemon("not-found").to_string();
        assert_eq!(text, "Error response from daemon: no such container: x [2J");
    }

    #[test]
    fn a_broken_connection_is_no_answer_of_the_daemon() {
        let failure = Failure::from(Status::unavailable("broken pipe"));
        assert_eq!(failure.to_string(), "the connection to the isulad daemon was lost");
    }
}
