//! A GET request to an endpoint: authentication, redirects, and what its answer means.
//!
//! `Authorization` goes to the origin of the endpoint alone, and never along with a redirect, not
//! even to the same host (CVE-2020-15157).

use std::sync::Arc;

use http::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, LOCATION},
};
use serde::Deserialize;

use super::{
    authorization,
    endpoint::Endpoint,
    error::{Error, printable, printable_url},
    exchange::{Answer, Exchange},
    origin::{Scheme, Url},
    retry::retry_after,
    settings::Trust,
};

/// Most redirects of one request.
const REDIRECT_LIMIT: usize = 10;
/// Largest body of an answer that says no.
const ERROR_LIMIT: u64 = 64 * 1024;

/// Asks `endpoint` once for `path` below `/v2/REPOSITORY/`: at most one renewal of the
/// authorization, redirects followed. An answer that comes back is 2xx.
pub(super) async fn get(
    exchange: &Arc<Exchange>,
    endpoint: &Endpoint,
    (repository, path): (&str, &str),
    headers: &HeaderMap,
) -> Result<Answer, Error> {
    let origin = endpoint.origin(exchange).await?.clone();
    let target = endpoint.target(repository, path);
    let url = Url { origin, target };
    let mut renewed = false;
    let answer = loop {
        let (authorization, generation) = {
            let current = endpoint.authorization.lock().await;
            (current.header.clone(), current.generation)
        };
        let mut headers = headers.clone();
        headers.extend(endpoint.headers.clone());
        headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
        let answer = exchange.get(&url, headers).await?;
        if answer.status != StatusCode::UNAUTHORIZED || renewed {
            break answer;
        }
        authorization::renew(exchange, endpoint, &answer, (repository, generation)).await?;
        renewed = true;
        // Reading the refusal to its end frees the connection.
        let _ = answer.whole(ERROR_LIMIT).await;
    };
    let answer = follow(exchange, answer, headers, endpoint.trust).await?;
    match answer.status {
        status if status.is_success() => Ok(answer),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(Error::Denied(detail(answer).await))
        }
        _ => Err(status_error(answer).await),
    }
}

/// Follows redirects with `headers`, which must hold no credentials.
pub(super) async fn follow(
    exchange: &Arc<Exchange>,
    mut answer: Answer,
    headers: &HeaderMap,
    trust: Trust,
) -> Result<Answer, Error> {
    let mut followed = 0;
    while matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        if followed == REDIRECT_LIMIT {
            return Err(Error::Redirects(REDIRECT_LIMIT));
        }
        let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.unwrap_or_default();
        let bad = |source| Error::Url { to: printable_url(location), source };
        let next = answer.url.join(location).map_err(bad)?;
        if next.origin.scheme == Scheme::Http && trust == Trust::Verified {
            let reason = "a secure registry must not redirect to plain http";
            return Err(Error::Refused { to: printable_url(location), reason });
        }
        let _ = answer.whole(ERROR_LIMIT).await;
        answer = exchange.get(&next, headers.clone()).await?;
        followed += 1;
    }
    Ok(answer)
}

/// The error that an answer without success is.
pub(super) async fn status_error(answer: Answer) -> Error {
    let (status, retry_after) = (answer.status, retry_after(&answer.headers));
    Error::Status { status, detail: detail(answer).await, retry_after }
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    errors: Vec<Reason>,
    /// Of token servers.
    details: Option<String>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    code: String,
    message: Option<String>,
}

/// What the body of such an answer says (distribution-spec, "Error codes"); empty if nothing.
pub(super) async fn detail(answer: Answer) -> String {
    let Ok(body) = answer.whole(ERROR_LIMIT).await else { return String::new() };
    let Ok(refusal) = serde_json::from_slice::<Refusal>(&body) else { return String::new() };
    let first = refusal.errors.into_iter().next();
    let text =
        first.map(|reason| reason.message.filter(|text| !text.is_empty()).unwrap_or(reason.code));
    printable(&text.or(refusal.details).unwrap_or_default())
}
