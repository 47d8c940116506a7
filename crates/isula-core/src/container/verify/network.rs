//! What is asked of a network. Name servers, search domains and additional hosts become lines of
//! files.

use std::{collections::HashSet, net::IpAddr};

use super::super::{Connection, HostConfig, Invalid};
use crate::ports::PortMapping;

/// More ports than this of one container are a mistake, and would be as many rules of the kernel.
const PORTS: usize = 4096;

pub(super) fn verify(host: &HostConfig) -> Result<(), Invalid> {
    for server in &host.dns {
        if server.parse::<IpAddr>().is_err() {
            return Err(Invalid::value("dns", server, "it is no IP address"));
        }
    }
    for domain in &host.dns_search {
        if domain != "." && !is_word(domain) {
            return Err(Invalid::value("dns-search", domain, "it is no domain name"));
        }
    }
    for option in &host.dns_options {
        if !is_word(option) {
            return Err(Invalid::value("dns-option", option, "it must be one word"));
        }
    }
    for entry in &host.extra_hosts {
        let (_, address) = extra_host(entry)?;
        if address == HostAddress::Gateway && host.network.connection().is_none() {
            let why = "a container without a network of its own has no gateway";
            let (field, value) = ("add-host", entry.to_owned());
            return Err(Invalid::Unsupported { field, value, why });
        }
    }
    host.network.connection().map_or(Ok(()), connection)
}

fn connection(wanted: &Connection) -> Result<(), Invalid> {
    if wanted.ports.len() > PORTS {
        let why = format!("at most {PORTS} ports of a container can be published");
        return Err(Invalid::value("publish", wanted.ports.len(), why));
    }
    let mut taken = HashSet::new();
    for port in &wanted.ports {
        if port.container_port == 0 {
            return Err(Invalid::value("publish", 0, "a port must be 1 to 65535"));
        }
        let PortMapping { host_port, protocol, host_ip, .. } = port;
        if *host_port != 0 && !taken.insert((host_ip, protocol, host_port)) {
            return Err(Invalid::value(
                "publish",
                host_port,
                "the port of the host is named twice",
            ));
        }
    }
    if let Some(ip) = wanted.ip.filter(|ip| ip.is_unspecified() || ip.is_multicast()) {
        return Err(Invalid::value("ip", ip, "no container can have this address"));
    }
    match &wanted.mac {
        Some(mac) if !is_mac(mac) => {
            let why = "it must be six bytes, as 02:42:ac:11:00:02, and no group's";
            Err(Invalid::value("mac-address", mac, why))
        }
        _ => Ok(()),
    }
}

/// Six bytes in hexadecimal digits; the lowest bit of the first one is set in addresses of groups.
fn is_mac(text: &str) -> bool {
    let byte = |text: &str| match text.len() == 2 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => u8::from_str_radix(text, 16).ok(),
        false => None,
    };
    let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
    bytes.is_some_and(|bytes| {
        bytes.len() == 6
            && bytes.first().is_some_and(|first| first & 1 == 0)
            && bytes.iter().any(|byte| *byte != 0)
    })
}

/// What a line of `/etc/hosts` leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostAddress {
    Ip(IpAddr),
    /// The gateway of the container's network: the host.
    Gateway,
}

/// `NAME:ADDRESS`, the address with or without brackets, or Docker's `host-gateway`: the name and
/// the address.
pub(crate) fn extra_host(entry: &str) -> Result<(&str, HostAddress), Invalid> {
    let error = |why: &str| Invalid::value("add-host", entry, why);
    let (name, address) =
        entry.split_once([':', '=']).ok_or_else(|| error("it must be NAME:ADDRESS"))?;
    if !is_word(name) {
        return Err(error("the name must be letters, digits, '.', '-' or '_'"));
    }
    if address == "host-gateway" {
        return Ok((name, HostAddress::Gateway));
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(address).parse();
    address.map(|ip| (name, HostAddress::Ip(ip))).map_err(|_| error("the address is no IP address"))
}

fn is_word(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:".contains(&byte);
    !text.is_empty() && text.len() <= 255 && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::{Connection, HostConfig, PortMapping, verify};
    use crate::{container::NetworkMode, id::Name, ports::Protocol};

    fn connected(change: impl FnOnce(&mut HostConfig, &mut Connection)) -> Result<(), String> {
        let mut connection = Connection::to(Name::try_from("bridge".to_owned()).unwrap());
        let mut host = HostConfig::default();
        change(&mut host, &mut connection);
        host.network = NetworkMode::Network(Box::new(connection));
        verify(&host).map_err(|error| error.to_string())
    }

    fn port(host_port: u16, container_port: u16) -> PortMapping {
        PortMapping { host_port, container_port, protocol: Protocol::Tcp, host_ip: None }
    }

    #[test]
    fn what_can_be_asked_of_a_network_passes() {
        connected(|_, _| ()).unwrap();
        connected(|host, _| host.extra_hosts = vec!["a:host-gateway".to_owned()]).unwrap();
        // Several may be chosen, and one port of the container be reached by several.
        connected(|_, c| c.ports = vec![port(0, 80), port(0, 81), port(8080, 80)]).unwrap();
        let udp = PortMapping { protocol: Protocol::Udp, ..port(8080, 80) };
        connected(|_, c| c.ports = vec![port(8080, 80), udp]).unwrap();
        connected(|_, c| c.mac = Some("02:42:AC:11:00:02".to_owned())).unwrap();
        connected(|_, c| c.ip = Some([10, 83, 0, 9].into())).unwrap();
    }

    #[test]
    fn what_can_not_is_named() {
        for (result, words) in [
            (connected(|_, c| c.ports = vec![port(80, 0)]), "publish"),
            (connected(|_, c| c.ports = vec![port(80, 1), port(80, 2)]), "named twice"),
            (connected(|_, c| c.ports = vec![port(0, 1); 4097]), "at most 4096 ports"),
            (connected(|_, c| c.ip = Some([0, 0, 0, 0].into())), "ip \"0.0.0.0\""),
            (connected(|_, c| c.ip = Some([224, 0, 0, 1].into())), "ip \"224.0.0.1\""),
        ] {
            let message = result.unwrap_err();
            assert!(message.contains(words), "{message}");
        }
        for mac in [
            "",
            "02:42",
            "02-42-ac-11-00-02",
            "01:00:00:00:00:01",
            "00:00:00:00:00:00",
            "+2:42:ac:11:00:02",
        ] {
            let message = connected(|_, c| c.mac = Some(mac.to_owned())).unwrap_err();
            assert!(message.contains("mac-address"), "{message}");
        }
    }
}
