//! A pull's view of a registry: its endpoints in turn, with repetition.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use isula_core::{
    error::{ErrorKind, PortError},
    image::{Digest, Reference},
    ports::Credentials,
};
use sha2::{Digest as _, Sha256};

use super::{
    blob::Blob,
    connect::{Connector, Ways},
    endpoint::{Endpoint, HUB, HUB_HOST},
    error::{Error, ExchangeError},
    exchange::{Answer, Exchange},
    hosts::{self, Hosts},
    origin::{Origin, Scheme, split_authority},
    proxy::ProxyRules,
    request,
    settings::{Mirror, Settings, SettingsError, TrustList},
};

/// The media types that are asked for.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1";
/// Repetitions at an endpoint that is not the last.
const ATTEMPTS_BEFORE_NEXT: u32 = 1;

/// The registry client: settings that were read and found valid.
#[derive(Clone)]
pub struct Client {
    settings: Arc<Settings>,
    mirrors: Vec<Mirror>,
    trust: TrustList,
    proxies: ProxyRules,
}

impl Client {
    /// Takes the settings.
    ///
    /// # Errors
    /// `InvalidInput` names the entry of the settings that can't be used.
    pub fn new(settings: Settings) -> Result<Self, PortError> {
        Self::checked(settings)
            .map_err(|error| PortError::new(ErrorKind::InvalidInput, error.to_string()))
    }

    fn checked(settings: Settings) -> Result<Self, SettingsError> {
        let trust = TrustList::parse(&settings.insecure)?;
        let proxies = ProxyRules::parse(&settings.proxies)?;
        let mirrors = settings.mirrors.iter().map(|entry| Mirror::parse(entry, &trust));
        let mirrors = mirrors.collect::<Result<_, _>>()?;
        Ok(Self { settings: Arc::new(settings), mirrors, trust, proxies })
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Begins a pull. Connections and tokens live as long as the session. Blocks on the registry's
    /// `hosts.toml`, if there is one.
    ///
    /// # Errors
    /// The `hosts.toml` can't be used.
    pub fn session(
        &self,
        reference: &Reference,
        credentials: Option<Credentials>,
    ) -> Result<Session, PortError> {
        let failed = |error: Error| error.into_port(reference, reference.registry());
        let found = hosts::load(&self.settings.certs_dir, reference.registry());
        let hosts = found.map_err(|error| failed(error.into()))?.unwrap_or_default();
        let (trust, proxies) = (self.trust.clone(), self.proxies.clone());
        let ways = ways(&hosts, reference.registry());
        let connector = Connector::new(Arc::clone(&self.settings), trust, proxies, ways);
        let places = (hosts, self.mirrors.as_slice());
        let endpoints = Endpoint::all(reference, credentials, places, &connector);
        let refused = endpoints.iter().map(|_| AtomicBool::new(false)).collect();
        Ok(Session {
            exchange: Exchange::new(connector, self.settings.limits),
            settings: Arc::clone(&self.settings),
            reference: reference.clone(),
            endpoints,
            refused,
        })
    }
}

/// How the places of a `hosts.toml` are connected to.
fn ways(hosts: &Hosts, registry: &str) -> Ways {
    let (host, port) = match registry {
        HUB => (HUB_HOST, None),
        other => split_authority(other).unwrap_or((other, None)),
    };
    let own = Origin::new(Scheme::Https, host, port);
    let registry = hosts.server.url.as_ref().map_or(&own, |url| &url.origin);
    let mut ways = Ways::to(registry.clone());
    // The first one that names a place counts.
    for place in hosts.mirrors.iter().chain([&hosts.server]).rev() {
        let origin = place.url.as_ref().map_or(&own, |url| &url.origin);
        ways.insert(origin, place.connection.clone());
    }
    ways
}

/// A manifest or index as it came, with its digest.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Its bytes.
    pub bytes: Bytes,
    /// Their digest, computed here.
    pub digest: Digest,
    /// The `Content-Type`, if any.
    pub media_type: Option<String>,
}

/// One pull at one registry.
pub struct Session {
    exchange: Arc<Exchange>,
    settings: Arc<Settings>,
    reference: Reference,
    endpoints: Vec<Endpoint>,
    /// The endpoints that did not give a manifest: they are not asked for blobs.
    refused: Vec<AtomicBool>,
}

impl Session {
    /// The registry itself, which is tried last.
    pub(super) fn registry(&self) -> Option<&Endpoint> {
        self.endpoints.last()
    }

    pub(super) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// The manifest or index with this tag.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `Unavailable`, `Corrupt` (larger than `limit`), …
    pub async fn by_tag(&self, tag: &str, limit: u64) -> Result<Fetched, PortError> {
        self.manifest(&Asked { name: tag, digest: None, limit }).await
    }

    /// The manifest or index with this digest, which is verified.
    ///
    /// # Errors
    /// As [`Session::by_tag`]; `Corrupt` if other bytes came.
    pub async fn by_digest(&self, digest: &Digest, limit: u64) -> Result<Fetched, PortError> {
        self.manifest(&Asked { name: digest.as_str(), digest: Some(digest), limit }).await
    }

    /// A small blob, whole and verified.
    ///
    /// # Errors
    /// As [`Session::by_digest`].
    pub async fn small_blob(&self, digest: &Digest, size: u64) -> Result<Bytes, PortError> {
        let mut blob = self.blob(digest, size);
        loop {
            let place = blob.endpoint();
            let error = match self.collect(&mut blob).await {
                Ok(whole) => match verify(digest, sha256(&whole)) {
                    Ok(()) => return Ok(whole.into()),
                    Err(error) => error,
                },
                Err(error) => return Err(self.port_error(error, self.endpoint_from(place))),
            };
            let place = blob.endpoint();
            let Some(next) = self.blob(digest, size).at_endpoint(place.saturating_add(1)) else {
                return Err(self.port_error(error, self.endpoint_from(place)));
            };
            blob = next;
        }
    }

    async fn collect(&self, blob: &mut Blob<'_>) -> Result<Vec<u8>, Error> {
        let collect = async {
            let mut whole = Vec::new();
            while let Some(piece) = blob.next().await? {
                whole.extend_from_slice(&piece);
            }
            Ok(whole)
        };
        let limit = self.settings.limits.document;
        let to = self.reference.registry().to_owned();
        let late = Error::Exchange(ExchangeError::Silent { to, step: "sending a configuration" });
        tokio::time::timeout(limit, collect).await.unwrap_or(Err(late))
    }

    /// A blob to be read in pieces. Nothing is asked of the registry yet.
    #[must_use]
    pub fn blob(&self, digest: &Digest, size: u64) -> Blob<'_> {
        Blob::new(self, digest.clone(), size, self.settings.retry)
    }

    /// The error of the port, naming the reference and the endpoint.
    pub(super) fn port_error(&self, error: Error, endpoint: Option<&Endpoint>) -> PortError {
        let name = endpoint.map_or(self.reference.registry(), |endpoint| &endpoint.name);
        error.into_port(&self.reference, name)
    }

    /// The endpoint `skipped` places after the first one that may be asked for blobs.
    pub(super) fn endpoint_from(&self, skipped: usize) -> Option<&Endpoint> {
        self.willing().filter(|(endpoint, _)| endpoint.pulls).nth(skipped).map(|(found, _)| found)
    }

    /// The endpoints that may be asked for a manifest, by digest or by tag.
    fn able(&self, by_digest: bool) -> Vec<(&Endpoint, &AtomicBool)> {
        let can = |endpoint: &Endpoint| if by_digest { endpoint.pulls } else { endpoint.resolves };
        self.willing().filter(|(endpoint, _)| can(endpoint)).collect()
    }

    /// The endpoints that have not refused a manifest.
    fn willing(&self) -> impl Iterator<Item = (&Endpoint, &AtomicBool)> {
        let all = self.endpoints.iter().zip(&self.refused);
        all.filter(|(_, refused)| !refused.load(Relaxed))
    }

    /// One request for a blob, from byte `from` on.
    pub(super) async fn ask_blob(
        &self,
        endpoint: &Endpoint,
        digest: &Digest,
        from: u64,
    ) -> Result<Answer, Error> {
        let mut headers = HeaderMap::new();
        if from > 0
            && let Ok(range) = HeaderValue::try_from(format!("bytes={from}-"))
        {
            headers.insert(http::header::RANGE, range);
        }
        let path = format!("blobs/{digest}");
        let asked = (self.reference.repository(), path.as_str());
        match request::get(&self.exchange, endpoint, asked, &headers).await {
            Err(Error::Status { status: StatusCode::NOT_FOUND, .. }) => {
                Err(Error::BlobUnknown(digest.clone()))
            }
            other => other,
        }
    }

    /// True if that endpoint, counted as by [`Session::endpoint_from`], has answered before.
    pub(super) fn has_reached(&self, skipped: usize) -> bool {
        self.endpoint_from(skipped).is_some_and(|endpoint| self.reached(endpoint))
    }

    fn reached(&self, endpoint: &Endpoint) -> bool {
        endpoint.known_origin().is_some_and(|origin| self.exchange.has_reached(origin))
    }

    /// Asks each endpoint in turn until one gives a good answer; the last one's error counts.
    async fn manifest(&self, asked: &Asked<'_>) -> Result<Fetched, PortError> {
        let able = self.able(asked.digest.is_some());
        let mut failure = None;
        for (place, (endpoint, refused)) in able.iter().enumerate() {
            let is_last = place + 1 == able.len();
            let error = match self.repeat(endpoint, is_last, asked).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !is_last {
                refused.store(true, Relaxed);
                let cause = isula_core::error::chain(&error);
                tracing::warn!("mirror {}: {}: {cause}", endpoint.name, self.reference);
            }
            failure = Some(self.port_error(error, Some(endpoint)));
        }
        let none = || format!("there is no registry for {}", self.reference);
        Err(failure.unwrap_or_else(|| PortError::new(ErrorKind::Internal, none())))
    }

    /// Repeats a request to one endpoint while that can help.
    async fn repeat(
        &self,
        endpoint: &Endpoint,
        is_last: bool,
        asked: &Asked<'_>,
    ) -> Result<Fetched, Error> {
        let retry = self.settings.retry;
        let most = if is_last { u32::MAX } else { ATTEMPTS_BEFORE_NEXT };
        let mut attempt = 0;
        loop {
            let error = match self.ask_manifest(endpoint, asked).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let helps = error.is_transient(self.reached(endpoint));
            if !helps || attempt >= retry.attempts.min(most) {
                return Err(error);
            }
            tokio::time::sleep(retry.pause(attempt, error.retry_after())).await;
            attempt += error.weight();
        }
    }

    async fn ask_manifest(&self, endpoint: &Endpoint, asked: &Asked<'_>) -> Result<Fetched, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(MANIFESTS));
        let path = format!("manifests/{}", asked.name);
        let path = (self.reference.repository(), path.as_str());
        let answer = match request::get(&self.exchange, endpoint, path, &headers).await {
            Err(Error::Status { status: StatusCode::NOT_FOUND, .. }) => {
                return Err(Error::ManifestUnknown);
            }
            other => other?,
        };
        let media_type = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.map(str::to_owned);
        if media_type.as_deref().is_some_and(|found| found.starts_with("text/html")) {
            return Err(Error::WebPage);
        }
        let bytes = answer.whole(asked.limit).await?;
        let digest = sha256(&bytes);
        if let Some(expected) = asked.digest {
            verify(expected, digest.clone())?;
        }
        Ok(Fetched { bytes, digest, media_type })
    }
}

/// A manifest that is wanted.
struct Asked<'a> {
    /// Its tag or digest.
    name: &'a str,
    digest: Option<&'a Digest>,
    /// The most bytes it may have.
    limit: u64,
}

/// The digest of `bytes`.
pub(super) fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_sha256(Sha256::digest(bytes).into())
}

fn verify(expected: &Digest, found: Digest) -> Result<(), Error> {
    match found == *expected {
        true => Ok(()),
        false => Err(Error::Digest { expected: expected.clone(), found }),
    }
}
