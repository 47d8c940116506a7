//! One HTTP request and its answer: connections are kept and used again, and every wait on the
//! other side ends.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, PROXY_AUTHORIZATION, USER_AGENT,
    },
};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    task::AbortHandle,
    time::{Instant, timeout},
};

use super::{
    connect::Connector,
    error::ExchangeError,
    origin::{Origin, Url},
    proxy::Proxy,
    settings::TimeLimits,
};

/// The read buffer of a connection, and so the largest piece of a body.
const BUFFER: usize = 256 * 1024;
/// The largest head of an answer.
const HEAD_LIMIT: usize = 64 * 1024;
/// Connections that are kept for later.
const IDLE_LIMIT: usize = 8;
/// What must arrive within the stall limit; see [`TimeLimits::stall`].
const STALL_BYTES: usize = 16 * 1024;
const AGENT: &str = concat!("isulad/", env!("CARGO_PKG_VERSION"));

/// A connection; it ends when this is dropped.
struct Link {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
    proxy: Option<Proxy>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends requests; belongs to one pull.
pub(super) struct Exchange {
    connector: Connector,
    limits: TimeLimits,
    idle: Mutex<Vec<(Origin, Link)>>,
    reached: Mutex<HashSet<Origin>>,
}

impl Exchange {
    pub(super) fn new(connector: Connector, limits: TimeLimits) -> Arc<Self> {
        Arc::new(Self { connector, limits, idle: Mutex::default(), reached: Mutex::default() })
    }

    /// True if this origin has answered before.
    pub(super) fn has_reached(&self, origin: &Origin) -> bool {
        lock(&self.reached).contains(origin)
    }

    /// Opens a connection and keeps it for the first request.
    pub(super) async fn prepare(&self, origin: &Origin) -> Result<(), ExchangeError> {
        let link = self.open(origin).await?;
        self.keep(origin.clone(), link);
        Ok(())
    }

    /// Sends a GET request and waits for the head of the answer.
    pub(super) async fn get(
        self: &Arc<Self>,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<Answer, ExchangeError> {
        self.send(url, headers, None).await
    }

    /// Sends a form by POST and waits for the head of the answer.
    pub(super) async fn post(
        self: &Arc<Self>,
        url: &Url,
        form: String,
    ) -> Result<Answer, ExchangeError> {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, kind);
        self.send(url, headers, Some(form.into())).await
    }

    async fn send(
        self: &Arc<Self>,
        url: &Url,
        headers: HeaderMap,
        form: Option<Bytes>,
    ) -> Result<Answer, ExchangeError> {
        let origin = &url.origin;
        loop {
            let kept = self.take(origin);
            let is_kept = kept.is_some();
            let mut link = match kept {
                Some(link) => link,
                None => self.open(origin).await?,
            };
            let request = request(url, headers.clone(), link.proxy.as_ref(), form.clone());
            let answer = timeout(self.limits.stall, async {
                link.sender.ready().await?;
                link.sender.send_request(request).await
            });
            match answer.await {
                Err(_) => return Err(ExchangeError::silent(origin, "waiting for an answer")),
                // A server may close a kept connection at any time (RFC 9112 section 9.3.1).
                Ok(Err(error)) if is_kept && !error.is_parse() => {}
                Ok(Err(source)) => {
                    return Err(ExchangeError::broken(origin, source));
                }
                Ok(Ok(response)) => {
                    lock(&self.reached).insert(origin.clone());
                    return Ok(Answer::new(self, url, link, response));
                }
            }
        }
    }

    async fn open(&self, origin: &Origin) -> Result<Link, ExchangeError> {
        let opened = self.connector.open(origin).await?;
        let broken = |source| ExchangeError::broken(origin, source);
        let (sender, connection) = Builder::new()
            .max_buf_size(BUFFER)
            .max_header_size(HEAD_LIMIT)
            .handshake(TokioIo::new(opened.stream))
            .await
            .map_err(broken)?;
        // Its error also reaches whoever waits for the answer.
        let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Link { sender, task, proxy: opened.proxy })
    }

    fn take(&self, origin: &Origin) -> Option<Link> {
        let mut idle = lock(&self.idle);
        idle.retain(|(_, link)| !link.sender.is_closed());
        let place = idle.iter().rposition(|(kept, _)| kept == origin)?;
        Some(idle.swap_remove(place).1)
    }

    fn keep(&self, origin: Origin, link: Link) {
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE_LIMIT && !link.sender.is_closed() {
            idle.push((origin, link));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn request(
    url: &Url,
    mut headers: HeaderMap,
    proxy: Option<&Proxy>,
    form: Option<Bytes>,
) -> Request<Full<Bytes>> {
    let method = if form.is_some() { Method::POST } else { Method::GET };
    if let Ok(host) = HeaderValue::try_from(url.origin.authority()) {
        headers.insert(HOST, host);
    }
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    // Blobs are named by the digest of their own bytes, not of a transport's compression.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let mut target = url.target.clone();
    if let Some(proxy) = proxy {
        target = format!("{}{target}", url.origin);
        if let Some(value) = &proxy.authorization {
            headers.insert(PROXY_AUTHORIZATION, value.clone());
        }
    }
    let mut request = Request::new(Full::new(form.unwrap_or_default()));
    *request.method_mut() = method;
    // `Url` was read by the same parser.
    *request.uri_mut() = target.parse().unwrap_or_default();
    *request.headers_mut() = headers;
    request
}

/// The answer to a request: its head, and its body in pieces.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) url: Url,
    body: Incoming,
    link: Option<Link>,
    exchange: Arc<Exchange>,
    /// What is left of the stall limit until [`STALL_BYTES`] have come.
    patience: Duration,
    since: usize,
}

impl Answer {
    fn new(exchange: &Arc<Exchange>, url: &Url, link: Link, response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            url: url.clone(),
            body,
            link: Some(link),
            exchange: Arc::clone(exchange),
            patience: exchange.limits.stall,
            since: 0,
        }
    }

    /// `Content-Length`.
    pub(super) fn length(&self) -> Option<u64> {
        self.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// The next piece of the body, never empty; none at its end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, ExchangeError> {
        loop {
            let begun = Instant::now();
            let frame = match timeout(self.patience, self.body.frame()).await {
                Err(_) => {
                    return Err(ExchangeError::silent(&self.url.origin, "sending its answer"));
                }
                Ok(None) => {
                    if let Some(link) = self.link.take() {
                        self.exchange.keep(self.url.origin.clone(), link);
                    }
                    return Ok(None);
                }
                Ok(Some(Err(source))) => {
                    return Err(ExchangeError::broken(&self.url.origin, source));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            let piece = frame.into_data().unwrap_or_default();
            self.since = self.since.saturating_add(piece.len());
            if self.since >= STALL_BYTES {
                (self.since, self.patience) = (0, self.exchange.limits.stall);
            } else {
                self.patience = self.patience.saturating_sub(begun.elapsed());
            }
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    /// The whole body, of at most `limit` bytes.
    pub(super) async fn whole(mut self, limit: u64) -> Result<Bytes, ExchangeError> {
        let to = self.url.origin.authority();
        if self.length().is_some_and(|length| length > limit) {
            return Err(ExchangeError::TooLarge { to, limit });
        }
        let most = self.exchange.limits.document;
        let late = ExchangeError::silent(&self.url.origin, "sending its answer");
        let collect = async {
            let mut whole = Vec::new();
            while let Some(piece) = self.piece().await? {
                if (whole.len() + piece.len()) as u64 > limit {
                    return Err(ExchangeError::TooLarge { to, limit });
                }
                whole.extend_from_slice(&piece);
            }
            Ok(whole.into())
        };
        timeout(most, collect).await.unwrap_or(Err(late))
    }
}
