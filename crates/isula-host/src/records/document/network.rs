//! The network of a container under Docker's names, beside the others of `hostconfig.json`.

use std::{collections::BTreeMap, net::IpAddr, ops::Not};

use isula_core::{
    container::NetworkMode,
    ports::{PortMapping, Protocol},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::text;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkFile {
    #[serde(rename = "NetworkMode", with = "text::as_text")]
    mode: NetworkMode,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    port_bindings: BTreeMap<String, Vec<Binding>>,
    #[serde(skip_serializing_if = "Not::not")]
    publish_all_ports: bool,
    /// Ours; Docker has it with the endpoint.
    #[serde(rename = "IPAddress", skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    /// Ours; Docker has it with the endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    mac_address: Option<String>,
}

impl Default for NetworkFile {
    fn default() -> Self {
        Self {
            mode: NetworkMode::None,
            port_bindings: BTreeMap::new(),
            publish_all_ports: false,
            ip: None,
            mac_address: None,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    #[serde(default)]
    host_ip: String,
    /// Empty: any port that is free.
    #[serde(default)]
    host_port: String,
}

pub(super) fn serialize<S: Serializer>(mode: &NetworkMode, to: S) -> Result<S::Ok, S::Error> {
    let mut file = NetworkFile { mode: mode.clone(), ..NetworkFile::default() };
    if let Some(connection) = mode.connection() {
        for mapping in &connection.ports {
            let port = format!("{}/{}", mapping.container_port, mapping.protocol.name());
            let (host_ip, host_port) = (mapping.host_ip, mapping.host_port);
            file.port_bindings.entry(port).or_default().push(Binding {
                host_ip: host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
                host_port: if host_port == 0 { String::new() } else { host_port.to_string() },
            });
        }
        file.publish_all_ports = connection.publish_all;
        file.ip = connection.ip;
        file.mac_address.clone_from(&connection.mac);
    }
    file.serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<NetworkMode, D::Error> {
    let mut file = NetworkFile::deserialize(from)?;
    if let NetworkMode::Network(connection) = &mut file.mode {
        for (port, bindings) in &file.port_bindings {
            for binding in bindings {
                let wrong = || de::Error::custom(format!("PortBindings: {port:?} is no port"));
                connection.ports.push(mapping(port, binding).ok_or_else(wrong)?);
            }
        }
        connection.publish_all = file.publish_all_ports;
        connection.ip = file.ip;
        connection.mac = file.mac_address;
    }
    Ok(file.mode)
}

fn mapping(port: &str, binding: &Binding) -> Option<PortMapping> {
    let (container_port, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let number = |text: &str| match text {
        "" => Some(0),
        text => text.parse().ok(),
    };
    Some(PortMapping {
        host_port: number(&binding.host_port)?,
        container_port: container_port.parse().ok()?,
        protocol: Protocol::named(protocol)?,
        host_ip: match binding.host_ip.as_str() {
            "" => None,
            text => Some(text.parse().ok()?),
        },
    })
}
