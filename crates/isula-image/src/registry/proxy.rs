//! Which requests go through a proxy, as `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say.

use std::net::IpAddr;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;

use super::{
    origin::{Origin, Scheme, is_loopback, split_authority},
    settings::{Range, SettingsError},
};

/// Proxies as the environment names them. Loopback is never proxied.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For https, by CONNECT: `http://[USER:PASSWORD@]HOST[:PORT]` or `HOST:PORT`.
    pub https: Option<String>,
    /// For http.
    pub http: Option<String>,
    /// What is reached directly: names (with everything below them), addresses, address ranges,
    /// each with an optional port, separated by commas; `*` is everything.
    pub no_proxy: Option<String>,
}

impl Proxies {
    /// Reads the usual variables, lower case first, through `variable`; an empty one is absent.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |lower: &str, upper: &str| {
            [lower, upper].into_iter().filter_map(&variable).find(|value| !value.is_empty())
        };
        Self {
            https: either("https_proxy", "HTTPS_PROXY"),
            http: either("http_proxy", "HTTP_PROXY"),
            no_proxy: either("no_proxy", "NO_PROXY"),
        }
    }
}

impl std::fmt::Debug for Proxies {
    /// Says only which are set: a proxy's URL may hold a password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (https, http) = (self.https.is_some(), self.http.is_some());
        formatter
            .debug_struct("Proxies")
            .field("https", &https)
            .field("http", &http)
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

/// A proxy to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// `Proxy-Authorization`.
    pub(super) authorization: Option<HeaderValue>,
}

impl Proxy {
    fn parse(text: &str) -> Option<Self> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return None,
            None => text,
        };
        let rest = rest.trim_end_matches('/');
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, rest),
        };
        let (host, port) = split_authority(authority)?;
        let authorization = match user {
            Some(user) => Some(basic(&unescape(user)?)?),
            None => None,
        };
        Some(Self { host: host.to_owned(), port: port.unwrap_or(80), authorization })
    }
}

/// `Basic` and the base64 of `user:password`; absent if it does not fit a header.
pub(super) fn basic(user_and_password: &str) -> Option<HeaderValue> {
    let text = format!("Basic {}", BASE64_STANDARD.encode(user_and_password));
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Undoes percent encoding.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// The proxies, parsed.
#[derive(Debug, Clone, Default)]
pub(super) struct ProxyRules {
    https: Option<Proxy>,
    http: Option<Proxy>,
    everything_direct: bool,
    direct: Vec<Direct>,
}

#[derive(Debug, Clone)]
enum Direct {
    Range(Range),
    /// The name itself unless `below_only`, and names below it.
    Name {
        name: String,
        below_only: bool,
        port: Option<u16>,
    },
}

impl ProxyRules {
    pub(super) fn parse(proxies: &Proxies) -> Result<Self, SettingsError> {
        let one = |text: &Option<String>| match text {
            Some(text) => Proxy::parse(text)
                .map(Some)
                // The text is not repeated as it is: it may hold a password.
                .ok_or_else(|| SettingsError::Proxy(without_user(text))),
            None => Ok(None),
        };
        let mut rules =
            Self { https: one(&proxies.https)?, http: one(&proxies.http)?, ..Self::default() };
        let entries = proxies.no_proxy.as_deref().unwrap_or_default().split(',').map(str::trim);
        for entry in entries.filter(|entry| !entry.is_empty()) {
            if entry == "*" {
                rules.everything_direct = true;
            } else if let Some(direct) = Direct::parse(entry) {
                rules.direct.push(direct);
            }
        }
        Ok(rules)
    }

    /// The proxy that leads to `origin`, if not directly.
    pub(super) fn proxy_for(&self, origin: &Origin) -> Option<&Proxy> {
        let proxy = match origin.scheme {
            Scheme::Https => self.https.as_ref(),
            Scheme::Http => self.http.as_ref(),
        }?;
        let direct = self.everything_direct
            || is_loopback(&origin.host)
            || self.direct.iter().any(|direct| direct.covers(origin));
        (!direct).then_some(proxy)
    }
}

impl Direct {
    fn parse(entry: &str) -> Option<Self> {
        if let Some(range) = Range::parse(entry) {
            return Some(Self::Range(range));
        }
        let entry = entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry);
        // A bare IPv6 address has colons, but no port.
        let (name, port) = match entry.parse::<IpAddr>() {
            Ok(_) => (entry, None),
            Err(_) => split_authority(entry)?,
        };
        let below_only = name.starts_with('.');
        let name = name.trim_start_matches('.').to_ascii_lowercase();
        Some(Self::Name { name, below_only, port })
    }

    fn covers(&self, origin: &Origin) -> bool {
        match self {
            Self::Range(range) => {
                origin.host.parse().is_ok_and(|address: IpAddr| range.contains(address))
            }
            Self::Name { name, below_only, port } => {
                let same = !below_only && *origin.host == **name;
                let below =
                    origin.host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                (same || below) && port.is_none_or(|port| port == origin.port)
            }
        }
    }
}

fn without_user(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}://…@{host}")
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, Proxies, ProxyRules, Scheme, SettingsError};

    fn rules(no_proxy: &str) -> ProxyRules {
        ProxyRules::parse(&Proxies {
            https: Some("http://us%40er:pw@proxy.lan:3128/".to_owned()),
            http: Some("plain.lan:8080".to_owned()),
            no_proxy: Some(no_proxy.to_owned()),
        })
        .unwrap()
    }

    #[test]
    fn each_scheme_has_its_proxy_and_loopback_has_none() {
        let rules = rules("");
        let https = rules.proxy_for(&Origin::new(Scheme::Https, "reg.example", None)).unwrap();
        assert_eq!((https.host.as_str(), https.port), ("proxy.lan", 3128));
        assert_eq!(https.authorization.as_ref().unwrap(), "Basic dXNAZXI6cHc=");
        let http = rules.proxy_for(&Origin::new(Scheme::Http, "reg.example", None)).unwrap();
        assert_eq!(
            (http.host.as_str(), http.port, &http.authorization),
            ("plain.lan", 8080, &None)
        );
        for host in ["127.0.0.1", "localhost", "::1"] {
            assert_eq!(rules.proxy_for(&Origin::new(Scheme::Https, host, Some(5000))), None);
        }
    }

    #[test]
    fn no_proxy_lists_names_addresses_ranges_and_ports() {
        let rules = rules(
            "example.com, .below.lan,*.star.lan,10.0.0.0/8,192.168.1.5,port.lan:5000,fd00::1",
        );
        for (host, port, direct) in [
            ("example.com", None, true),
            ("a.example.com", None, true),
            ("badexample.com", None, false),
            ("below.lan", None, false),
            ("x.below.lan", None, true),
            ("x.star.lan", None, true),
            ("10.1.2.3", None, true),
            ("192.168.1.5", Some(5000), true),
            ("192.168.1.6", None, false),
            ("port.lan", Some(5000), true),
            ("port.lan", None, false),
            ("fd00::1", None, true),
        ] {
            let origin = Origin::new(Scheme::Https, host, port);
            assert_eq!(rules.proxy_for(&origin).is_none(), direct, "{host}");
        }
    }

    #[test]
    fn the_environment_is_read_lower_case_first_and_a_bad_proxy_is_named_without_its_password() {
        let proxies = Proxies::from_environment(|name| match name {
            "https_proxy" => Some("a:1".to_owned()),
            "HTTPS_PROXY" => Some("b:1".to_owned()),
            "http_proxy" => Some(String::new()),
            "HTTP_PROXY" => Some("c:1".to_owned()),
            _ => None,
        });
        assert_eq!((proxies.https.as_deref(), proxies.http.as_deref()), (Some("a:1"), Some("c:1")));
        let proxies =
            Proxies { https: Some("socks5://me:secret@h:1".to_owned()), ..Proxies::default() };
        let error = ProxyRules::parse(&proxies).unwrap_err();
        assert_eq!(error, SettingsError::Proxy("socks5://…@h:1".to_owned()));
        assert!(!format!("{proxies:?}").contains("secret"));
    }
}
