//! Small words with a fixed form: policies, ports, addresses, numbers of lines.

use std::net::IpAddr;

use isula_sys::signal::Signal;

/// `--restart`: `no`, `always`, `unless-stopped` or `on-failure[:N]`.
///
/// # Errors
/// Anything else.
pub fn restart(text: &str) -> Result<String, String> {
    let (name, retries) = match text.split_once(':') {
        Some((name, retries)) => (name, Some(retries)),
        None => (text, None),
    };
    match (name, retries) {
        ("no" | "always" | "unless-stopped" | "on-failure", None) => Ok(text.to_owned()),
        ("on-failure", Some(retries)) => match retries.parse::<u32>() {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err("maximum retry count must be an integer".to_owned()),
        },
        ("no" | "always" | "unless-stopped", Some(_)) => {
            Err(format!("maximum retry count cannot be used with restart policy '{name}'"))
        }
        _ => Err(format!("unknown policy '{name}'")),
    }
}

/// `--expose`: `80`, `80/udp`, `8000-8010/tcp`; the protocol is always there in the result.
///
/// # Errors
/// Ports outside 1 to 65535, ranges that go down, other protocols.
pub fn exposed_port(text: &str) -> Result<String, String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid protocol: {protocol}"));
    }
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 && !text.starts_with('+') => Ok(port),
        _ => Err(format!("invalid port: {text:?}")),
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(format!("invalid range of ports: {ports}"));
    }
    Ok(if first == last {
        format!("{first}/{protocol}")
    } else {
        format!("{first}-{last}/{protocol}")
    })
}

/// `--add-host`: `name:address` or `name=address`, always with the colon in the result.
///
/// # Errors
/// A missing name, what is no address and not `host-gateway`.
pub fn extra_host(text: &str) -> Result<String, String> {
    let split = match text.split_once('=') {
        Some((name, _)) if name.contains(':') => text.split_once(':'),
        Some(pair) => Some(pair),
        None => text.split_once(':'),
    };
    let Some((name, address)) = split.filter(|(name, _)| !name.is_empty()) else {
        return Err(format!("bad format for add-host: {text:?}"));
    };
    let bare = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let address = bare.unwrap_or(address);
    if address != "host-gateway" {
        ip(address).map_err(|_| format!("invalid IP address in add-host: {address:?}"))?;
    }
    Ok(format!("{name}:{address}"))
}

/// An address of version 4 or 6.
///
/// # Errors
/// Anything else.
pub fn ip(text: &str) -> Result<String, String> {
    let address = text.trim();
    match address.parse::<IpAddr>() {
        Ok(_) => Ok(address.to_owned()),
        Err(_) => Err(format!("{text} is not an ip address")),
    }
}

/// `--pull`: when to pull the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// Even if the image is there.
    Always,
    /// If the image is not there.
    Missing,
    /// Not at all.
    Never,
}

/// `always`, `missing` or `never`.
///
/// # Errors
/// Anything else.
pub fn pull_policy(text: &str) -> Result<PullPolicy, String> {
    match text {
        "always" => Ok(PullPolicy::Always),
        "missing" | "" => Ok(PullPolicy::Missing),
        "never" => Ok(PullPolicy::Never),
        _ => Err(format!("{text:?} is none of always, missing and never")),
    }
}

/// A signal by name or number.
///
/// # Errors
/// What names none.
pub fn signal(text: &str) -> Result<String, String> {
    match text.parse::<Signal>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("invalid signal: {text}")),
    }
}

/// `--tail`: a number of lines, or none for `all`.
///
/// # Errors
/// What is neither; a negative number is `all`, as in Docker.
pub fn tail(text: &str) -> Result<Option<u64>, String> {
    match text {
        "all" => Ok(None),
        text => match text.parse::<i64>() {
            Ok(lines) => Ok(u64::try_from(lines).ok()),
            Err(_) => Err(format!("{text:?} is neither a number nor \"all\"")),
        },
    }
}

/// `--filter`: `key=value`.
///
/// # Errors
/// A missing `=`.
pub fn filter(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok(format!("{}={}", key.trim().to_ascii_lowercase(), value.trim()))
        }
        _ => Err("bad format of filter (expected name=value)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parse: fn(&str) -> Result<String, String>, table: &[(&str, Option<&str>)]) {
        for (text, expected) in table {
            assert_eq!(parse(text).ok().as_deref(), *expected, "{text:?}");
        }
    }

    #[test]
    fn words_have_their_forms() {
        check(
            restart,
            &[
                ("no", Some("no")),
                ("on-failure:3", Some("on-failure:3")),
                ("unless-stopped", Some("unless-stopped")),
                ("always:3", None),
                ("on-failure:x", None),
                ("on-failure:-1", None),
                ("on-reboot", None),
                ("", None),
            ],
        );
        check(
            exposed_port,
            &[
                ("80", Some("80/tcp")),
                ("53/UDP", Some("53/udp")),
                ("1-9/sctp", Some("1-9/sctp")),
                ("7-7", Some("7/tcp")),
                ("0", None),
                ("65536", None),
                ("9-1", None),
                ("80/icmp", None),
                ("+80", None),
            ],
        );
        check(
            extra_host,
            &[
                ("a:1.2.3.4", Some("a:1.2.3.4")),
                ("a=1.2.3.4", Some("a:1.2.3.4")),
                ("a:[::1]", Some("a:::1")),
                ("a=::1", Some("a:::1")),
                ("a:host-gateway", Some("a:host-gateway")),
                ("a", None),
                (":1.2.3.4", None),
                ("a:1.2.3", None),
            ],
        );
        check(
            signal,
            &[("SIGTERM", Some("SIGTERM")), ("9", Some("9")), ("BAD", None), ("0", None)],
        );
        check(
            filter,
            &[("Name = x ", Some("name=x")), ("label=a=b", Some("label=a=b")), ("x", None)],
        );
        assert_eq!(tail("all"), Ok(None));
        assert_eq!(tail("-1"), Ok(None));
        assert_eq!(tail("10"), Ok(Some(10)));
        assert!(tail("x").is_err() && tail("").is_err());
        assert!(pull_policy("sometimes").is_err());
    }
}
