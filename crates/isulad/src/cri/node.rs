//! The runtime itself: its version, its condition, its configuration.

use std::collections::{BTreeSet, HashMap};

use isula_api::runtime::v1;
use isula_core::error::chain;
use serde_json::json;

use super::{Cri, convert};

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
        let network = match self.engine.network_status().await {
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

    /// The default handler, which has no name, and every other.
    fn handlers(&self) -> Vec<v1::RuntimeHandler> {
        let default = &self.engine.settings().default_runtime;
        let named = self.settings.handlers.iter().map(|(name, runtime)| (name.clone(), runtime));
        let runtimes = self.engine.ports().runtime.runtimes();
        let own = runtimes.iter().map(|runtime| (runtime.clone(), runtime));
        let all: BTreeSet<_> =
            std::iter::once((String::new(), default)).chain(named).chain(own).collect();
        let handler = |(name, runtime): (String, &String)| v1::RuntimeHandler {
            name,
            features: Some(convert::features(runtime)),
        };
        all.into_iter().map(handler).collect()
    }

    /// What a verbose status says, as JSON.
    fn info(&self) -> HashMap<String, String> {
        let facts = self.engine.ports().host.facts();
        let config = json!({
            "dataRoot": self.settings.data_root,
            "cgroupDriver": "cgroupfs",
            "cgroupVersion": if facts.cgroup_v2 { 2 } else { 1 },
            "defaultRuntime": self.engine.settings().default_runtime,
            "runtimeHandlers": self.settings.handlers,
            "kernel": facts.kernel,
        });
        HashMap::from([("config".to_owned(), config.to_string())])
    }

    pub(super) fn configuration(&self) -> v1::RuntimeConfigResponse {
        let cgroup_driver = v1::CgroupDriver::Cgroupfs.into();
        v1::RuntimeConfigResponse { linux: Some(v1::LinuxRuntimeConfiguration { cgroup_driver }) }
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
