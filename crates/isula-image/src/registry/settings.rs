//! What the operator decides: which registries need no certificate, mirrors, limits.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use super::{
    origin::{Scheme, Url, is_loopback, split_authority},
    proxy::Proxies,
    retry::Retry,
};

/// The configuration of the registry client.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Registries that may speak plain http or show any certificate: `host`, `host:port`, or an
    /// address range (`10.0.0.0/8`) that is compared with registries named by address.
    pub insecure: Vec<String>,
    /// Mirrors of docker.io, tried in this order before it: `host[:port]` or a URL, which may have
    /// a path.
    pub mirrors: Vec<String>,
    /// Holds `HOST[:PORT]/{*.crt, *.cert, *.key}`.
    pub certs_dir: PathBuf,
    /// The host's trusted certificates (PEM), used along with the built-in set. A missing file is
    /// no error.
    pub ca_bundle: PathBuf,
    /// Proxies.
    pub proxies: Proxies,
    /// Layers fetched at once, by all pulls together; 0 counts as 1.
    pub max_concurrent_downloads: usize,
    /// How long to wait.
    pub limits: TimeLimits,
    /// How often to ask again.
    pub retry: Retry,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            mirrors: Vec::new(),
            certs_dir: "/etc/isulad/certs.d".into(),
            ca_bundle: "/etc/ssl/certs/ca-certificates.crt".into(),
            proxies: Proxies::default(),
            max_concurrent_downloads: 3,
            limits: TimeLimits::default(),
            retry: Retry::default(),
        }
    }
}

/// How long the client waits for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// For name, connection, proxy and TLS together.
    pub connect: Duration,
    /// For the head of an answer, and for each further 16 KiB of its body: a sender that drips
    /// single bytes is as good as silent.
    pub stall: Duration,
    /// For the whole of a small body: a manifest, configuration, token or error text.
    pub document: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            document: Duration::from_secs(120),
        }
    }
}

/// An entry of the settings that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Of `insecure`.
    #[error(
        "invalid insecure registry {0:?}: it must be a host with an optional port, or an address range"
    )]
    Insecure(String),
    /// Of `mirrors`.
    #[error("invalid registry mirror {0:?}: it must be a host with an optional port, or a URL")]
    Mirror(String),
    /// An `http://` mirror that is neither on loopback nor listed as insecure.
    #[error("registry mirror {0:?} is plain http: it must also be an insecure registry")]
    PlainMirror(String),
    /// Of the proxies.
    #[error("invalid proxy {0:?}: it must be http://[USER:PASSWORD@]HOST[:PORT]")]
    Proxy(String),
}

/// How far a registry is trusted without proof of who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Only over TLS with a verified certificate.
    Verified,
    /// On this host: any certificate will do unless one was configured, and plain http.
    Loopback,
    /// Listed as insecure: any certificate, and plain http.
    Insecure,
}

/// The `insecure` list, parsed.
#[derive(Debug, Clone, Default)]
pub(super) struct TrustList {
    hosts: Vec<(String, Option<u16>)>,
    ranges: Vec<Range>,
}

impl TrustList {
    pub(super) fn parse(entries: &[String]) -> Result<Self, SettingsError> {
        let mut list = Self::default();
        for entry in entries {
            let bad = || SettingsError::Insecure(entry.clone());
            if entry.contains('/') {
                list.ranges.push(Range::parse(entry).ok_or_else(bad)?);
            } else {
                let (host, port) = split_authority(entry).ok_or_else(bad)?;
                list.hosts.push((host.to_ascii_lowercase(), port));
            }
        }
        Ok(list)
    }

    /// `port` is absent where it is the default of its scheme. An entry without a port stands for
    /// the default ports only.
    pub(super) fn trust(&self, host: &str, port: Option<u16>) -> Trust {
        let named = |(name, number): &(String, Option<u16>)| {
            name.eq_ignore_ascii_case(host)
                && (*number == port || (port.is_none() && matches!(number, Some(80 | 443))))
        };
        let address = host.parse::<IpAddr>().ok();
        let ranged = |range: &Range| address.is_some_and(|address| range.contains(address));
        if self.hosts.iter().any(named) || self.ranges.iter().any(ranged) {
            Trust::Insecure
        } else if is_loopback(host) {
            Trust::Loopback
        } else {
            Trust::Verified
        }
    }
}

/// An address range, `ADDRESS/BITS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    address: u128,
    bits: u8,
    is_v4: bool,
}

impl Range {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        if !bits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let bits: u8 = bits.parse().ok()?;
        let (address, is_v4) = number(address);
        (bits <= if is_v4 { 32 } else { 128 }).then_some(Self { address, bits, is_v4 })
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let (address, is_v4) = number(address.to_canonical());
        let width: u32 = if is_v4 { 32 } else { 128 };
        let shift = width.saturating_sub(u32::from(self.bits));
        let prefix = |number: u128| number.checked_shr(shift).unwrap_or(0);
        is_v4 == self.is_v4 && prefix(address) == prefix(self.address)
    }
}

fn number(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), true),
        IpAddr::V6(address) => (address.to_bits(), false),
    }
}

/// A mirror, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mirror {
    /// Set when the entry was a URL.
    pub(super) scheme: Option<Scheme>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// Goes before `/v2/`; empty or begins with `/`.
    pub(super) prefix: String,
}

impl Mirror {
    pub(super) fn parse(entry: &str, trust: &TrustList) -> Result<Self, SettingsError> {
        let bad = || SettingsError::Mirror(entry.to_owned());
        if !entry.contains("://") {
            let (host, port) = split_authority(entry.trim_end_matches('/')).ok_or_else(bad)?;
            let host = host.to_owned();
            return Ok(Self { scheme: None, host, port, prefix: String::new() });
        }
        let url = Url::parse(entry).map_err(|_| bad())?;
        if url.target.contains('?') {
            return Err(bad());
        }
        let origin = url.origin;
        let port = origin.explicit_port();
        if origin.scheme == Scheme::Http && trust.trust(&origin.host, port) == Trust::Verified {
            return Err(SettingsError::PlainMirror(entry.to_owned()));
        }
        let prefix = url.target.trim_end_matches('/').to_owned();
        Ok(Self { scheme: Some(origin.scheme), host: origin.host.into(), port, prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::{Mirror, SettingsError, Trust, TrustList};

    fn list(entries: &[&str]) -> TrustList {
        TrustList::parse(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>())
            .unwrap()
    }

    #[test]
    fn trust_follows_the_list_and_loopback() {
        let list = list(&[
            "reg.lan",
            "other.lan:5000",
            "10.0.0.0/8",
            "fd00::/8",
            "[::2]:5000",
            "0.0.0.0/32",
        ]);
        for (host, port, wanted) in [
            ("reg.lan", None, Trust::Insecure),
            ("REG.lan", None, Trust::Insecure),
            ("reg.lan", Some(5000), Trust::Verified),
            ("other.lan", Some(5000), Trust::Insecure),
            ("other.lan", None, Trust::Verified),
            ("10.9.8.7", Some(1), Trust::Insecure),
            ("::ffff:10.9.8.7", Some(1), Trust::Insecure),
            ("11.9.8.7", None, Trust::Verified),
            ("fd12::1", None, Trust::Insecure),
            ("fe12::1", None, Trust::Verified),
            ("::2", Some(5000), Trust::Insecure),
            ("0.0.0.0", None, Trust::Insecure),
            ("0.0.0.1", None, Trust::Verified),
            ("127.0.0.1", Some(5000), Trust::Loopback),
            ("localhost", None, Trust::Loopback),
            ("docker.io", None, Trust::Verified),
        ] {
            assert_eq!(list.trust(host, port), wanted, "{host} {port:?}");
        }
    }

    #[test]
    fn a_range_of_zero_bits_holds_every_address_of_its_family() {
        assert_eq!(list(&["0.0.0.0/0"]).trust("8.8.8.8", None), Trust::Insecure);
        assert_eq!(list(&["0.0.0.0/0"]).trust("2001::1", None), Trust::Verified);
        assert_eq!(list(&["::/0"]).trust("2001::1", None), Trust::Insecure);
    }

    #[test]
    fn a_bad_entry_is_named() {
        for entry in ["", "http://x", "x/y", "10.0.0.0/33", "10.0.0.0/+8", "a b", "x:99999"] {
            let error = TrustList::parse(&[entry.to_owned()]).unwrap_err();
            assert_eq!(error, SettingsError::Insecure(entry.to_owned()));
        }
    }

    #[test]
    fn mirrors_are_hosts_or_urls() {
        let trust = list(&["plain.lan"]);
        let full = Mirror::parse("https://m.example:8443/hub/", &trust).unwrap();
        assert_eq!(
            (full.host.as_str(), full.port, full.prefix.as_str()),
            ("m.example", Some(8443), "/hub")
        );
        assert_eq!(Mirror::parse("127.0.0.1:5000", &trust).unwrap().port, Some(5000));
        assert!(Mirror::parse("http://plain.lan", &trust).is_ok());
        assert!(Mirror::parse("http://127.0.0.1:5000", &trust).is_ok());
        let error = Mirror::parse("http://m.example", &trust).unwrap_err();
        assert_eq!(error, SettingsError::PlainMirror("http://m.example".to_owned()));
        for bad in ["", "ftp://x", "https://u@x", "https://x/?q", "a b"] {
            assert!(matches!(Mirror::parse(bad, &trust), Err(SettingsError::Mirror(_))), "{bad}");
        }
    }
}
