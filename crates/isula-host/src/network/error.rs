//! What goes wrong with networks.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use isula_core::error::{ErrorKind, PortError};

/// Why something could not be done with a network.
#[derive(Debug, thiserror::Error)]
pub(super) enum NetworkError {
    /// No conflist has this name.
    #[error("no such network: {0}")]
    NoSuchNetwork(String),
    /// There is no conflist at all.
    #[error("no network is configured in {}", .0.display())]
    NoneConfigured(PathBuf),
    /// There are files, but none is right; the text is the first one's.
    #[error("{}: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It is attached already.
    #[error("{interface} of {id} is attached to network {network} already")]
    Attached {
        /// Whose namespace.
        id: String,
        /// The interface in there.
        interface: String,
        /// The network.
        network: String,
    },
    /// Nothing is known of the attachment.
    #[error("{interface} of {id} is not attached")]
    NotAttached {
        /// Whose namespace.
        id: String,
        /// The interface in there.
        interface: String,
    },
    /// No program of that type is there.
    #[error("network plugin {plugin} is not in {directories}")]
    NoPlugin {
        /// Its type.
        plugin: String,
        /// Where it was looked for.
        directories: String,
    },
    /// A plugin said no; the message is its own.
    #[error("network plugin {plugin} failed ({command}): {message}")]
    Plugin {
        /// Its type.
        plugin: String,
        /// What it was to do.
        command: &'static str,
        /// CNI's code of the error; 0 when it gave none.
        code: u32,
        /// Its words.
        message: String,
    },
    /// A plugin did not end.
    #[error("network plugin {plugin} did not end in time ({command})")]
    Deadline {
        /// Its type.
        plugin: String,
        /// What it was to do.
        command: &'static str,
    },
    /// A plugin knows only other versions.
    #[error("network plugin {plugin} does not know CNI version {version}, only {known}")]
    Version {
        /// Its type.
        plugin: String,
        /// The version of the network.
        version: String,
        /// The versions of the plugin.
        known: String,
    },
    /// The system refused something.
    #[error("{action} {object}")]
    Io {
        /// What could not be done.
        action: &'static str,
        /// To what.
        object: String,
        /// Why.
        source: io::Error,
    },
    /// A process of the host has the port.
    #[error("port {0} of the host is in use")]
    PortTaken(SocketAddr),
    /// The port can't be had.
    #[error("port {0} of the host can't be published")]
    Port(SocketAddr, #[source] io::Error),
    /// Several failures of one clean-up.
    #[error("{}", .0.iter().map(|e| isula_core::error::chain(e)).collect::<Vec<_>>().join("; "))]
    Several(Vec<NetworkError>),
}

impl NetworkError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, object: path.display().to_string(), source }
    }

    /// Nothing, the one failure, or all of them.
    pub(super) fn all(mut failures: Vec<Self>) -> Result<(), Self> {
        match (failures.pop(), failures.is_empty()) {
            (None, _) => Ok(()),
            (Some(only), true) => Err(only),
            (Some(last), false) => {
                failures.push(last);
                Err(Self::Several(failures))
            }
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchNetwork(_) | Self::NotAttached { .. } | Self::NoPlugin { .. } => {
                ErrorKind::NotFound
            }
            Self::NoneConfigured(_) => ErrorKind::Unavailable,
            Self::Config { .. } | Self::Invalid(_) => ErrorKind::InvalidInput,
            Self::Attached { .. } => ErrorKind::AlreadyExists,
            Self::PortTaken(_) => ErrorKind::InUse,
            Self::Plugin { code, .. } => match code {
                1 | 2 => ErrorKind::Unsupported,
                3 => ErrorKind::NotFound,
                4 | 6 | 7 => ErrorKind::InvalidInput,
                11 | 50 | 51 => ErrorKind::Unavailable,
                _ => ErrorKind::Internal,
            },
            Self::Deadline { .. } => ErrorKind::DeadlineExceeded,
            Self::Version { .. } => ErrorKind::Unsupported,
            Self::Io { .. } | Self::Port(..) => ErrorKind::Internal,
            Self::Several(failures) => failures.first().map_or(ErrorKind::Internal, Self::kind),
        }
    }
}

impl From<NetworkError> for PortError {
    fn from(error: NetworkError) -> Self {
        match error {
            NetworkError::Io { action, object, source } => {
                Self::io(format!("{action} {object}"), source)
            }
            NetworkError::Port(address, source) => {
                Self::io(format!("port {address} of the host can't be published"), source)
            }
            other => Self::new(other.kind(), other.to_string()),
        }
    }
}
