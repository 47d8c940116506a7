//! Published ports as Docker shows them.

use std::collections::BTreeMap;

use isula_core::{container::Container, ports::PortMapping};
use serde_json::{Map, Value, json};

fn key(mapping: &PortMapping) -> String {
    format!("{}/{}", mapping.container_port, mapping.protocol.name())
}

fn host_ip(mapping: &PortMapping) -> String {
    mapping.host_ip.map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string())
}

/// The column of `ps`: `0.0.0.0:8080->80/tcp`, and exposed ports that nothing leads to.
pub(super) fn listed(container: &Container) -> Vec<String> {
    let published = container.network.as_deref().map_or(&[][..], |endpoint| &endpoint.ports);
    let mut listed: Vec<String> = published
        .iter()
        .map(|mapping| {
            let ip = match mapping.host_ip {
                Some(ip) if ip.is_ipv6() => format!("[{ip}]"),
                _ => host_ip(mapping),
            };
            format!("{ip}:{}->{}", mapping.host_port, key(mapping))
        })
        .collect();
    let leads = |port: &&String| !published.iter().any(|mapping| key(mapping) == **port);
    listed.extend(container.config.exposed_ports.iter().filter(leads).cloned());
    listed
}

/// `NetworkSettings.Ports` of `inspect`: what leads to each port now, null for nothing.
pub(super) fn settings(container: &Container) -> Value {
    let Some(endpoint) = &container.network else { return json!({}) };
    let exposed = container.config.exposed_ports.iter().cloned();
    let mut ports: Map<String, Value> = exposed.map(|port| (port, Value::Null)).collect();
    ports.extend(grouped(&endpoint.ports, host_ip));
    Value::Object(ports)
}

/// `HostConfig.PortBindings` of `inspect`: what was asked for.
pub(super) fn bindings(wanted: &[PortMapping]) -> Value {
    let ip = |mapping: &PortMapping| mapping.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
    Value::Object(grouped(wanted, ip).collect())
}

fn grouped(
    mappings: &[PortMapping],
    host_ip: impl Fn(&PortMapping) -> String,
) -> impl Iterator<Item = (String, Value)> {
    let mut grouped: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for mapping in mappings {
        let port =
            if mapping.host_port == 0 { String::new() } else { mapping.host_port.to_string() };
        let binding = json!({"HostIp": host_ip(mapping), "HostPort": port});
        grouped.entry(key(mapping)).or_default().push(binding);
    }
    grouped.into_iter().map(|(port, bindings)| (port, Value::Array(bindings)))
}

#[cfg(test)]
mod tests {
    use isula_core::{
        container::Endpoint,
        ports::{Attachment, Protocol},
        testing::conformance::{self, id},
    };

    use super::*;

    fn mapping(host_port: u16, container_port: u16, host_ip: Option<&str>) -> PortMapping {
        let host_ip = host_ip.map(|ip| ip.parse().unwrap());
        PortMapping { host_port, container_port, protocol: Protocol::Tcp, host_ip }
    }

    #[test]
    fn ports_are_shown_as_docker_shows_them() {
        let mut container = conformance::container(&id(1));
        container.config.exposed_ports = ["80/tcp", "443/tcp"].map(str::to_owned).to_vec();
        assert_eq!(listed(&container), ["80/tcp", "443/tcp"]);
        assert_eq!(settings(&container), json!({}));
        let ports = vec![mapping(8080, 80, None), mapping(8081, 80, Some("::1"))];
        let attachment = Attachment::default();
        container.network = Some(Box::new(Endpoint { attachment, ports }));
        assert_eq!(listed(&container), ["0.0.0.0:8080->80/tcp", "[::1]:8081->80/tcp", "443/tcp"]);
        let shown = json!({
            "80/tcp": [
                {"HostIp": "0.0.0.0", "HostPort": "8080"},
                {"HostIp": "::1", "HostPort": "8081"},
            ],
            "443/tcp": null,
        });
        assert_eq!(settings(&container), shown);
        let wanted = [mapping(0, 80, None), mapping(8080, 80, Some("127.0.0.1"))];
        let shown = json!({"80/tcp": [
            {"HostIp": "", "HostPort": ""},
            {"HostIp": "127.0.0.1", "HostPort": "8080"},
        ]});
        assert_eq!(bindings(&wanted), shown);
    }
}
