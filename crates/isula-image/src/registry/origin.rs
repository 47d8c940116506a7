//! Where a request goes: scheme, host and port, and the absolute URLs that registries send in
//! `Location` and `realm`.

use std::{fmt, net::IpAddr};

use http::Uri;

/// Longest URL that is followed; signed storage URLs stay below 4 KiB.
const URL_LIMIT: usize = 16 * 1024;

/// The transport of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scheme {
    /// Plain TCP.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Scheme, host and port: what an `Authorization` header is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) scheme: Scheme,
    /// Lower case, an IPv6 address without brackets.
    pub(super) host: Box<str>,
    pub(super) port: u16,
}

impl Origin {
    /// `host` may have brackets; `port` is the scheme's own when absent.
    pub(super) fn new(scheme: Scheme, host: &str, port: Option<u16>) -> Self {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host).to_ascii_lowercase().into();
        Self { scheme, host, port: port.unwrap_or(scheme.default_port()) }
    }

    /// The port, unless it is the scheme's own.
    pub(super) fn explicit_port(&self) -> Option<u16> {
        (self.port != self.scheme.default_port()).then_some(self.port)
    }

    /// `host[:port]` as a `Host` header wants it.
    pub(super) fn authority(&self) -> String {
        let host = bracketed(&self.host);
        match self.explicit_port() {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme.name(), self.authority())
    }
}

/// The host with brackets if it is an IPv6 address.
pub(super) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// True for `localhost`, 127.0.0.0/8 and ::1, by the text alone: no name is looked up, for who
/// answers the look-up must not decide whether a certificate is needed.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Takes `host`, `host:port`, `[v6]` or `[v6]:port` apart; the host comes back without brackets.
pub(super) fn split_authority(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            match rest.strip_prefix(':') {
                Some(port) => (address, Some(port)),
                None if rest.is_empty() => (address, None),
                None => return None,
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if host.is_empty() || !host.bytes().all(plain) {
        return None;
    }
    let port = match port {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
        Some(_) => return None,
        None => None,
    };
    Some((host, port))
}

/// An absolute http or https URL without fragment and user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) origin: Origin,
    /// Path and query, begins with `/`.
    pub(super) target: String,
}

/// The text is no URL that the client follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not http or https.
    #[error("its scheme is neither http nor https")]
    Scheme,
    /// `user@host`.
    #[error("it names a user")]
    User,
    /// Anything else.
    #[error("it is malformed")]
    Malformed,
    /// Above the limit.
    #[error("it is longer than 16 KiB")]
    TooLong,
}

impl Url {
    /// Reads an absolute URL.
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > URL_LIMIT {
            return Err(UrlError::TooLong);
        }
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        let uri: Uri = text.parse().map_err(|_| UrlError::Malformed)?;
        let scheme = match uri.scheme_str() {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
            Some(_) => return Err(UrlError::Scheme),
            None => return Err(UrlError::Malformed),
        };
        let authority = uri.authority().ok_or(UrlError::Malformed)?.as_str();
        if authority.contains('@') {
            return Err(UrlError::User);
        }
        let (host, port) = split_authority(authority).ok_or(UrlError::Malformed)?;
        let target = match uri.path_and_query() {
            Some(target) if target.as_str().starts_with('/') => target.as_str().to_owned(),
            Some(target) => format!("/{}", target.as_str()),
            None => "/".to_owned(),
        };
        Ok(Self { origin: Origin::new(scheme, host, port), target })
    }

    /// Reads the `Location` of an answer that came from this URL (RFC 3986 section 5.2).
    pub(super) fn join(&self, location: &str) -> Result<Self, UrlError> {
        if location.len() > URL_LIMIT {
            return Err(UrlError::TooLong);
        }
        let scheme = self.origin.scheme.name();
        let has_scheme = location.split_once(':').is_some_and(|(scheme, _)| {
            scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        });
        if has_scheme {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}:{location}"));
        }
        let path = self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path);
        let target = match location.chars().next() {
            Some('/') => location.to_owned(),
            Some('?') => format!("{path}{location}"),
            None | Some('#') => self.target.clone(),
            Some(_) => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{folder}/{location}")
            }
        };
        let authority = self.origin.authority();
        Self::parse(&format!("{scheme}://{authority}{target}"))
    }
}

impl fmt::Display for Url {
    /// Without the query: that is where signatures and tokens are.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path);
        write!(formatter, "{}{path}", self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::{Url, UrlError, is_loopback, split_authority};

    #[test]
    fn loopback_is_told_by_the_text_alone() {
        for host in [
            "localhost",
            "LOCALHOST",
            "127.0.0.1",
            "127.255.0.9",
            "::1",
            "[::1]",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.com", "128.0.0.1", "::2", "127.0.0.1.nip.io", "127.1", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn authorities_are_taken_apart_or_refused() {
        assert_eq!(split_authority("a.b:5000"), Some(("a.b", Some(5000))));
        assert_eq!(split_authority("[::1]:5000"), Some(("::1", Some(5000))));
        assert_eq!(split_authority("[::1]"), Some(("::1", None)));
        for bad in [
            "", ":5", "a:", "a:+5", "a:99999", "a:b:c", "[::1", "[x]", "[::1]x", "a/b", "a b",
            "u@h",
        ] {
            assert_eq!(split_authority(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_location_is_resolved_against_the_url_it_came_from() {
        let base = Url::parse("https://Reg.example:5000/v2/a/blobs/x?y=1").unwrap();
        for (location, wanted) in [
            ("http://other/p?q=1#f", "http://other/p?q=1"),
            ("HTTPS://other:443", "https://other/"),
            ("https://[::1]:7/z", "https://[::1]:7/z"),
            ("//other/p", "https://other/p"),
            ("/p?q", "https://reg.example:5000/p?q"),
            ("?z", "https://reg.example:5000/v2/a/blobs/x?z"),
            ("z/1:2", "https://reg.example:5000/v2/a/blobs/z/1:2"),
            ("", "https://reg.example:5000/v2/a/blobs/x?y=1"),
        ] {
            let found = base.join(location).unwrap();
            assert_eq!(format!("{}{}", found.origin, found.target), wanted, "{location}");
        }
        // "z:1/2" has the scheme "z" (RFC 3986 section 4.2).
        for bad in [
            "z:1/2",
            "ftp://x/",
            "http://u:p@h/",
            "http:///x",
            "http://h:x/",
            "/a b",
            "file:///etc/passwd",
        ] {
            assert!(base.join(bad).is_err(), "{bad}");
        }
        assert_eq!(base.join(&format!("/{}", "a".repeat(17_000))), Err(UrlError::TooLong));
    }

    #[test]
    fn the_display_of_a_url_hides_its_query() {
        let url = Url::parse("https://h/p?signature=secret").unwrap();
        assert_eq!(url.to_string(), "https://h/p");
    }
}
