//! `--publish`: ports of the host that lead to those of a container.

use isula_api::v1::PortMapping;

use super::names;

/// `[IP:][HOST:]CONTAINER[/PROTOCOL]`, each of the two a port or a range of ports as long as the
/// other one. An IPv6 address is in brackets. Without a port of the host any is taken that is free.
///
/// # Errors
/// What names no port; ranges of different lengths; an address that is none.
pub fn ports(text: &str) -> Result<Vec<PortMapping>, String> {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid protocol: {protocol}"));
    }
    let (rest, container) = match rest.rsplit_once(':') {
        Some((rest, container)) => (Some(rest), container),
        None => (None, rest),
    };
    let (host_ip, host) = match rest {
        None => (String::new(), ""),
        Some(rest) => address_and_port(rest)?,
    };
    if container.is_empty() {
        return Err(format!("no port specified: {text}"));
    }
    let container = range(container)?;
    let hosts = match host {
        "" => vec![0; container.len()],
        host => range(host)?,
    };
    if hosts.len() != container.len() {
        return Err(format!("invalid ranges specified for container and host ports: {text}"));
    }
    let mapping = |(host_port, container_port)| PortMapping {
        host_port,
        container_port,
        protocol: protocol.clone(),
        host_ip: host_ip.clone(),
    };
    Ok(hosts.into_iter().zip(container).map(mapping).collect())
}

/// `IP:PORT`, `IP:`, `PORT`, or nothing at all.
fn address_and_port(text: &str) -> Result<(String, &str), String> {
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']').ok_or_else(|| wrong(text))?;
            (address, rest.strip_prefix(':').ok_or_else(|| wrong(text))?)
        }
        None => match text.rsplit_once(':') {
            Some((address, _)) if address.contains(':') => return Err(wrong(text)),
            Some((address, port)) => (address, port),
            None => return Ok((String::new(), text)),
        },
    };
    match address {
        "" => Ok((String::new(), port)),
        address => Ok((names::ip(address)?, port)),
    }
}

fn wrong(text: &str) -> String {
    format!("invalid address of the host: {text:?}; an IPv6 address goes in brackets: [::1]:80:80")
}

fn range(text: &str) -> Result<Vec<u32>, String> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 && !text.starts_with('+') => Ok(u32::from(port)),
        _ => Err(format!("invalid port: {text:?}")),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    match first <= last {
        true => Ok((first..=last).collect()),
        false => Err(format!("invalid range of ports: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::ports;

    fn read(text: &str) -> Result<Vec<(String, u32, u32, String)>, String> {
        let read = |port: super::PortMapping| {
            (port.host_ip, port.host_port, port.container_port, port.protocol)
        };
        ports(text).map(|ports| ports.into_iter().map(read).collect())
    }

    #[test]
    fn the_forms_of_docker_are_understood() {
        for (text, ip, host, container, protocol) in [
            ("80", "", 0, 80, "tcp"),
            ("80/udp", "", 0, 80, "udp"),
            ("8080:80", "", 8080, 80, "tcp"),
            (":80", "", 0, 80, "tcp"),
            ("8080:80/SCTP", "", 8080, 80, "sctp"),
            ("127.0.0.1:8080:80", "127.0.0.1", 8080, 80, "tcp"),
            ("127.0.0.1::80", "127.0.0.1", 0, 80, "tcp"),
            ("[::1]:8080:80", "::1", 8080, 80, "tcp"),
            ("[::1]::80", "::1", 0, 80, "tcp"),
        ] {
            let wanted = (ip.to_owned(), host, container, protocol.to_owned());
            assert_eq!(read(text), Ok(vec![wanted]), "{text}");
        }
        let pairs: Vec<(u32, u32)> = read("8000-8002:80-82")
            .unwrap()
            .into_iter()
            .map(|(_, host, container, _)| (host, container))
            .collect();
        assert_eq!(pairs, [(8000, 80), (8001, 81), (8002, 82)]);
        assert_eq!(read("80-81").unwrap().len(), 2);
    }

    #[test]
    fn what_means_no_port_is_refused() {
        for (text, words) in [
            ("", "no port specified"),
            ("8080:", "no port specified"),
            ("0:80", "invalid port: \"0\""),
            ("80:65536", "invalid port: \"65536\""),
            ("80:+1", "invalid port: \"+1\""),
            ("x:80", "invalid port: \"x\""),
            ("80/icmp", "invalid protocol: icmp"),
            ("82-80:1-3", "invalid range of ports: 82-80"),
            ("8000-8001:80", "invalid ranges specified"),
            ("1.2.3:80:80", "1.2.3 is not an ip address"),
            ("::1:80:80", "an IPv6 address goes in brackets"),
            ("[::1:80:80", "an IPv6 address goes in brackets"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
