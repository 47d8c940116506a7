//! Opening connections: names, TCP, a proxy's CONNECT, TLS.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, ClientConfig, pki_types::ServerName},
};

use super::{
    error::ExchangeError,
    hosts::Connection,
    origin::{Origin, Scheme, bracketed},
    proxy::{Proxy, ProxyRules},
    settings::{Settings, Trust, TrustList},
    tls,
};

/// Longest answer of a proxy to CONNECT.
const PROXY_HEAD_LIMIT: usize = 16 * 1024;
/// How long a server that may speak plain http is given to answer the first TLS message.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// A connection's bytes.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that HTTP can be spoken on.
pub(super) struct Opened {
    pub(super) stream: Box<dyn Stream>,
    /// Set if requests must be written for a proxy (plain http alone; https goes through CONNECT).
    pub(super) proxy: Option<Proxy>,
}

/// What `hosts.toml` says of connections, by host and explicit port.
pub(super) struct Ways {
    registry: Origin,
    places: HashMap<(Box<str>, Option<u16>), (Connection, Scheme)>,
}

impl Ways {
    /// Nothing yet, for a pull from `registry`.
    pub(super) fn to(registry: Origin) -> Self {
        Self { registry, places: HashMap::new() }
    }

    pub(super) fn insert(&mut self, origin: &Origin, connection: Connection) {
        let key = (origin.host.clone(), origin.explicit_port());
        self.places.insert(key, (connection, origin.scheme));
    }

    fn get(&self, host: &str, port: Option<u16>) -> Option<&(Connection, Scheme)> {
        self.places.get(&(host.into(), port))
    }

    fn connection(&self, origin: &Origin) -> Option<&Connection> {
        self.get(&origin.host, origin.explicit_port()).map(|(connection, _)| connection)
    }
}

/// Opens connections as the settings say.
pub(super) struct Connector {
    settings: Arc<Settings>,
    trust: TrustList,
    proxies: ProxyRules,
    ways: Ways,
    /// Made once for each origin: reading a bundle of certificates takes milliseconds.
    tls: Mutex<HashMap<Origin, Arc<ClientConfig>>>,
}

impl Connector {
    pub(super) fn new(
        settings: Arc<Settings>,
        trust: TrustList,
        proxies: ProxyRules,
        ways: Ways,
    ) -> Self {
        Self { settings, trust, proxies, ways, tls: Mutex::default() }
    }

    /// Whoever writes `http://` or `skip_verify` into a `hosts.toml` has decided.
    pub(super) fn trust(&self, host: &str, port: Option<u16>) -> Trust {
        match self.ways.get(host, port) {
            Some((connection, scheme))
                if connection.skips_verification || *scheme == Scheme::Http =>
            {
                Trust::Insecure
            }
            _ => self.trust.trust(host, port),
        }
    }

    /// Opens a connection, all steps within the connect limit.
    pub(super) async fn open(&self, origin: &Origin) -> Result<Opened, ExchangeError> {
        let limit = self.ways.connection(origin).and_then(|way| way.limit);
        let limit = limit.unwrap_or(self.settings.limits.connect);
        let late = |_| ExchangeError::Connect {
            to: origin.authority(),
            source: io::ErrorKind::TimedOut.into(),
        };
        timeout(limit, self.open_unbounded(origin)).await.map_err(late)?
    }

    async fn open_unbounded(&self, origin: &Origin) -> Result<Opened, ExchangeError> {
        let proxy = self.proxies.proxy_for(origin).cloned();
        let mut stream = match &proxy {
            Some(proxy) => self.tcp(&proxy.host, proxy.port).await?,
            None => self.tcp(&origin.host, origin.port).await?,
        };
        if origin.scheme == Scheme::Http {
            return Ok(Opened { stream: Box::new(stream), proxy });
        }
        if let Some(proxy) = &proxy {
            tunnel(&mut stream, proxy, origin).await?;
        }
        let stream = self.handshake(stream, origin).await?;
        Ok(Opened { stream, proxy: None })
    }

    async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, ExchangeError> {
        let to = || format!("{}:{port}", bracketed(host));
        let look_up = |source| ExchangeError::LookUp { host: host.to_owned(), source };
        let addresses: Vec<SocketAddr> =
            tokio::net::lookup_host((host, port)).await.map_err(look_up)?.collect();
        // An address that swallows packets must not use up the time of the others.
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let share = self.settings.limits.connect / count;
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Requests are written whole; waiting for more would only delay them.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(ExchangeError::Connect { to: to(), source: failure })
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        origin: &Origin,
    ) -> Result<Box<dyn Stream>, ExchangeError> {
        let to = origin.authority();
        let trust = self.trust(&origin.host, origin.explicit_port());
        let configuration = self.configuration(origin, trust).await?;
        let name = ServerName::try_from(origin.host.to_string()).map_err(|error| {
            let source = io::Error::new(io::ErrorKind::InvalidInput, error);
            ExchangeError::Tls { to: to.clone(), source }
        })?;
        let handshake = TlsConnector::from(configuration).connect(name, stream);
        let limit = match trust {
            Trust::Verified => self.settings.limits.connect,
            Trust::Loopback | Trust::Insecure => PROBE_LIMIT.min(self.settings.limits.connect),
        };
        match timeout(limit, handshake).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(source)) if speaks_no_tls(&source) => Err(ExchangeError::NotTls { to, source }),
            Ok(Err(source)) => Err(match tls::refusal(&source) {
                Some(alert) => ExchangeError::Refused { to, alert },
                None => ExchangeError::Tls { to, source },
            }),
            Err(_) => Err(ExchangeError::NotTls { to, source: io::ErrorKind::TimedOut.into() }),
        }
    }

    async fn configuration(
        &self,
        origin: &Origin,
        trust: Trust,
    ) -> Result<Arc<ClientConfig>, ExchangeError> {
        let known = self.tls.lock().unwrap_or_else(PoisonError::into_inner).get(origin).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let (settings, wanted) = (Arc::clone(&self.settings), origin.clone());
        let registry = self.ways.registry.clone();
        let of_registry = self.ways.connection(&registry).cloned().unwrap_or_default();
        let way = self.ways.connection(origin).cloned();
        let made = move || {
            let sender = way.is_none().then_some((&registry, &of_registry));
            tls::configuration(&settings, (&wanted, &way.unwrap_or_default()), trust, sender)
        };
        let made = tokio::task::spawn_blocking(made).await;
        let made = made.map_err(|error| ExchangeError::Tls {
            to: origin.authority(),
            source: io::Error::other(error),
        })??;
        let made = Arc::new(made);
        let mut cache = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        cache.insert(origin.clone(), Arc::clone(&made));
        Ok(made)
    }
}

/// True if the other side answered with something that is no TLS, or hung up on ours.
fn speaks_no_tls(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(cause) => matches!(cause, rustls::Error::InvalidMessage(_)),
        None => matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
        ),
    }
}

/// Asks a proxy to connect to `origin` (RFC 9110 section 9.3.6).
async fn tunnel(
    stream: &mut TcpStream,
    proxy: &Proxy,
    origin: &Origin,
) -> Result<(), ExchangeError> {
    let at = format!("{}:{}", bracketed(&proxy.host), proxy.port);
    let broken = |source| ExchangeError::Connect { to: format!("proxy {at}"), source };
    let target = format!("{}:{}", bracketed(&origin.host), origin.port);
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(value) = proxy.authorization.as_ref().and_then(|value| value.to_str().ok()) {
        request.push_str("Proxy-Authorization: ");
        request.push_str(value);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;

    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= PROXY_HEAD_LIMIT {
            return Err(broken(io::Error::other("its answer is too long")));
        }
        // Byte by byte: what follows the head belongs to TLS.
        head.push(stream.read_u8().await.map_err(broken)?);
    }
    let status = proxy_status(&head);
    match status {
        Some(200..=299) => Ok(()),
        _ => Err(ExchangeError::Proxy { proxy: at, to: target, status }),
    }
}

/// The status of `HTTP/1.x NNN …`.
fn proxy_status(head: &[u8]) -> Option<u16> {
    let line = head.split(|&byte| byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::proxy_status;

    #[test]
    fn the_status_of_a_proxy_is_read_or_refused() {
        for (head, wanted) in [
            ("HTTP/1.1 200 Connection established\r\n\r\n", Some(200)),
            ("HTTP/1.0 407\r\nx: y\r\n\r\n", Some(407)),
            ("SSH-2.0\r\n\r\n", None),
            ("HTTP/1.1 abc\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(proxy_status(head.as_bytes()), wanted, "{head}");
        }
    }
}
