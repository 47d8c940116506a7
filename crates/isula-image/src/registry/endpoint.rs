//! Where a reference may be pulled from: mirrors and the registry itself.

use isula_core::{image::Reference, ports::Credentials};
use tokio::sync::{Mutex, OnceCell};

use super::{
    auth_file,
    authorization::Authorization,
    connect::Connector,
    error::{Error, ExchangeError},
    exchange::Exchange,
    origin::{Origin, Scheme, split_authority},
    settings::{Mirror, Settings, Trust},
};

/// The name in references of Docker's registry, and its host.
pub(super) const HUB: &str = "docker.io";
pub(super) const HUB_HOST: &str = "registry-1.docker.io";

/// One place to pull from.
pub(super) struct Endpoint {
    /// As the user knows it.
    pub(super) name: String,
    /// What goes before `/v2/`.
    pub(super) prefix: String,
    pub(super) trust: Trust,
    pub(super) credentials: Option<Credentials>,
    pub(super) authorization: Mutex<Authorization>,
    scheme: Option<Scheme>,
    host: String,
    port: Option<u16>,
    origin: OnceCell<Origin>,
}

impl Endpoint {
    /// The endpoints of a reference in the order in which they are tried; never none.
    pub(super) fn all(
        reference: &Reference,
        credentials: Option<Credentials>,
        settings: &Settings,
        mirrors: &[Mirror],
        connector: &Connector,
    ) -> Result<Vec<Self>, Error> {
        let registry = reference.registry();
        let stored = |name: &str| match &settings.auth_file {
            Some(path) => auth_file::credentials(path, name),
            None => Ok(None),
        };
        let mut endpoints = Vec::new();
        if registry == HUB {
            for mirror in mirrors {
                let mut endpoint = Self::new(&mirror.host, mirror.port, connector);
                endpoint.scheme = mirror.scheme;
                endpoint.prefix.clone_from(&mirror.prefix);
                // The request's credentials are for the registry, not for its mirrors.
                endpoint.credentials = stored(&endpoint.name)?;
                endpoints.push(endpoint);
            }
        }
        let (host, port) = match registry {
            HUB => (HUB_HOST, None),
            // A `Reference` has a well-formed registry.
            other => split_authority(other).unwrap_or((other, None)),
        };
        let mut own = Self::new(host, port, connector);
        registry.clone_into(&mut own.name);
        own.credentials = match credentials {
            Some(credentials) => Some(credentials),
            None => stored(registry)?,
        };
        endpoints.push(own);
        Ok(endpoints)
    }

    fn new(host: &str, port: Option<u16>, connector: &Connector) -> Self {
        let host = host.to_ascii_lowercase();
        Self {
            name: Origin::new(Scheme::Https, &host, port).authority(),
            prefix: String::new(),
            trust: connector.trust(&host, port),
            credentials: None,
            authorization: Mutex::default(),
            scheme: None,
            host,
            port,
            origin: OnceCell::new(),
        }
    }

    /// Its origin. Where plain http is allowed, https is tried first, and what answered is
    /// remembered for this pull.
    pub(super) async fn origin(&self, exchange: &Exchange) -> Result<&Origin, ExchangeError> {
        self.origin.get_or_try_init(|| self.find_origin(exchange)).await
    }

    /// Its origin, if a request has found it.
    pub(super) fn known_origin(&self) -> Option<&Origin> {
        self.origin.get()
    }

    async fn find_origin(&self, exchange: &Exchange) -> Result<Origin, ExchangeError> {
        let with = |scheme| Origin::new(scheme, &self.host, self.port);
        let https = with(Scheme::Https);
        match (self.scheme, self.trust) {
            (Some(scheme), _) => return Ok(with(scheme)),
            (None, Trust::Verified) => return Ok(https),
            (None, Trust::Loopback | Trust::Insecure) => {}
        }
        match exchange.prepare(&https).await {
            Ok(()) => Ok(https),
            // With a port of its own it is the same port that refuses.
            Err(error @ ExchangeError::Connect { .. }) if self.port.is_some() => Err(error),
            // A certificate that fails is no reason to go on without one.
            Err(
                ExchangeError::Connect { .. }
                | ExchangeError::Proxy { .. }
                | ExchangeError::NotTls { .. },
            ) => Ok(with(Scheme::Http)),
            Err(error) => Err(error),
        }
    }
}
