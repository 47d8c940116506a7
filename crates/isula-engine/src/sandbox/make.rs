//! The parts of a sandbox outside its record: namespaces and network, made and taken down.

use isula_core::{
    container::Resources,
    error::chain,
    fault,
    ports::{
        self, Attachment, Bandwidth, Capabilities, NetworkDns, NetworkRequest, PodNetwork,
        PodRequest,
    },
    sandbox::{Sandbox, Scope},
};

use crate::{Engine, Result};

/// Bytes of `/dev/shm` of a pod.
const SHM_SIZE: u64 = 64 << 20;
/// The interface that the default network makes.
const INTERFACE: &str = "eth0";

impl Engine {
    pub(super) async fn make_namespaces(&self, sandbox: &Sandbox) -> Result<()> {
        let Sandbox { id, config, .. } = sandbox;
        let modes = &config.namespaces;
        let network = modes.network != Scope::Node;
        // Its own parameters can only be set in a network namespace that is there.
        let set = config.sysctls.keys().any(|key| key.starts_with("net."));
        let request = PodRequest {
            hostname: network.then(|| sandbox.hostname(self.ports.host.facts())),
            shm_size: (modes.ipc != Scope::Node).then_some(SHM_SIZE),
            network: match (network, &modes.user) {
                (true, Some(_)) => PodNetwork::Make,
                (true, None) if set => PodNetwork::At(self.ports.networks.namespace_path(id)),
                _ => PodNetwork::None,
            },
            user: modes.user.clone(),
            sysctls: config.sysctls.clone(),
            cgroup: sandbox.cgroup.clone(),
            own_cgroup: sandbox.own_cgroup.then(|| config.resources.clone().unwrap_or_default()),
        };
        let net = async {
            match network && request.network != PodNetwork::Make {
                true => self.ports.networks.make_namespace(id).await.map(drop),
                false => Ok(()),
            }
        };
        let pod = self.ports.pods.make(id, &request);
        let work = async {
            match &request.network {
                PodNetwork::None => {
                    let (net, pod) = tokio::join!(net, pod);
                    net.and(pod.map(drop))
                }
                PodNetwork::At(_) => {
                    net.await?;
                    pod.await.map(drop)
                }
                PodNetwork::Make => match pod.await?.network {
                    Some(made) => self.ports.networks.pin_namespace(id, &made).await.map(drop),
                    None => Ok(()),
                },
            }
        };
        self.port_of(id, "make its namespaces", work).await
    }

    pub(super) async fn attach_network(&self, sandbox: &Sandbox) -> Result<Attachment> {
        let request = self.network_request(sandbox);
        let work = self.ports.networks.attach(&request);
        let limit = self.settings.network_timeout;
        self.port_of_within(limit, &sandbox.id, "attach it to the network", work).await
    }

    fn network_request(&self, sandbox: &Sandbox) -> NetworkRequest {
        let Sandbox { id, config, .. } = sandbox;
        let metadata = &config.metadata;
        let args = [
            ("IgnoreUnknown", "1"),
            ("K8S_POD_NAMESPACE", &metadata.namespace),
            ("K8S_POD_NAME", &metadata.name),
            ("K8S_POD_INFRA_CONTAINER_ID", id.as_str()),
            ("K8S_POD_UID", &metadata.uid),
        ];
        let dns = config.dns.as_ref().map(|dns| NetworkDns {
            nameservers: dns.servers.clone(),
            domain: None,
            search: dns.searches.clone(),
            options: dns.options.clone(),
        });
        NetworkRequest {
            id: id.clone(),
            namespace: Some(self.ports.networks.namespace_path(id)),
            network: None,
            interface: INTERFACE.to_owned(),
            args: args.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
            capabilities: Capabilities {
                // A port of 0 on the host is none.
                port_mappings: config
                    .port_mappings
                    .iter()
                    .filter(|mapping| mapping.host_port != 0)
                    .cloned()
                    .collect(),
                bandwidth: bandwidth(&config.annotations),
                ip_ranges: self.pod_ranges(),
                dns,
                cgroup_path: Some(sandbox.cgroup.clone()),
                pod_annotations: config.annotations.clone(),
                ..Capabilities::default()
            },
        }
    }

    /// Takes away network and namespaces. Every part is tried; what fails can be tried again.
    pub(super) async fn take_down(&self, sandbox: &Sandbox) -> Result<()> {
        let id = &sandbox.id;
        let mut result = Ok(());
        let mut note = |done: Result<()>| {
            if let Err(error) = done {
                match result {
                    Ok(()) => result = Err(error),
                    Err(_) => tracing::error!("{}", chain(&error)),
                }
            }
        };
        if sandbox.has_network() {
            let mut request = self.network_request(sandbox);
            // After a restart of the machine there is none: plugins free what they keep elsewhere.
            let found = self.port_of(id, "find its namespaces", self.ports.pods.find(id)).await;
            request.namespace = request.namespace.filter(|_| !matches!(found, Ok(None)));
            let work = self.ports.networks.detach(&request);
            let limit = self.settings.network_timeout;
            note(self.port_of_within(limit, id, "detach it from the network", work).await);
            fault::point("stopp.detached");
        }
        let network: std::pin::Pin<Box<dyn Future<Output = ports::Result<()>> + Send>> =
            match sandbox.has_network() {
                true => Box::pin(self.ports.networks.remove_namespace(id)),
                false => Box::pin(std::future::ready(Ok(()))),
            };
        let own = sandbox.own_cgroup.then_some(sandbox.cgroup.as_str());
        let (network, pod) = tokio::join!(
            self.port_of(id, "remove its network namespace", network),
            self.port_of(id, "remove its namespaces", self.ports.pods.remove(id, own)),
        );
        note(network);
        note(pod);
        result
    }

    /// Changes what the sandbox may use, where its control group is the engine's.
    pub(super) async fn limit_sandbox(&self, sandbox: &Sandbox, wanted: &Resources) -> Result<()> {
        if !sandbox.own_cgroup || !sandbox.is_ready() {
            return Ok(());
        }
        let work = self.ports.pods.limit(&sandbox.cgroup, wanted);
        self.port_of(&sandbox.id, "set its limits", work).await
    }
}

/// The annotations that Kubernetes defines for the bandwidth plugin, in bits a second.
fn bandwidth(annotations: &std::collections::BTreeMap<String, String>) -> Option<Bandwidth> {
    let rate = |key: &str| {
        let text = annotations.get(&format!("kubernetes.io/{key}-bandwidth"))?;
        quantity(text).filter(|rate| *rate > 0)
    };
    let (ingress, egress) = (rate("ingress"), rate("egress"));
    if ingress.is_none() && egress.is_none() {
        return None;
    }
    // As kubelet did it: a burst of all that an int holds.
    let burst = |rate: Option<u64>| if rate.is_some() { i32::MAX.unsigned_abs().into() } else { 0 };
    Some(Bandwidth {
        ingress_rate: ingress.unwrap_or(0),
        ingress_burst: burst(ingress),
        egress_rate: egress.unwrap_or(0),
        egress_burst: burst(egress),
    })
}

/// A Kubernetes quantity in whole units: `10M`, `1Gi`, `500k`.
fn quantity(text: &str) -> Option<u64> {
    let digits = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1000,
        "M" => 1000 * 1000,
        "G" => 1000 * 1000 * 1000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::quantity;

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        assert_eq!(quantity("10M"), Some(10_000_000));
        assert_eq!(quantity("1Gi"), Some(1 << 30));
        assert_eq!(quantity("7"), Some(7));
        for bad in ["", "M", "1.5M", "-1", "1x"] {
            assert_eq!(quantity(bad), None, "{bad}");
        }
    }
}
