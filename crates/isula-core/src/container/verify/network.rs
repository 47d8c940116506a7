//! Name servers, search domains and additional hosts: all of it becomes lines of files.

use std::net::IpAddr;

use super::super::{HostConfig, Invalid};

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
    Ok(())
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
