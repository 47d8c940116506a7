//! The runtime itself: its version, its condition, its configuration.

use std::{collections::HashMap, net::IpAddr};

use isula_api::runtime::v1;
use isula_core::{cgroup::CgroupDriver, error::chain};
use serde_json::json;

use tonic::Response;

use super::{Answer, Cri, convert};
use crate::api::status::invalid;

/// Version of kubelet's runtime API that `Version` speaks of; it never changed.
const KUBE_API: &str = "0.1.0";
/// The name of this runtime, as Kubernetes shows it: `isulad://0.1.0`.
const NAME: &str = "isulad";
/// Version of the interface.
const CRI_API: &str = "v1";

impl Cri {
    pub(super) fn about(&self) -> v1::VersionResponse {
        v1::VersionResponse {
            version: KUBE_API.to_owned(),
            runtime_name: NAME.to_owned(),
            runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
            runtime_api_version: CRI_API.to_owned(),
        }
    }

    pub(super) async fn condition(&self, verbose: bool) -> v1::StatusResponse {
        let network = match self.engine.ports().networks.status().await {
            Ok(()) => ready("NetworkReady"),
            Err(error) => v1::RuntimeCondition {
                r#type: "NetworkReady".to_owned(),
                status: false,
                reason: "NetworkPluginNotReady".to_owned(),
                message: chain(&error),
            },
        };
        let conditions = vec![ready("RuntimeReady"), network];
        v1::StatusResponse {
            status: Some(v1::RuntimeStatus { conditions }),
            info: if verbose { self.info() } else { HashMap::new() },
            runtime_handlers: self.handlers(),
            features: Some(v1::RuntimeFeatures {
                supplemental_groups_policy: true,
                user_namespaces_host_network: false,
                mount_options: true,
            }),
        }
    }

    fn handlers(&self) -> Vec<v1::RuntimeHandler> {
        let handler = |(name, runtime): (String, String)| v1::RuntimeHandler {
            name,
            features: Some(convert::features(&runtime, self.engine.ports().host.facts())),
        };
        self.handler_names().into_iter().map(handler).collect()
    }

    /// What a verbose status says, as JSON.
    fn info(&self) -> HashMap<String, String> {
        let facts = self.engine.ports().host.facts();
        let config = json!({
            "dataRoot": self.settings.data_root,
            "cgroupDriver": self.engine.settings().cgroup_driver.name(),
            "cgroupVersion": if facts.cgroup_v2 { 2 } else { 1 },
            "defaultRuntime": self.engine.settings().default_runtime,
            "runtimeHandlers": self.handler_names(),
            "kernel": facts.kernel,
        });
        HashMap::from([("config".to_owned(), config.to_string())])
    }

    pub(super) fn configuration(&self) -> v1::RuntimeConfigResponse {
        let cgroup_driver = match self.engine.settings().cgroup_driver {
            CgroupDriver::Cgroupfs => v1::CgroupDriver::Cgroupfs,
            CgroupDriver::Systemd => v1::CgroupDriver::Systemd,
        };
        let cgroup_driver = cgroup_driver.into();
        v1::RuntimeConfigResponse { linux: Some(v1::LinuxRuntimeConfiguration { cgroup_driver }) }
    }

    /// The addresses of pods, as kubelet has them from its node: several for several families.
    pub(super) fn configure(
        &self,
        request: v1::UpdateRuntimeConfigRequest,
    ) -> Answer<v1::UpdateRuntimeConfigResponse> {
        let network = request.runtime_config.and_then(|config| config.network_config);
        let text = network.map(|network| network.pod_cidr).unwrap_or_default();
        if !text.is_empty() {
            let ranges: Vec<String> =
                text.split(',').map(|range| range.trim().to_owned()).collect();
            if let Some(wrong) = ranges.iter().find(|range| !is_range(range)) {
                return Err(invalid(format!("pod_cidr: {wrong:?} is no range of addresses")));
            }
            self.engine.set_pod_ranges(ranges);
        }
        Ok(Response::new(v1::UpdateRuntimeConfigResponse {}))
    }
}

fn ready(kind: &str) -> v1::RuntimeCondition {
    v1::RuntimeCondition {
        r#type: kind.to_owned(),
        status: true,
        reason: String::new(),
        message: String::new(),
    }
}

/// `10.88.0.0/16`.
fn is_range(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else { return false };
    let bits = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    prefix.parse::<u8>().is_ok_and(|prefix| prefix <= bits)
}

#[cfg(test)]
mod tests {
    use super::is_range;

    #[test]
    fn ranges_of_addresses_are_told_from_other_texts() {
        for good in ["10.88.0.0/16", "0.0.0.0/0", "fd00::/64"] {
            assert!(is_range(good), "{good}");
        }
        for bad in ["", "10.88.0.0", "10.88.0.0/33", "x/8", "fd00::/129", "10.0.0.0/8/8"] {
            assert!(!is_range(bad), "{bad}");
        }
    }
}
