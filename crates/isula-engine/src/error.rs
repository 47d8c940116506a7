//! What can go wrong in a use case.

use std::time::Duration;

use isula_core::{
    container::{FilterError, Invalid, TransitionError},
    error::{ErrorKind, PortError},
    id::{ContainerId, IdError},
    sandbox::{SandboxId, SandboxTransitionError},
    spec::SpecError,
    user::UserError,
};

/// Why a use case failed. The message names the object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No container has this name, id or prefix of an id.
    #[error("no such container: {0}")]
    NoSuchContainer(String),
    /// No sandbox has this id or prefix of an id.
    #[error("no such sandbox: {0}")]
    NoSuchSandbox(String),
    /// Another sandbox has the same metadata.
    #[error("the sandbox name {name:?} is already in use by sandbox {holder}")]
    SandboxTaken {
        /// Name, namespace and attempt.
        name: String,
        /// Who has it.
        holder: SandboxId,
    },
    /// The sandbox must be ready for this.
    #[error("sandbox {0} is not ready: it is {1}")]
    SandboxNotReady(String, &'static str),
    /// The state of the sandbox does not allow it.
    #[error("sandbox {id}: {source}")]
    SandboxTransition {
        /// The sandbox.
        id: SandboxId,
        /// What was tried in which state.
        #[source]
        source: SandboxTransitionError,
    },
    /// There is no runtime of this name.
    #[error("unknown runtime handler: {0}")]
    UnknownHandler(String),
    /// A control group in systemd's notation.
    #[error(
        "cgroup_parent {0}: a slice needs the systemd cgroup driver (systemd-cgroup), which is off"
    )]
    SystemdCgroup(String),
    /// A container of a sandbox is started once.
    #[error("container {0} is {1}: only a created one can be started")]
    NotCreated(String, &'static str),
    /// A process took too long and was killed.
    #[error("the command in container {container} timed out after {limit:?}")]
    ExecTimeout {
        /// The container.
        container: String,
        /// How long it might take.
        limit: Duration,
    },
    /// A process was killed for its output.
    #[error(
        "the command in container {container} was killed: the outputs of all commands that are \
         waited for take too much memory"
    )]
    OutputRoom {
        /// The container.
        container: String,
    },
    /// Several ids begin so.
    #[error("multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
    /// Another container has the name.
    #[error("the container name {name:?} is already in use by container {holder}")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        holder: ContainerId,
    },
    /// The text is no name.
    #[error(transparent)]
    Name(#[from] IdError),
    /// The request is wrong, whatever the state of the engine.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The user or a group is not what the container's files know.
    #[error(transparent)]
    User(#[from] UserError),
    /// The container can't become a spec.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A filter can't be used.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The state of the container does not allow it.
    #[error("{name}: {source}")]
    Transition {
        /// The container.
        name: String,
        /// What was tried in which state.
        #[source]
        source: TransitionError,
    },
    /// The container must run for this.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The container must not be paused for this.
    #[error("container {0} is paused: unpause it first")]
    Paused(String),
    /// The container must be stopped first.
    #[error("cannot remove container {0}: it is {1}: stop it first, or force the removal")]
    StillRunning(String, &'static str),
    /// No network has this name.
    #[error("no such network: {0}")]
    NoSuchNetwork(String),
    /// Another container has the port of the host.
    #[error("{object}: port {port} of the host is in use by container {holder}")]
    PortTaken {
        /// The container.
        object: String,
        /// The port.
        port: u16,
        /// Who has it.
        holder: String,
    },
    /// A namespace that is to be joined is not there.
    #[error("cannot join the {namespace} namespace of container {container}: it is not running")]
    Join {
        /// Which namespace.
        namespace: &'static str,
        /// Whose.
        container: String,
    },
    /// Its log is not kept where it could be read.
    #[error("container {0} has the log driver none: nothing can be read")]
    NoLog(String),
    /// Something outside the engine failed.
    #[error("{object}: cannot {action}")]
    Port {
        /// The container.
        object: String,
        /// What could not be done.
        action: &'static str,
        /// Why.
        source: PortError,
    },
    /// Something outside the engine did not answer in time.
    #[error("{object}: cannot {action}: no answer within {seconds} s")]
    Deadline {
        /// The container.
        object: String,
        /// What could not be done.
        action: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The image store failed; the message names the image.
    #[error(transparent)]
    Store(#[from] PortError),
}

impl Error {
    /// The class of the error: it decides the gRPC code and the exit status of `isula`.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchContainer(_) | Self::NoSuchSandbox(_) | Self::NoSuchNetwork(_) => {
                ErrorKind::NotFound
            }
            Self::PortTaken { .. } => ErrorKind::InUse,
            Self::NameTaken { .. } | Self::SandboxTaken { .. } => ErrorKind::AlreadyExists,
            Self::Ambiguous(_)
            | Self::UnknownHandler(_)
            | Self::Name(_)
            | Self::User(_)
            | Self::Filter(_) => ErrorKind::InvalidInput,
            Self::Invalid(error) => error.kind(),
            Self::Spec(error) => error.kind(),
            Self::Transition { .. }
            | Self::NotRunning(_)
            | Self::SandboxTransition { .. }
            | Self::SandboxNotReady(..)
            | Self::NotCreated(..)
            | Self::Paused(_)
            | Self::Join { .. }
            | Self::StillRunning(..) => ErrorKind::WrongState,
            Self::NoLog(_) | Self::SystemdCgroup(_) => ErrorKind::Unsupported,
            Self::Port { source, .. } | Self::Store(source) => source.kind(),
            Self::OutputRoom { .. } => ErrorKind::ResourceExhausted,
            Self::Deadline { .. } | Self::ExecTimeout { .. } => ErrorKind::DeadlineExceeded,
        }
    }

    /// The exit status that a container has which could not be started for this (Docker's: 127 no
    /// such command, 126 no executable one, 128 anything else).
    pub(crate) fn start_code(&self) -> i32 {
        match self.kind() {
            ErrorKind::CommandNotFound => 127,
            ErrorKind::NotExecutable => 126,
            _ => 128,
        }
    }
}
