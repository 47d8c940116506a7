//! The plain files of a container: what it sees as `/etc/hosts`, `/etc/hostname` and
//! `/etc/resolv.conf`, and what a person reads in its directory.

use std::{fmt::Write as _, net::IpAddr, sync::Arc};

use oci_spec::runtime::{LinuxSeccomp, Spec};
use serde_json::Value;

use super::{json, pretty};
use crate::{
    container::{Container, HostAddress, NetworkMode, extra_host},
    ports::{ContainerFiles, NetworkDns},
};

/// Host files that containers get a form of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct HostFiles {
    /// `/etc/resolv.conf`.
    pub resolv_conf: Vec<u8>,
    /// `/etc/hosts`, for containers in the host's network.
    pub hosts: Option<Vec<u8>>,
}

/// All files of a container with this spec, and this profile of its filter.
#[must_use]
pub fn build(
    container: &Container,
    (spec, seccomp): (&Spec, Option<&Arc<LinuxSeccomp>>),
    from: &HostFiles,
) -> ContainerFiles {
    let Container { config, .. } = container;
    let to_json = |value: Option<Value>| match value {
        Some(value) if value != Value::Null => pretty(&value),
        _ => b"null\n".to_vec(),
    };
    let seccomp = seccomp.map(json::seccomp);
    ContainerFiles {
        config_json: json::config_json(spec, seccomp.as_deref()),
        hostname: format!("{}\n", config.hostname).into_bytes(),
        hosts: hosts(container, from.hosts.as_deref()),
        resolv_conf: resolv_conf(container, &from.resolv_conf),
        oci_hooks: to_json(spec.hooks().as_ref().and_then(|v| serde_json::to_value(v).ok())),
        seccomp: seccomp.map_or_else(|| to_json(None), |texts| texts.file.clone()),
    }
}

/// In the host's network the host's names hold; else the container's own is that of its address, or
/// of the loopback device where it has none.
fn hosts(container: &Container, of_host: Option<&[u8]>) -> Vec<u8> {
    let Container { config, host, network, .. } = container;
    let mut text = String::new();
    match of_host {
        Some(bytes) => {
            text.push_str(&String::from_utf8_lossy(bytes));
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
        }
        None => text.push_str(
            "127.0.0.1\tlocalhost\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::\tip6-localnet\n\
             ff00::\tip6-mcastprefix\n\
             ff02::1\tip6-allnodes\n\
             ff02::2\tip6-allrouters\n",
        ),
    }
    let given = || network.iter().flat_map(|endpoint| &endpoint.attachment.addresses);
    for (name, address) in host.extra_hosts.iter().filter_map(|entry| extra_host(entry).ok()) {
        let address = match address {
            HostAddress::Ip(address) => Some(address),
            HostAddress::Gateway => given().find_map(|address| address.gateway),
        };
        if let Some(address) = address {
            let _ = writeln!(text, "{address}\t{name}");
        }
    }
    if of_host.is_none() {
        let mut addresses: Vec<IpAddr> = given().map(|address| address.ip).collect();
        if addresses.is_empty() {
            addresses.push(IpAddr::from([127, 0, 0, 1]));
        }
        for address in addresses {
            let _ = write!(text, "{address}\t{}", config.hostname);
            match &config.domainname {
                Some(domain) => {
                    let _ = writeln!(text, " {}.{domain}", config.hostname);
                }
                None => text.push('\n'),
            }
        }
    }
    text.into_bytes()
}

/// The host's, with the user's servers, domains and options in place of its own, or those of the
/// container's network. A server on the host's loopback can't be reached from another network
/// namespace and is left out there.
fn resolv_conf(container: &Container, of_host: &[u8]) -> Vec<u8> {
    let host = &container.host;
    let network = container.network.as_ref().map(|endpoint| &endpoint.attachment.dns);
    let of_network = |pick: fn(&NetworkDns) -> &Vec<String>| network.map(pick).cloned();
    let first = |own: &Vec<String>, pick| match own.is_empty() {
        true => of_network(pick).unwrap_or_default(),
        false => own.clone(),
    };
    let of_host = String::from_utf8_lossy(of_host);
    let values = |keyword: &'static str| {
        of_host.lines().filter_map(move |line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(keyword)).then(|| words.map(str::to_owned).collect::<Vec<_>>())
        })
    };
    let own_network = host.network != NetworkMode::Host;
    let reachable = |server: &String| {
        let address = server.split('%').next().unwrap_or_default().parse::<IpAddr>();
        address.is_ok_and(|address| !(own_network && address.is_loopback()))
    };
    let mut servers = first(&host.dns, |dns| &dns.nameservers);
    if servers.is_empty() {
        servers = values("nameserver").flatten().filter(reachable).collect();
    }
    let mut search = first(&host.dns_search, |dns| &dns.search);
    if search.is_empty() {
        // The last line of either keyword counts (resolv.conf(5)).
        search = values("search").chain(values("domain")).last().unwrap_or_default();
    }
    search.retain(|domain| domain != ".");
    let mut options = first(&host.dns_options, |dns| &dns.options);
    if options.is_empty() {
        options = values("options").flatten().collect();
    }
    let mut text = String::new();
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    for (keyword, words) in [("search", search), ("options", options)] {
        if !words.is_empty() {
            let _ = writeln!(text, "{keyword} {}", words.join(" "));
        }
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::{hosts, resolv_conf};
    use crate::{
        container::{Config, Container, Endpoint, HostConfig, NetworkMode},
        id::ContainerId,
        ports::{Address, Attachment, NetworkDns},
        testing::conformance,
    };

    const HOST: &[u8] = b"# comment\nnameserver 127.0.0.53\nnameserver 10.0.0.2 \n\
        nameserver fe80::1%eth0\nnameserver ::1\nnameserver nonsense\nsearch a.example b.example\n\
        options edns0 trust-ad\n";

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn with(host: HostConfig) -> Container {
        Container { host, ..conformance::container(&ContainerId::from_random([1; 32])) }
    }

    #[test]
    fn servers_on_the_hosts_loopback_are_left_out_of_a_network_of_its_own() {
        let own = resolv_conf(&with(HostConfig::default()), HOST);
        let wanted = "nameserver 10.0.0.2\nnameserver fe80::1%eth0\n\
            search a.example b.example\noptions edns0 trust-ad\n";
        assert_eq!(String::from_utf8_lossy(&own), wanted);
        let shared = HostConfig { network: NetworkMode::Host, ..HostConfig::default() };
        let shared = resolv_conf(&with(shared), HOST);
        assert!(String::from_utf8_lossy(&shared).starts_with("nameserver 127.0.0.53\n"));
    }

    #[test]
    fn the_users_resolver_settings_replace_the_hosts_one_by_one() {
        let host = HostConfig {
            dns: texts(&["1.1.1.1"]),
            dns_search: texts(&["."]),
            dns_options: texts(&["ndots:1", "rotate"]),
            ..HostConfig::default()
        };
        let found = resolv_conf(&with(host), HOST);
        assert_eq!(String::from_utf8_lossy(&found), "nameserver 1.1.1.1\noptions ndots:1 rotate\n");
        assert_eq!(resolv_conf(&with(HostConfig::default()), b"\xff\xfe"), b"");
    }

    #[test]
    fn the_hosts_file_has_the_containers_name_or_is_the_hosts_own() {
        let config = Config { hostname: "web".to_owned(), ..Config::default() };
        let host = HostConfig { extra_hosts: texts(&["db:10.0.0.1"]), ..HostConfig::default() };
        let container = Container { config, ..with(host) };
        let own = String::from_utf8(hosts(&container, None)).unwrap();
        assert!(own.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(own.ends_with("10.0.0.1\tdb\n127.0.0.1\tweb\n"));
        let shared = String::from_utf8(hosts(&container, Some(b"1.2.3.4 x"))).unwrap();
        assert_eq!(shared, "1.2.3.4 x\n10.0.0.1\tdb\n");
    }

    #[test]
    fn a_networks_address_and_servers_are_in_the_files_of_its_container() {
        let addresses = ["10.83.0.2", "fd00::2"].map(|ip| Address {
            ip: ip.parse().unwrap(),
            prefix: 16,
            gateway: ip.starts_with("10").then(|| "10.83.0.1".parse().unwrap()),
        });
        let dns = NetworkDns { nameservers: texts(&["10.83.0.1"]), ..NetworkDns::default() };
        let attachment = Attachment { addresses: addresses.to_vec(), dns, ..Attachment::default() };
        let network = Some(Box::new(Endpoint { attachment, ports: Vec::new() }));
        let config = Config {
            hostname: "web".to_owned(),
            domainname: Some("example".to_owned()),
            ..Config::default()
        };
        let host = HostConfig {
            extra_hosts: texts(&["host.docker.internal:host-gateway"]),
            ..HostConfig::default()
        };
        let mut container = Container { config, network, ..with(host) };
        let found = String::from_utf8(hosts(&container, None)).unwrap();
        let wanted = "10.83.0.1\thost.docker.internal\n10.83.0.2\tweb web.example\n\
            fd00::2\tweb web.example\n";
        assert!(found.ends_with(wanted), "{found}");
        let found = resolv_conf(&container, HOST);
        assert!(found.starts_with(b"nameserver 10.83.0.1\nsearch a.example"));
        container.host.dns = texts(&["1.1.1.1"]);
        assert!(resolv_conf(&container, HOST).starts_with(b"nameserver 1.1.1.1\nsearch"));
    }
}
