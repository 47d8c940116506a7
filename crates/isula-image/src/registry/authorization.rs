//! Answering a challenge: Basic, or a Bearer token from the realm that the registry names
//! (distribution's token specification).

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use serde::Deserialize;

use super::{
    challenge::{self, Challenge},
    endpoint::Endpoint,
    error::{Error, printable, printable_url},
    exchange::{Answer, Exchange},
    origin::{Scheme, Url},
    proxy::basic,
    request,
    settings::Trust,
};

/// The user name of credentials whose password is a token of the registry itself.
const REGISTRY_TOKEN: &str = "<bearer>";

/// Largest answer of a token server.
const TOKEN_LIMIT: u64 = 1024 * 1024;
/// Longest token: it goes into the head of every request.
const HEADER_LIMIT: usize = 64 * 1024;

/// The user name that stands for an identity token in the place of the password, as credential
/// helpers have it.
const IDENTITY_TOKEN: &str = "<token>";

/// What is sent to an endpoint, and how often it was renewed.
#[derive(Default)]
pub(super) struct Authorization {
    pub(super) header: Option<HeaderValue>,
    pub(super) generation: u64,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// Finds the answer to the challenge of a 401 and stores it in the endpoint. `used` is the
/// generation that was refused: if another request has renewed it meanwhile, nothing is done.
pub(super) async fn renew(
    exchange: &Arc<Exchange>,
    endpoint: &Endpoint,
    refusal: &Answer,
    (repository, used): (&str, u64),
) -> Result<(), Error> {
    let mut authorization = endpoint.authorization.lock().await;
    if authorization.generation != used {
        return Ok(());
    }
    let challenges = challenges(&refusal.headers);
    let find = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
    let header = if let Some(bearer) = find("bearer") {
        match registry_token(endpoint) {
            Some(header) => header,
            None => fetch_token(exchange, endpoint, bearer, repository).await?,
        }
    } else if find("basic").is_some() {
        basic_header(endpoint).ok_or_else(|| Error::Denied("credentials are needed".to_owned()))?
    } else if challenges.is_empty() {
        return Err(Error::Denied(String::new()));
    } else {
        let schemes: Vec<_> =
            challenges.iter().map(|challenge| challenge.scheme.as_str()).collect();
        return Err(Error::Challenge(printable(&schemes.join(", "))));
    };
    authorization.header = Some(header);
    authorization.generation += 1;
    Ok(())
}

fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter();
    // Not `to_str`: that takes ASCII alone, and a realm or service may be written otherwise.
    let texts = values.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
    texts.flat_map(challenge::parse).collect()
}

/// A token that whoever asked for the pull has from the registry itself.
fn registry_token(endpoint: &Endpoint) -> Option<HeaderValue> {
    let credentials = endpoint.credentials.as_ref()?;
    let own = credentials.username == REGISTRY_TOKEN;
    let header = own.then(|| HeaderValue::try_from(format!("Bearer {}", credentials.password)));
    let mut header = header?.ok()?;
    header.set_sensitive(true);
    Some(header)
}

fn basic_header(endpoint: &Endpoint) -> Option<HeaderValue> {
    let credentials = endpoint.credentials.as_ref()?;
    basic(&format!("{}:{}", credentials.username, credentials.password))
}

async fn fetch_token(
    exchange: &Arc<Exchange>,
    endpoint: &Endpoint,
    bearer: &Challenge,
    repository: &str,
) -> Result<HeaderValue, Error> {
    let realm = bearer.parameter("realm").unwrap_or_default();
    let bad = |source| Error::Url { to: printable_url(realm), source };
    let url = Url::parse(realm).map_err(bad)?;
    // Credentials and tokens travel in the clear only where the registry itself may.
    if url.origin.scheme == Scheme::Http && endpoint.trust == Trust::Verified {
        let reason = "the realm of a secure registry must be https";
        return Err(Error::Refused { to: printable_url(realm), reason });
    }
    // A login asks for nothing in particular.
    let default_scope = (!repository.is_empty()).then(|| format!("repository:{repository}:pull"));
    let mut parameters = Vec::new();
    let scope = bearer.parameter("scope").or(default_scope.as_deref());
    parameters.extend(scope.map(|scope| ("scope", scope)));
    parameters.extend(bearer.parameter("service").map(|service| ("service", service)));
    let token = endpoint.credentials.as_ref().filter(|found| found.username == IDENTITY_TOKEN);
    if let Some(token) = token {
        let fixed = [
            ("grant_type", "refresh_token"),
            ("client_id", "isula"),
            ("refresh_token", &token.password),
        ];
        parameters.extend(fixed);
        let answer = exchange.post(&url, form(&parameters)).await?;
        return bearer_header(answer, &url).await;
    }
    let account = endpoint.credentials.as_ref().map(|credentials| &credentials.username);
    parameters.extend(account.map(|account| ("account", account.as_str())));
    let url = with_query(url, &parameters);

    let mut headers = HeaderMap::new();
    headers.extend(basic_header(endpoint).map(|value| (AUTHORIZATION, value)));
    let answer = exchange.get(&url, headers).await?;
    let answer = request::follow(exchange, answer, &HeaderMap::new(), endpoint.trust).await?;
    bearer_header(answer, &url).await
}

/// What the answer of a token server has registries told.
async fn bearer_header(answer: Answer, url: &Url) -> Result<HeaderValue, Error> {
    if matches!(answer.status.as_u16(), 400 | 401 | 403) {
        return Err(Error::Denied(request::detail(answer).await));
    }
    if !answer.status.is_success() {
        return Err(request::status_error(answer).await);
    }
    let bytes = answer.whole(TOKEN_LIMIT).await?;
    let failed = |reason: &str| Error::Token { realm: url.to_string(), reason: reason.to_owned() };
    let token: Token = serde_json::from_slice(&bytes)
        .map_err(|error| failed(&format!("its answer is malformed: {error}")))?;
    let token = token.token.filter(|token| !token.is_empty()).or(token.access_token);
    let token = token.ok_or_else(|| failed("its answer has no token"))?;
    if token.len() > HEADER_LIMIT {
        return Err(failed("its token is longer than 64 KiB"));
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| failed("its token does not fit a header"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Appends parameters to the query, percent-encoded.
fn with_query(mut url: Url, parameters: &[(&str, &str)]) -> Url {
    let parameters = form(parameters);
    if !parameters.is_empty() {
        url.target.push(if url.target.contains('?') { '&' } else { '?' });
        url.target.push_str(&parameters);
    }
    url
}

/// Parameters, percent-encoded.
fn form(parameters: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in parameters {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Url, with_query};

    #[test]
    fn parameters_are_appended_to_the_query_percent_encoded() {
        let target = |url: &str| {
            let parameters = [("scope", "repository:a/b:pull,push"), ("service", "é &=#")];
            with_query(Url::parse(url).unwrap(), &parameters).target
        };
        let wanted = "scope=repository:a/b:pull,push&service=%C3%A9%20%26%3D%23";
        assert_eq!(target("https://h/token"), format!("/token?{wanted}"));
        assert_eq!(target("https://h/token?x=y"), format!("/token?x=y&{wanted}"));
    }
}
