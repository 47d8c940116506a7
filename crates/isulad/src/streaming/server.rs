//! The listener, and the URLs it is reached by.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    call::Call,
    http,
    request::{AttachRequest, Backend, Duplex, ExecRequest, PortForwardRequest, Streams},
    tls,
    tokens::{Remote, Request, Tokens},
};

/// Connections that have not shown a token yet. The oldest makes room for a new one, so that those
/// who connect and say nothing keep nobody out.
const STRANGERS_MAX: usize = 128;
/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long nothing is accepted after the system has refused a connection (no descriptors left).
const PAUSE: Duration = Duration::from_millis(100);
/// Ports that have a pair of channels each, whose numbers are bytes.
const PORTS_MAX: usize = 127;

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
    /// The kernel gave no random bytes.
    #[error("the kernel gave no random bytes for a token")]
    NoRandomness,
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
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    idle: Duration,
    backend: Arc<dyn Backend>,
    tokens: Tokens,
    strangers: Strangers,
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
        let address = options.address;
        let tls = options.tls.as_ref().map(tls::acceptor).transpose()?;
        let cannot = |source| StreamingError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let (tokens, strangers, idle) = (Tokens::default(), Strangers::default(), options.idle);
        Ok(Arc::new(Self { listener, address, tls, idle, backend, tokens, strangers }))
    }

    /// Where it listens.
    #[cfg(test)]
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the future is dropped; that also ends the sessions.
    pub async fn serve(self: Arc<Self>) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        self.strangers.admit(|number| {
                            connections.spawn(Arc::clone(&self).connection(stream, number))
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a streaming connection");
                        sleep(PAUSE).await;
                    }
                },
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, number: u64) {
        // Keystrokes must not wait for each other. A failure costs only time.
        let _ = stream.set_nodelay(true);
        let stream: Box<dyn Duplex> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => match timeout(HANDSHAKE, tls.accept(stream)).await {
                Ok(Ok(stream)) => Box::new(stream),
                // A stranger who speaks no TLS is nobody's business.
                _ => return,
            },
        };
        let upgraded =
            http::upgrade(stream, |door, token| self.tokens.take(Instant::now(), door, token))
                .await;
        self.strangers.remove(number);
        if let Some(upgraded) = upgraded {
            let call = Arc::new(Call::new(Arc::clone(&self.backend), self.idle));
            Box::pin(upgraded.serve(call)).await;
        }
    }

    fn url(&self, request: Request) -> Result<String, StreamingError> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let (address, door) = (self.address, request.door());
        let token = self.tokens.issue(Instant::now(), request)?;
        Ok(format!("{scheme}://{address}/{}/{token}", door.word()))
    }

    /// A URL that runs the command for the one who connects to it first.
    ///
    /// # Errors
    /// No stream, no command, a terminal with a separate stderr; too many URLs are unused.
    pub fn exec_url(&self, request: ExecRequest) -> Result<String, StreamingError> {
        check(request.streams)?;
        if request.command.is_empty() {
            return Err(StreamingError::Invalid("a command must be given"));
        }
        self.url(Request::Remote(Remote::Exec(request)))
    }

    /// A URL that attaches the one who connects to it first.
    ///
    /// # Errors
    /// No stream, a terminal with a separate stderr; too many URLs are unused.
    pub fn attach_url(&self, request: AttachRequest) -> Result<String, StreamingError> {
        check(request.streams)?;
        self.url(Request::Remote(Remote::Attach(request)))
    }

    /// A URL that forwards ports for the one who connects to it first.
    ///
    /// # Errors
    /// A port is 0, or there are more than 127; too many URLs are unused.
    pub fn port_forward_url(&self, request: PortForwardRequest) -> Result<String, StreamingError> {
        if request.ports.contains(&0) {
            return Err(StreamingError::Invalid("port 0 can't be forwarded"));
        }
        if request.ports.len() > PORTS_MAX {
            return Err(StreamingError::Invalid("more than 127 ports can't be forwarded at once"));
        }
        self.url(Request::Forward(request))
    }
}

fn check(streams: Streams) -> Result<(), StreamingError> {
    if streams.tty && streams.stderr {
        return Err(StreamingError::Invalid("tty and stderr cannot both be true"));
    }
    if !(streams.stdin || streams.stdout || streams.stderr) {
        return Err(StreamingError::Invalid("one of stdin, stdout, or stderr must be set"));
    }
    Ok(())
}

/// Connections that have not shown a token yet, the oldest first.
#[derive(Debug, Default)]
struct Strangers(Mutex<(u64, VecDeque<(u64, AbortHandle)>)>);

impl Strangers {
    /// The task can't leave the list before it is on it: that needs the lock.
    fn admit(&self, spawn: impl FnOnce(u64) -> AbortHandle) {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inside.1.retain(|(_, task)| !task.is_finished());
        if inside.1.len() >= STRANGERS_MAX
            && let Some((_, oldest)) = inside.1.pop_front()
        {
            oldest.abort();
        }
        inside.0 += 1;
        let number = inside.0;
        inside.1.push_back((number, spawn(number)));
    }

    fn remove(&self, number: u64) {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inside.1.retain(|(other, _)| *other != number);
    }
}
