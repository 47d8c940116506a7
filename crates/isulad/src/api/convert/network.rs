//! The network that a request asks for.

use std::net::IpAddr;

use isula_api::v1;
use isula_core::{
    container::{Connection, NetworkMode},
    id::Name,
    ports::{BRIDGE, PortMapping, Protocol},
};
use tonic::Status;

use super::{super::status::invalid, some};

/// Docker's other name of the network `bridge`.
const DEFAULT: &str = "default";

/// The mode; a container whose network is joined goes to `join`.
pub(super) fn mode(
    host: &v1::HostConfig,
    join: &mut Option<String>,
) -> Result<NetworkMode, Status> {
    let asks = asked(host);
    let mode = match host.network.as_str() {
        // Ports can only be published from a network.
        "" if asks.is_some() => return connection(host, BRIDGE),
        "" | "none" => NetworkMode::None,
        "host" => NetworkMode::Host,
        DEFAULT => return connection(host, BRIDGE),
        other => match other.strip_prefix("container:") {
            Some("") => return Err(invalid("network container: names no container")),
            Some(container) => {
                *join = Some(container.to_owned());
                NetworkMode::None
            }
            None => return connection(host, other),
        },
    };
    match asks {
        Some(option) => {
            let network = if host.network.is_empty() { "none" } else { &host.network };
            Err(invalid(format!("conflicting options: {option} and network {network}")))
        }
        None => Ok(mode),
    }
}

/// The first option that only a network can give.
fn asked(host: &v1::HostConfig) -> Option<&'static str> {
    let options = [
        ("publish", !host.ports.is_empty()),
        ("publish-all", host.publish_all),
        ("ip", !host.ip.is_empty()),
        ("mac-address", !host.mac_address.is_empty()),
    ];
    options.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
}

fn connection(host: &v1::HostConfig, network: &str) -> Result<NetworkMode, Status> {
    let name = Name::try_from(network.to_owned());
    Ok(NetworkMode::Network(Box::new(Connection {
        network: name.map_err(|_| invalid(format!("invalid network {network:?}")))?,
        ports: host.ports.iter().map(port).collect::<Result<_, _>>()?,
        publish_all: host.publish_all,
        ip: address("ip", &host.ip)?,
        mac: some(host.mac_address.to_ascii_lowercase()),
    })))
}

fn port(port: &v1::PortMapping) -> Result<PortMapping, Status> {
    let number = |port: u32| {
        u16::try_from(port).map_err(|_| invalid(format!("{port} is no port: the last is 65535")))
    };
    Ok(PortMapping {
        host_port: number(port.host_port)?,
        container_port: number(port.container_port)?,
        protocol: match port.protocol.as_str() {
            "" => Protocol::Tcp,
            name => Protocol::named(name)
                .ok_or_else(|| invalid(format!("invalid protocol {name:?}")))?,
        },
        host_ip: address("publish", &port.host_ip)?,
    })
}

fn address(field: &str, text: &str) -> Result<Option<IpAddr>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| invalid(format!("{field}: {text:?} is no IP address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(network: &str, change: impl FnOnce(&mut v1::HostConfig)) -> Result<NetworkMode, String> {
        let mut host = v1::HostConfig { network: network.to_owned(), ..Default::default() };
        change(&mut host);
        mode(&host, &mut None).map_err(|status| status.message().to_owned())
    }

    fn published(host_port: u32, container_port: u32) -> impl FnOnce(&mut v1::HostConfig) {
        let port = v1::PortMapping { host_port, container_port, ..Default::default() };
        move |host| host.ports = vec![port]
    }

    #[test]
    fn a_network_is_meant_by_its_name_and_by_what_only_it_can_give() {
        for network in ["bridge", "default"] {
            let mode = of(network, |_| ()).unwrap();
            assert_eq!(mode.to_string(), "bridge");
        }
        assert_eq!(of("front", |_| ()).unwrap().to_string(), "front");
        let mode = of("", published(8080, 80)).unwrap();
        let connection = mode.connection().unwrap();
        assert_eq!(connection.network.as_str(), "bridge");
        let port = connection.ports.first().unwrap();
        assert_eq!((port.host_port, port.container_port, port.protocol), (8080, 80, Protocol::Tcp));
        let mode = of("x", |host| host.mac_address = "0A:00:00:00:00:01".to_owned()).unwrap();
        let mac = mode.connection().unwrap().mac.clone();
        assert_eq!(mac.as_deref(), Some("0a:00:00:00:00:01"));
    }

    #[test]
    fn what_no_network_can_give_is_refused() {
        for (network, words) in [
            ("none", "conflicting options: publish and network none"),
            ("host", "conflicting options: publish and network host"),
            ("container:x", "conflicting options: publish and network container:x"),
        ] {
            assert_eq!(of(network, published(1, 1)).unwrap_err(), words);
        }
        for (error, words) in [
            (of("bridge", published(65536, 1)), "65536 is no port"),
            (of("bridge", published(1, 70000)), "70000 is no port"),
            (of("bridge", |host| host.ip = "x".to_owned()), "ip: \"x\" is no IP address"),
            (of("../x", |_| ()), "invalid network"),
        ] {
            let message = error.unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
