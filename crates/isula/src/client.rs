//! The connection to the daemon: one unix socket, opened when a command first needs it.

use std::io;
use std::sync::{Mutex, PoisonError};

use hyper_util::rt::TokioIo;
use isula_api::v1::containers_client::ContainersClient;
use isula_api::v1::images_client::ImagesClient;
use isula_api::v1::storage_client::StorageClient;
use isula_api::v1::system_client::SystemClient;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::error::Failure;

/// Where the daemon listens if nobody says otherwise.
pub const DEFAULT_HOST: &str = "unix:///run/isulad/isulad.sock";

/// The largest answer that is accepted: a list of a hundred thousand containers fits.
const LARGEST_ANSWER: usize = 256 << 20;

/// Where the daemon listens: `--host`, `ISULAD_HOST`, `ISULA_HOST` or the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// Reads `unix:///path`.
    ///
    /// # Errors
    /// Other protocols, relative paths.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self(path.to_owned())),
            Some(("unix", _)) => {
                Err(Failure::local(format!("invalid host {text:?}: the path must be absolute")))
            }
            Some(("tcp", _)) => Err(Failure::local(format!(
                "invalid host {text:?}: only unix sockets are supported in this version"
            ))),
            _ => Err(Failure::local(format!("invalid host {text:?}: it must begin with unix://"))),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "unix://{}", self.0)
    }
}

/// The daemon's services over one connection.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`Failure::Connect`] that says whether the daemon does not run or may not be spoken to.
    pub async fn connect(address: &Address) -> Result<Self, Failure> {
        let stream = UnixStream::connect(&address.0).await.map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    "is isulad running?".to_owned()
                }
                io::ErrorKind::PermissionDenied => {
                    "permission denied: are you root or in the group isula?".to_owned()
                }
                _ => error.to_string(),
            };
            Failure::Connect { address: address.to_string(), reason }
        })?;
        // The socket is there already, so what fails is told apart above; the channel gets it once.
        let once = Mutex::new(Some(TokioIo::new(stream)));
        let connector = tower::service_fn(move |_| {
            let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
            let lost = || io::Error::new(io::ErrorKind::NotConnected, "the connection was lost");
            async move { stream.ok_or_else(lost) }
        });
        // The name is that of no host: no resolver ever sees it.
        let channel = Endpoint::from_static("http://isulad").connect_with_connector_lazy(connector);
        Ok(Self { channel })
    }

    /// Containers.
    #[must_use]
    pub fn containers(&self) -> ContainersClient<Channel> {
        ContainersClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Images.
    #[must_use]
    pub fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// What is stored.
    #[must_use]
    pub fn storage(&self) -> StorageClient<Channel> {
        StorageClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// The engine itself.
    #[must_use]
    pub fn system(&self) -> SystemClient<Channel> {
        SystemClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, DEFAULT_HOST};

    #[test]
    fn an_address_is_a_unix_socket() {
        assert_eq!(Address::parse(DEFAULT_HOST).unwrap().to_string(), DEFAULT_HOST);
        for text in ["tcp://127.0.0.1:1", "unix://x", "/run/x", "", "unix:/x", "http://x"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
