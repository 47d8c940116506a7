//! What can go wrong between us and a registry, and which kind of error it is for the caller.

use std::{io, time::Duration};

use http::StatusCode;
use isula_core::{
    error::{ErrorKind, PortError},
    image::{Digest, Reference},
};

use super::{
    hosts::HostsError,
    origin::{Origin, UrlError},
    tls::{self, CertificateError},
};

/// A request got no answer, or no whole one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The name has no address.
    #[error("cannot look up {host}")]
    LookUp {
        /// The name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// No TCP connection.
    #[error("cannot connect to {to}")]
    Connect {
        /// Host and port.
        to: String,
        /// Why.
        source: io::Error,
    },
    /// The proxy did not connect us.
    #[error("proxy {proxy} does not connect to {to}: {}", status_text(*.status))]
    Proxy {
        /// The proxy.
        proxy: String,
        /// Where to.
        to: String,
        /// What it answered, if that was HTTP.
        status: Option<u16>,
    },
    /// The other side does not speak TLS.
    #[error("{to} does not speak TLS")]
    NotTls {
        /// Host and port.
        to: String,
        /// Why.
        source: io::Error,
    },
    /// TLS failed, the certificate was refused, say.
    #[error("cannot make a secure connection to {to}")]
    Tls {
        /// Host and port.
        to: String,
        /// Why.
        source: io::Error,
    },
    /// The other side does not take our certificate, or misses one.
    #[error("{to} refuses our certificate or the lack of one: {alert}")]
    Refused {
        /// Host and port.
        to: String,
        /// What it said.
        alert: String,
    },
    /// A configured certificate can't be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A limit of time passed.
    #[error("{to} did not answer in time while {step}")]
    Silent {
        /// Host and port.
        to: String,
        /// `connecting`, `waiting for an answer`, …
        step: &'static str,
    },
    /// The connection broke, or what came was no HTTP.
    #[error("the exchange with {to} broke off")]
    Broken {
        /// Host and port.
        to: String,
        /// Why.
        source: hyper::Error,
    },
    /// More than a limit allows.
    #[error("{to} sends more than {limit} bytes")]
    TooLarge {
        /// Host and port.
        to: String,
        /// The limit in bytes.
        limit: u64,
    },
}

fn status_text(status: Option<u16>) -> String {
    status.map_or_else(|| "its answer is no HTTP".to_owned(), |status| format!("status {status}"))
}

impl ExchangeError {
    /// A connection that broke; whoever refuses our certificate breaks it off, too.
    pub(super) fn broken(origin: &Origin, source: hyper::Error) -> Self {
        let to = origin.authority();
        match tls::refusal(&source) {
            Some(alert) => Self::Refused { to, alert },
            None => Self::Broken { to, source },
        }
    }

    pub(super) fn silent(origin: &Origin, step: &'static str) -> Self {
        Self::Silent { to: origin.authority(), step }
    }

    /// True if nothing was ever heard from the other side: the name or address may be wrong.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::LookUp { .. } | Self::Connect { .. } | Self::Proxy { .. })
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Certificate(_) => ErrorKind::InvalidInput,
            Self::Silent { .. } => ErrorKind::DeadlineExceeded,
            Self::TooLarge { .. } => ErrorKind::Corrupt,
            _ => ErrorKind::Unavailable,
        }
    }
}

/// A pull's request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry has no such manifest.
    #[error("manifest unknown")]
    ManifestUnknown,
    /// The registry has the manifest, but not what it names.
    #[error("the registry has no blob {0}")]
    BlobUnknown(Digest),
    /// Credentials are missing or insufficient.
    #[error("requested access to the resource is denied{}", after_colon(.0))]
    Denied(String),
    /// An answer that says no.
    #[error("the registry answered {status}{}", after_colon(.detail))]
    Status {
        /// The status.
        status: StatusCode,
        /// What it says about it.
        detail: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The token server did not give a token.
    #[error("cannot get a token from {realm}: {reason}")]
    Token {
        /// The URL without its query.
        realm: String,
        /// Why.
        reason: String,
    },
    /// No way of authentication that we have.
    #[error("the registry asks for authentication in no way that is supported: {0:?}")]
    Challenge(String),
    /// A realm or redirect that is not followed.
    #[error("will not follow {to:?}: {reason}")]
    Refused {
        /// The URL, as sent, without its query.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// A URL that can't be read.
    #[error("invalid URL {to:?}")]
    Url {
        /// The URL, as sent, without its query.
        to: String,
        /// Why not.
        source: UrlError,
    },
    /// Redirects without end.
    #[error("more than {0} redirects")]
    Redirects(usize),
    /// A captive portal or a proxy's error page, most likely.
    #[error("the answer is a web page, not a manifest")]
    WebPage,
    /// Other bytes than the digest promises.
    #[error("what came has the digest {found} instead of {expected}")]
    Digest {
        /// Wanted.
        expected: Digest,
        /// Found.
        found: Digest,
    },
    /// More or fewer bytes than the descriptor promises.
    #[error("blob {digest} is {relation} than the {size} bytes that its descriptor says")]
    Size {
        /// Which.
        digest: Digest,
        /// `longer` or `shorter`.
        relation: &'static str,
        /// What it should have.
        size: u64,
    },
    /// A partial answer to another question.
    #[error("the registry sent another part of blob {0} than was asked for")]
    Part(Digest),
    /// No answer.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The registry's `hosts.toml` can't be used.
    #[error(transparent)]
    Hosts(#[from] HostsError),
}

fn after_colon(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

impl Error {
    /// The kind for the caller.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::ManifestUnknown => ErrorKind::NotFound,
            Self::Denied(_) => ErrorKind::PermissionDenied,
            Self::Digest { .. } | Self::Size { .. } | Self::Part(_) => ErrorKind::Corrupt,
            Self::Hosts(_) => ErrorKind::InvalidInput,
            Self::Exchange(error) => error.kind(),
            _ => ErrorKind::Unavailable,
        }
    }

    /// True if the same request may succeed a little later. `reached`: whether the registry has
    /// answered before; one that never did is more likely mistyped than restarting.
    pub(super) fn is_transient(&self, reached: bool) -> bool {
        match self {
            Self::Status { status, .. } => super::retry::is_transient(*status),
            Self::Exchange(ExchangeError::Broken { source, .. }) => !source.is_parse(),
            Self::Exchange(ExchangeError::Silent { .. }) => true,
            Self::Exchange(ExchangeError::NotTls { .. }) => reached,
            Self::Exchange(error) => reached && error.is_unreachable(),
            _ => false,
        }
    }

    /// What it takes from the number of repetitions: a silence has cost a minute already.
    pub(super) fn weight(&self) -> u32 {
        if matches!(self, Self::Exchange(ExchangeError::Silent { .. })) { 2 } else { 1 }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The error of the port: one line that names reference and registry.
    #[must_use]
    pub fn into_port(self, reference: &Reference, registry: &str) -> PortError {
        let from = match registry == reference.registry() {
            true => String::new(),
            false => format!(" from {registry}"),
        };
        PortError::with_source(self.kind(), format!("cannot pull {reference}{from}"), self)
    }
}

/// Text from a registry for an error message: one line, no control characters, bounded.
pub(super) fn printable(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(256).collect::<String>().trim().to_owned()
}

/// A URL for an error message: bounded, and without the query, where secrets are.
pub(super) fn printable_url(text: &str) -> String {
    printable(text.split('?').next().unwrap_or_default())
}
