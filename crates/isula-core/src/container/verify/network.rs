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
        extra_host(entry)?;
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

/// `NAME:ADDRESS`, the address with or without brackets: the name and the address.
pub(crate) fn extra_host(entry: &str) -> Result<(&str, IpAddr), Invalid> {
    let error = |why: &str| Invalid::value("add-host", entry, why);
    let (name, address) =
        entry.split_once([':', '=']).ok_or_else(|| error("it must be NAME:ADDRESS"))?;
    if !is_word(name) {
        return Err(error("the name must be letters, digits, '.', '-' or '_'"));
    }
    if address == "host-gateway" {
        let why = "a container without a bridge network has no gateway";
        return Err(Invalid::Unsupported { field: "add-host", value: entry.to_owned(), why });
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(address).parse();
    address.map(|address| (name, address)).map_err(|_| error("the address is no IP address"))
}

fn is_word(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:".contains(&byte);
    !text.is_empty() && text.len() <= 255 && text.bytes().all(fits)
}
