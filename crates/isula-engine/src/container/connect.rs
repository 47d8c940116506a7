//! The network of a container: it is connected before its process starts, in a namespace that is
//! pinned, and disconnected when the run has ended.
//!
//! Who is connected is on record with the intent to start. What a crash leaves beyond that belongs to
//! no container that runs: the next daemon frees it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use isula_core::{
    container::{Connection, Container, Endpoint, HostConfig, Invalid},
    error::chain,
    fault,
    id::ContainerId,
    ports::{Attachment, Capabilities, NetworkRequest, PortMapping, Protocol},
};

use crate::{Engine, Error, Result, launch::cannot, slot::display_name};

/// The interface in the namespace.
const INTERFACE: &str = "eth0";
/// So often a port is chosen anew that somebody else has chosen meanwhile.
const ATTEMPTS: usize = 32;

/// The containers that are connected to a network, or may be, and their ports of the host.
#[derive(Default)]
pub(crate) struct Connected(Mutex<BTreeMap<ContainerId, Vec<PortMapping>>>);

/// Two mappings that can't both be.
struct Clash {
    /// The place of the wanted one.
    place: usize,
    /// Whose the other one is.
    holder: ContainerId,
}

impl Connected {
    /// Takes a container in as it was recorded.
    pub fn restore(&self, container: &Container) {
        if let Some(endpoint) = &container.network {
            self.lock().insert(container.id.clone(), endpoint.ports.clone());
        }
    }

    /// The containers that are connected.
    pub fn ids(&self) -> Vec<ContainerId> {
        self.lock().keys().cloned().collect()
    }

    fn has(&self, id: &ContainerId) -> bool {
        self.lock().contains_key(id)
    }

    fn remove(&self, id: &ContainerId) {
        self.lock().remove(id);
    }

    /// Reserves ports, none of them 0.
    fn reserve(&self, id: &ContainerId, ports: &[PortMapping]) -> Result<(), Clash> {
        let mut connected = self.lock();
        for (place, port) in ports.iter().enumerate() {
            let others = connected.iter().flat_map(|(id, held)| held.iter().map(move |p| (id, p)));
            let own = ports.iter().take(place).map(|other| (id, other));
            let clash = others.chain(own).find(|(_, other)| touch(port, other));
            if let Some((holder, _)) = clash {
                return Err(Clash { place, holder: holder.clone() });
            }
        }
        connected.insert(id.clone(), ports.to_vec());
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Vec<PortMapping>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two mappings want the same port of the host.
fn touch(one: &PortMapping, other: &PortMapping) -> bool {
    let any = |mapping: &PortMapping| mapping.host_ip.is_none_or(|ip| ip.is_unspecified());
    one.host_port == other.host_port
        && one.protocol == other.protocol
        && (any(one) || any(other) || one.host_ip == other.host_ip)
}

impl Engine {
    /// Whether the network is there, and can do what is asked of it.
    pub(super) fn verify_network(&self, host: &HostConfig) -> Result<()> {
        let Some(connection) = host.network.connection() else { return Ok(()) };
        let name = connection.network.as_str();
        let networks = self.ports.networks.list();
        let Some(network) = networks.iter().find(|network| network.name == name) else {
            return Err(Error::NoSuchNetwork(name.to_owned()));
        };
        let publishes = connection.publish_all || !connection.ports.is_empty();
        for (field, wanted, capability) in [
            ("publish", publishes, "portMappings"),
            ("ip", connection.ip.is_some(), "ips"),
            ("mac-address", connection.mac.is_some(), "mac"),
        ] {
            if wanted && !network.capabilities.iter().any(|one| one == capability) {
                let (value, why) = (name.to_owned(), "the network has no plugin that does it");
                return Err(Invalid::Unsupported { field, value, why }.into());
            }
        }
        Ok(())
    }

    /// Connects a container to its network, if it has one.
    ///
    /// # Errors
    /// A port of the host is taken, or the network can't be used; nothing is left.
    pub(super) async fn connect(&self, container: &Container) -> Result<Option<Box<Endpoint>>> {
        let Some(connection) = container.host.network.connection() else { return Ok(None) };
        // It ends with an error when the engine is gone; then this one is, too.
        let _ = self.recovering.subscribe().wait_for(|recovering| !recovering).await;
        // What could not be taken down after the last run goes first.
        self.disconnect(container).await?;
        let ports = self.reserve_ports(container, connection)?;
        fault::point("connect.reserved");
        let attached = self.attach_container(container, connection, &ports).await;
        match attached.and_then(|attachment| can_lead(attachment, &ports)) {
            Ok(attachment) => {
                fault::point("connect.attached");
                Ok(Some(Box::new(Endpoint { attachment, ports })))
            }
            Err(error) => {
                self.let_go(container).await;
                Err(error)
            }
        }
    }

    async fn attach_container(
        &self,
        container: &Container,
        connection: &Connection,
        ports: &[PortMapping],
    ) -> Result<Attachment> {
        let made = self.ports.networks.make_namespace(&container.id);
        self.port(container, "make its network namespace", made).await?;
        fault::point("connect.namespace");
        let request = self.connection_request(container, connection, ports);
        let work = self.ports.networks.attach(&request);
        let limit = self.settings.network_timeout;
        self.port_within(limit, container, "attach it to its network", work).await
    }

    /// Disconnects a container that may be connected. What fails can be tried again.
    pub(super) async fn disconnect(&self, container: &Container) -> Result<()> {
        let Some(connection) = container.host.network.connection() else { return Ok(()) };
        let id = &container.id;
        if !self.connected.has(id) {
            return Ok(());
        }
        let request = self.connection_request(container, connection, &[]);
        let work = self.ports.networks.detach(&request);
        let limit = self.settings.network_timeout;
        let detached = self.port_within(limit, container, "detach it from its network", work).await;
        fault::point("connect.detached");
        let work = self.ports.networks.remove_namespace(id);
        let removed = self.port(container, "remove its network namespace", work).await;
        if let (Err(_), Err(further)) = (&detached, &removed) {
            tracing::error!("{}", chain(further));
        }
        detached.and(removed)?;
        self.connected.remove(id);
        Ok(())
    }

    /// As [`Engine::disconnect`]; a failure is logged, and whoever starts or removes the container
    /// tries again.
    pub(crate) async fn let_go(&self, container: &Container) {
        if let Err(error) = self.disconnect(container).await {
            tracing::error!("{}", chain(&error));
        }
    }

    fn connection_request(
        &self,
        container: &Container,
        connection: &Connection,
        ports: &[PortMapping],
    ) -> NetworkRequest {
        let id = &container.id;
        let args = [("IgnoreUnknown", "1"), ("ISULA_CONTAINER_NAME", container.name.as_str())];
        NetworkRequest {
            id: id.clone(),
            namespace: Some(self.ports.networks.namespace_path(id)),
            network: Some(connection.network.to_string()),
            interface: INTERFACE.to_owned(),
            args: args.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
            capabilities: Capabilities {
                port_mappings: ports.to_vec(),
                ips: connection.ip.iter().map(ToString::to_string).collect(),
                mac: connection.mac.clone(),
                ..Capabilities::default()
            },
        }
    }

    /// Finds a port of the host for each that is to be published.
    fn reserve_ports(
        &self,
        container: &Container,
        connection: &Connection,
    ) -> Result<Vec<PortMapping>> {
        let wanted = wanted_ports(container, connection);
        let mut attempts = 0;
        loop {
            let mut ports = Vec::with_capacity(wanted.len());
            for mapping in &wanted {
                let found = self.ports.networks.free_port(mapping);
                let host_port =
                    found.map_err(|source| cannot(container, "publish a port", source))?;
                ports.push(PortMapping { host_port, ..mapping.clone() });
            }
            let Err(Clash { place, holder }) = self.connected.reserve(&container.id, &ports) else {
                return Ok(ports);
            };
            attempts += 1;
            let chosen = wanted.get(place).is_some_and(|mapping| mapping.host_port == 0);
            if !chosen || attempts == ATTEMPTS {
                let port = ports.get(place).map_or(0, |mapping| mapping.host_port);
                return Err(self.port_taken(container, port, &holder));
            }
        }
    }

    fn port_taken(&self, container: &Container, port: u16, holder: &ContainerId) -> Error {
        let slot = self.index.get(holder);
        let holder =
            slot.map_or_else(|| holder.to_string(), |slot| display_name(&slot.container()));
        Error::PortTaken { object: display_name(container), port, holder }
    }
}

/// A port of an address of the host leads to an address of the same kind alone.
fn can_lead(attachment: Attachment, ports: &[PortMapping]) -> Result<Attachment> {
    let leads = |port: &PortMapping| match port.host_ip {
        Some(ip) => attachment.addresses.iter().any(|own| own.ip.is_ipv6() == ip.is_ipv6()),
        None => true,
    };
    match ports.iter().find(|port| !leads(port)) {
        None => Ok(attachment),
        Some(port) => {
            let address = port.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
            let why = "the container's network has no address of this kind";
            Err(Invalid::Unsupported { field: "publish", value: address, why }.into())
        }
    }
}

/// What is to be published, exposed ports behind those that were named.
fn wanted_ports(container: &Container, connection: &Connection) -> Vec<PortMapping> {
    let mut wanted = connection.ports.clone();
    if connection.publish_all {
        for exposed in &container.config.exposed_ports {
            for (container_port, protocol) in exposed_ports(exposed) {
                let same = |mapping: &PortMapping| {
                    mapping.container_port == container_port && mapping.protocol == protocol
                };
                if !wanted.iter().any(same) {
                    let host_ip = None;
                    let (host_port, protocol) = (0, protocol);
                    wanted.push(PortMapping { host_port, container_port, protocol, host_ip });
                }
            }
        }
    }
    wanted
}

/// The ports of `80/tcp` or `8000-8010/udp`.
fn exposed_ports(text: &str) -> Vec<(u16, Protocol)> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = Protocol::named(protocol).unwrap_or_default();
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) => (first..=last).map(|port| (port, protocol)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(host_port: u16, host_ip: Option<[u8; 4]>) -> PortMapping {
        let host_ip = host_ip.map(Into::into);
        PortMapping { host_port, container_port: 80, protocol: Protocol::Tcp, host_ip }
    }

    #[test]
    fn a_port_of_the_host_leads_to_one_container() {
        let connected = Connected::default();
        let [first, second] = [1, 2].map(|byte| ContainerId::from_random([byte; 32]));
        let loopback = Some([127, 0, 0, 1]);
        assert!(connected.reserve(&first, &[mapping(80, loopback), mapping(81, None)]).is_ok());
        for (port, taken) in [
            (mapping(80, loopback), true),
            (mapping(80, None), true),
            (mapping(80, Some([0, 0, 0, 0])), true),
            (mapping(80, Some([127, 0, 0, 2])), false),
            (mapping(81, loopback), true),
            (mapping(82, None), false),
            (PortMapping { protocol: Protocol::Udp, ..mapping(81, None) }, false),
        ] {
            let reserved = connected.reserve(&second, std::slice::from_ref(&port));
            assert_eq!(reserved.is_err(), taken, "{port:?}");
            assert!(reserved.is_ok() || connected.ids() == [first.clone()]);
            connected.remove(&second);
        }
        let clash = connected.reserve(&second, &[mapping(90, None), mapping(90, loopback)]);
        assert!(clash.is_err_and(|clash| clash.place == 1 && clash.holder == second));
    }

    #[test]
    fn exposed_ports_may_be_ranges() {
        assert_eq!(exposed_ports("80/tcp"), [(80, Protocol::Tcp)]);
        let range = [8000, 8001, 8002].map(|port| (port, Protocol::Udp));
        assert_eq!(exposed_ports("8000-8002/udp"), range);
        assert_eq!(exposed_ports("65535-65535/sctp"), [(65535, Protocol::Sctp)]);
        assert_eq!(exposed_ports("x"), []);
    }
}
