//! Networks in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;

use super::{Failures, locked};
use crate::{
    error::{ErrorKind, PortError},
    id::ContainerId,
    ports::{
        Address, Attachment, Network, NetworkDns, NetworkRequest, Networks, PortMapping, Result,
    },
};

/// The default network of a fresh fake.
const DEFAULT: &str = "pods";

/// Networks in memory. Addresses are given in order and, once freed, given again.
pub struct FakeNetworks {
    failures: Arc<Failures>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    networks: Vec<Network>,
    namespaces: BTreeSet<ContainerId>,
    /// Ports that processes of the host have.
    taken: BTreeSet<u16>,
    /// How many ports were chosen.
    chosen: u16,
    /// By namespace and interface.
    attachments: BTreeMap<(ContainerId, String), (NetworkRequest, Attachment)>,
}

impl FakeNetworks {
    pub(super) fn new(failures: Arc<Failures>) -> Self {
        let fake = Self { failures, state: Mutex::default() };
        fake.add_network(DEFAULT);
        fake
    }

    /// Configures one more network.
    pub fn add_network(&self, name: &str) {
        locked(&self.state).networks.push(Network {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            plugins: vec!["bridge".to_owned()],
            capabilities: ["portMappings", "ips"].map(str::to_owned).to_vec(),
            path: PathBuf::from(format!("/etc/cni/net.d/{name}.conflist")),
            json: format!(r#"{{"cniVersion":"1.0.0","name":"{name}","plugins":[]}}"#),
        });
    }

    /// Takes every network's configuration away; attachments stay.
    pub fn clear_networks(&self) {
        locked(&self.state).networks.clear();
    }

    /// Has a process of the host take a port.
    pub fn take_port(&self, port: u16) {
        locked(&self.state).taken.insert(port);
    }

    /// The namespaces that are pinned.
    #[must_use]
    pub fn namespaces(&self) -> Vec<ContainerId> {
        locked(&self.state).namespaces.iter().cloned().collect()
    }

    /// The requests whose attachments stand.
    #[must_use]
    pub fn attached(&self) -> Vec<NetworkRequest> {
        locked(&self.state).attachments.values().map(|(request, _)| request.clone()).collect()
    }
}

impl State {
    fn network(&self, wanted: Option<&str>) -> Result<String> {
        let found = self.networks.iter().find(|network| wanted.is_none_or(|w| w == network.name));
        found.map(|network| network.name.clone()).ok_or_else(|| match wanted {
            Some(name) => PortError::new(ErrorKind::NotFound, format!("no such network: {name}")),
            None => PortError::new(ErrorKind::Unavailable, "no network is configured"),
        })
    }

    fn free_address(&self) -> Result<IpAddr> {
        let mut candidates = (2..=254).map(|last| IpAddr::V4(Ipv4Addr::new(10, 88, 0, last)));
        let used = |ip: &IpAddr| {
            self.attachments.values().flat_map(|(_, made)| &made.addresses).any(|a| a.ip == *ip)
        };
        candidates
            .find(|ip| !used(ip))
            .ok_or_else(|| PortError::new(ErrorKind::ResourceExhausted, "no address is free"))
    }
}

fn key(request: &NetworkRequest) -> (ContainerId, String) {
    (request.id.clone(), request.interface.clone())
}

#[async_trait]
impl Networks for FakeNetworks {
    async fn make_namespace(&self, id: &ContainerId) -> Result<PathBuf> {
        self.failures.pass("networks.make_namespace").await?;
        if !locked(&self.state).namespaces.insert(id.clone()) {
            let message = format!("the network namespace of {id} exists");
            return Err(PortError::new(ErrorKind::AlreadyExists, message));
        }
        Ok(self.namespace_path(id))
    }

    async fn pin_namespace(&self, id: &ContainerId, _: &Path) -> Result<PathBuf> {
        self.failures.pass("networks.pin_namespace").await?;
        self.make_namespace(id).await
    }

    async fn remove_namespace(&self, id: &ContainerId) -> Result<()> {
        self.failures.pass("networks.remove_namespace").await?;
        locked(&self.state).namespaces.remove(id);
        Ok(())
    }

    fn namespace_path(&self, id: &ContainerId) -> PathBuf {
        PathBuf::from(format!("/run/isulad/netns/{id}"))
    }

    async fn attach(&self, request: &NetworkRequest) -> Result<Attachment> {
        self.failures.pass("networks.attach").await?;
        let mut state = locked(&self.state);
        let network = state.network(request.network.as_deref())?;
        if request.namespace.is_none() {
            let message = "only a namespace can be attached to a network";
            return Err(PortError::new(ErrorKind::InvalidInput, message));
        }
        let attachment = Attachment {
            network,
            interface: request.interface.clone(),
            mac: Some("0a:58:0a:58:00:02".to_owned()),
            addresses: vec![Address {
                ip: state.free_address()?,
                prefix: 16,
                gateway: Some(IpAddr::V4(Ipv4Addr::new(10, 88, 0, 1))),
            }],
            dns: NetworkDns::default(),
        };
        state.attachments.insert(key(request), (request.clone(), attachment.clone()));
        Ok(attachment)
    }

    async fn detach(&self, request: &NetworkRequest) -> Result<()> {
        self.failures.pass("networks.detach").await?;
        locked(&self.state).attachments.remove(&key(request));
        Ok(())
    }

    async fn check(&self, request: &NetworkRequest) -> Result<()> {
        self.failures.pass("networks.check").await?;
        if locked(&self.state).attachments.contains_key(&key(request)) {
            return Ok(());
        }
        let message = format!("{} is not attached by {}", request.id, request.interface);
        Err(PortError::new(ErrorKind::NotFound, message))
    }

    async fn status(&self) -> Result<()> {
        self.failures.pass("networks.status").await?;
        locked(&self.state).network(None).map(drop)
    }

    fn list(&self) -> Vec<Network> {
        locked(&self.state).networks.clone()
    }

    fn free_port(&self, mapping: &PortMapping) -> Result<u16> {
        let state = &mut *locked(&self.state);
        let taken = &state.taken;
        match mapping.host_port {
            // Each one comes twice, as a port that somebody else got in between.
            0 => {
                state.chosen = state.chosen.wrapping_add(1);
                Ok(32768 + state.chosen / 2)
            }
            port if taken.contains(&port) => {
                let message = format!("port {port} of the host is in use");
                Err(PortError::new(ErrorKind::InUse, message))
            }
            port => Ok(port),
        }
    }

    async fn collect(&self, alive: &[ContainerId]) -> Result<()> {
        self.failures.pass("networks.collect").await?;
        let mut state = locked(&self.state);
        state.namespaces.retain(|id| alive.contains(id));
        state.attachments.retain(|(id, _), _| alive.contains(id));
        Ok(())
    }
}
