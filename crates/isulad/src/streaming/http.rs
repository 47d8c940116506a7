//! The one HTTP request of a connection: who asks, for what, in which protocol.
//!
//! Everything is settled before the token is taken: a client that asks in a way we do not speak may
//! try another one with the same URL, as those do that fall back from WebSocket to SPDY.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request as HttpRequest, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{
        CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
    server::conn::http1,
    service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    call::Call,
    request::Duplex,
    spdy::{self, Version},
    tokens::{Door, Request},
    websocket::{self, ForwardProtocol, RemoteProtocol},
};

/// How long a client may take for its request.
const HEADERS: Duration = Duration::from_secs(10);
/// Bytes and number of its headers.
const BUFFER: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const STREAM_PROTOCOLS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");
const SPDY: &str = "SPDY/3.1";
/// The one subprotocol of SPDY that forwards ports.
const PORT_FORWARD: [((), &str); 1] = [((), "portforward.k8s.io")];

/// What was agreed upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    SpdyRemote(Version),
    SpdyForward,
    WebSocketRemote(RemoteProtocol),
    WebSocketForward(ForwardProtocol),
}

/// A connection that has shown a token.
pub(super) struct Upgraded {
    upgrade: OnUpgrade,
    protocol: Protocol,
    request: Request,
}

impl Upgraded {
    /// Serves until the session ends.
    pub(super) async fn serve(self, call: Arc<Call>) {
        let Ok(upgraded) = self.upgrade.await else { return };
        let io: Box<dyn Duplex> = Box::new(TokioIo::new(upgraded));
        match (self.protocol, &self.request) {
            (Protocol::SpdyRemote(version), Request::Remote(remote)) => {
                spdy::remote(io, remote, version, &call).await;
            }
            (Protocol::SpdyForward, Request::Forward(forward)) => {
                spdy::forward(io, forward, call).await;
            }
            (Protocol::WebSocketRemote(protocol), Request::Remote(remote)) => {
                websocket::remote(io, remote, protocol, &call).await;
            }
            (Protocol::WebSocketForward(protocol), Request::Forward(forward)) => {
                websocket::forward(io, forward, protocol, call).await;
            }
            // The door decided on both.
            _ => {}
        }
    }
}

/// Reads the request and answers it; `take` takes what its token stands for.
pub(super) async fn upgrade(
    io: Box<dyn Duplex>,
    take: impl Fn(Door, &str) -> Option<Request>,
) -> Option<Upgraded> {
    let upgraded = Mutex::new(None);
    let service = service_fn(|request| {
        let response = match answer(request, &take) {
            Ok((response, accepted)) => {
                *upgraded.lock().unwrap_or_else(PoisonError::into_inner) = Some(accepted);
                response
            }
            Err(refused) => *refused,
        };
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(BUFFER)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a streaming connection failed before its upgrade");
        return None;
    }
    upgraded.into_inner().unwrap_or_else(PoisonError::into_inner)
}

type Answer = Response<Full<Bytes>>;
type Refusal = Box<Answer>;

fn answer(
    mut request: HttpRequest<Incoming>,
    take: &impl Fn(Door, &str) -> Option<Request>,
) -> Result<(Answer, Upgraded), Refusal> {
    if !matches!(*request.method(), Method::GET | Method::POST) {
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "GET or POST"));
    }
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let (word, token) = path.split_once('/').unwrap_or_default();
    let unknown = || refusal(StatusCode::NOT_FOUND, "no such request, or it has expired");
    let (door, _) = Door::ALL.into_iter().find(|(_, door)| *door == word).ok_or_else(unknown)?;
    let (protocol, mut response) = negotiate(request.headers(), door)?;
    let taken = take(door, token).ok_or_else(unknown)?;
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    let upgrade = hyper::upgrade::on(&mut request);
    Ok((response, Upgraded { upgrade, protocol, request: taken }))
}

fn negotiate(headers: &HeaderMap, door: Door) -> Result<(Protocol, Answer), Refusal> {
    let wants = |protocol: &str| {
        words(headers, &CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade"))
            && words(headers, &UPGRADE).any(|word| word.eq_ignore_ascii_case(protocol))
    };
    if wants("websocket") {
        web_socket(headers, door)
    } else if wants(SPDY) {
        let (protocol, name) = match door {
            Door::PortForward => {
                let (chosen, name) = stream_protocol(headers, &PORT_FORWARD)?;
                (chosen.map(|()| Protocol::SpdyForward), name)
            }
            Door::Exec | Door::Attach => {
                let (chosen, name) = stream_protocol(headers, &Version::NAMES)?;
                (chosen.map(Protocol::SpdyRemote), name)
            }
        };
        let default = match door {
            Door::PortForward => Protocol::SpdyForward,
            Door::Exec | Door::Attach => Protocol::SpdyRemote(Version::V1),
        };
        let mut response = Answer::default();
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static(SPDY));
        if !name.is_empty() {
            response.headers_mut().insert(STREAM_PROTOCOL, HeaderValue::from_static(name));
        }
        Ok((protocol.unwrap_or(default), response))
    } else {
        let why = "unable to upgrade: SPDY/3.1 or WebSocket is needed";
        Err(refusal(StatusCode::BAD_REQUEST, why))
    }
}

/// The best protocol that the client speaks; none when it names none.
fn stream_protocol<T: Copy>(
    headers: &HeaderMap,
    known: &[(T, &'static str)],
) -> Result<(Option<T>, &'static str), Refusal> {
    match choose(headers, &STREAM_PROTOCOL, known) {
        Choice::Unnamed => Ok((None, "")),
        Choice::Chosen(protocol, name) => Ok((Some(protocol), name)),
        Choice::Unknown => {
            let why = "unable to upgrade: no stream protocol of the client's is known";
            let mut refused = refusal(StatusCode::FORBIDDEN, why);
            for (_, name) in known {
                refused.headers_mut().append(STREAM_PROTOCOLS, HeaderValue::from_static(name));
            }
            Err(refused)
        }
    }
}

fn web_socket(headers: &HeaderMap, door: Door) -> Result<(Protocol, Answer), Refusal> {
    let bad = |why| refusal(StatusCode::BAD_REQUEST, why);
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(bad("WebSocket of version 13 is needed"));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or_else(|| bad("Sec-WebSocket-Key is missing"))?;
    let (protocol, name) = match door {
        Door::PortForward => {
            let (protocol, name) = subprotocol(headers, &ForwardProtocol::NAMES)?;
            (Protocol::WebSocketForward(protocol.unwrap_or(ForwardProtocol::OLDEST)), name)
        }
        Door::Exec | Door::Attach => {
            let (protocol, name) = subprotocol(headers, &RemoteProtocol::NAMES)?;
            (Protocol::WebSocketRemote(protocol.unwrap_or(RemoteProtocol::OLDEST)), name)
        }
    };
    let mut response = Answer::default();
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| bad("Sec-WebSocket-Key is wrong"))?;
    response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    if !name.is_empty() {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    }
    Ok((protocol, response))
}

fn subprotocol<T: Copy>(
    headers: &HeaderMap,
    known: &[(T, &'static str)],
) -> Result<(Option<T>, &'static str), Refusal> {
    match choose(headers, &SEC_WEBSOCKET_PROTOCOL, known) {
        Choice::Unnamed => Ok((None, "")),
        Choice::Chosen(protocol, name) => Ok((Some(protocol), name)),
        Choice::Unknown => {
            Err(refusal(StatusCode::FORBIDDEN, "no subprotocol of the client's is known"))
        }
    }
}

enum Choice<T> {
    /// The client names no protocol.
    Unnamed,
    Chosen(T, &'static str),
    Unknown,
}

/// The client names its favourite first; the first of its that we know is taken.
fn choose<T: Copy>(
    headers: &HeaderMap,
    header: &HeaderName,
    known: &[(T, &'static str)],
) -> Choice<T> {
    let mut named = words(headers, header).peekable();
    if named.peek().is_none() {
        return Choice::Unnamed;
    }
    named
        .find_map(|word| known.iter().find(|(_, name)| *name == word))
        .map_or(Choice::Unknown, |(protocol, name)| Choice::Chosen(*protocol, name))
}

/// The words of a header that may be repeated and may hold several, with commas.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

fn refusal(status: StatusCode, why: &'static str) -> Refusal {
    let mut response = Response::new(Full::new(Bytes::from_static(why.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Box::new(response)
}
