//! Where a reference may be pulled from: mirrors and the registry itself.

use http::HeaderMap;
use isula_core::{image::Reference, ports::Credentials};
use tokio::sync::{Mutex, OnceCell};

use super::{
    authorization::Authorization,
    connect::Connector,
    error::ExchangeError,
    exchange::Exchange,
    hosts::{Hosts, Place},
    origin::{Origin, Scheme, split_authority},
    settings::{Mirror, Trust},
};

/// The name in references of Docker's registry, and its host.
pub(super) const HUB: &str = "docker.io";
pub(super) const HUB_HOST: &str = "registry-1.docker.io";

/// One place to pull from.
pub(super) struct Endpoint {
    /// As the user knows it.
    pub(super) name: String,
    /// May be asked what a tag means.
    pub(super) resolves: bool,
    /// May be asked for manifests by digest and for blobs.
    pub(super) pulls: bool,
    /// Sent along with each request, never after a redirect.
    pub(super) headers: HeaderMap,
    /// What goes before the repository: `/v2`, mostly.
    base: String,
    /// The registry that a mirror stands for, where it wants to be told.
    namespace: Option<String>,
    pub(super) trust: Trust,
    pub(super) credentials: Option<Credentials>,
    pub(super) authorization: Mutex<Authorization>,
    scheme: Option<Scheme>,
    host: String,
    port: Option<u16>,
    origin: OnceCell<Origin>,
}

impl Endpoint {
    /// The endpoints of a reference in the order in which they are tried; never none: the places of
    /// `hosts.toml`, the mirrors of docker.io, the registry.
    pub(super) fn all(
        reference: &Reference,
        credentials: Option<Credentials>,
        (hosts, mirrors): (Hosts, &[Mirror]),
        connector: &Connector,
    ) -> Vec<Self> {
        let registry = reference.registry();
        let mut endpoints = Vec::new();
        for place in hosts.mirrors {
            let mut endpoint = Self::new(registry, None, connector);
            endpoint.take(place, registry, connector);
            endpoints.push(endpoint);
        }
        if registry == HUB {
            for mirror in mirrors {
                let mut endpoint = Self::new(&mirror.host, mirror.port, connector);
                endpoint.scheme = mirror.scheme;
                endpoint.base = format!("{}/v2", mirror.prefix);
                endpoints.push(endpoint);
            }
        }
        let (host, port) = match registry {
            HUB => (HUB_HOST, None),
            // A `Reference` has a well-formed registry.
            other => split_authority(other).unwrap_or((other, None)),
        };
        let mut own = Self::new(host, port, connector);
        own.take(hosts.server, registry, connector);
        own.namespace = None;
        registry.clone_into(&mut own.name);
        // They are for the registry, not for its mirrors.
        own.credentials = credentials;
        endpoints.push(own);
        endpoints
    }

    fn new(host: &str, port: Option<u16>, connector: &Connector) -> Self {
        let host = host.to_ascii_lowercase();
        Self {
            name: Origin::new(Scheme::Https, &host, port).authority(),
            resolves: true,
            pulls: true,
            headers: HeaderMap::new(),
            base: "/v2".to_owned(),
            namespace: None,
            trust: connector.trust(&host, port),
            credentials: None,
            authorization: Mutex::default(),
            scheme: None,
            host,
            port,
            origin: OnceCell::new(),
        }
    }

    /// Becomes the place that a `hosts.toml` describes.
    fn take(&mut self, place: Place, registry: &str, connector: &Connector) {
        (self.resolves, self.pulls, self.headers) = (place.resolves, place.pulls, place.headers);
        let Some(url) = place.url else { return };
        let port = url.origin.explicit_port();
        let path = url.target.trim_end_matches('/');
        self.base = if place.overrides_path { path.to_owned() } else { format!("{path}/v2") };
        self.name = url.origin.authority();
        self.trust = connector.trust(&url.origin.host, port);
        self.namespace = (self.name != registry).then(|| registry.to_owned());
        (self.scheme, self.host, self.port) =
            (Some(url.origin.scheme), url.origin.host.into(), port);
    }

    /// Path and query of a request for `path` of a repository; without either, for the registry.
    pub(super) fn target(&self, repository: &str, path: &str) -> String {
        if repository.is_empty() {
            return format!("{}/", self.base);
        }
        let query = self.namespace.as_ref().map(|namespace| format!("?ns={namespace}"));
        format!("{}/{repository}/{path}{}", self.base, query.unwrap_or_default())
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
