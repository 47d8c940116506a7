//! Sandboxes: the request for one, filters, status.

use std::{collections::HashMap, path::PathBuf};

use isula_api::runtime::v1;
use isula_core::{
    ports::{PodPaths, PortMapping, Protocol},
    sandbox::{Dns, Metadata, Sandbox, SandboxConfig, SandboxFilter},
};
use serde_json::json;
use tonic::Status;

use super::{known, limits, nanoseconds, security, some, sorted, unsorted};
use crate::api::status::invalid;

/// A request for a sandbox.
pub(in crate::cri) fn sandbox_config(
    config: v1::PodSandboxConfig,
    runtime_handler: String,
) -> Result<SandboxConfig, Status> {
    let linux = config.linux.unwrap_or_default();
    let context = linux.security_context.unwrap_or_default();
    if context.run_as_group.is_some() && context.run_as_user.is_none() {
        return Err(invalid("run_as_group needs run_as_user"));
    }
    let metadata = config.metadata.ok_or_else(|| invalid("the pod has no metadata"))?;
    Ok(SandboxConfig {
        metadata: Metadata {
            name: metadata.name,
            uid: metadata.uid,
            namespace: metadata.namespace,
            attempt: metadata.attempt,
        },
        hostname: some(config.hostname),
        log_directory: some(config.log_directory),
        dns: config.dns_config.map(|dns| Dns {
            servers: dns.servers,
            searches: dns.searches,
            options: dns.options,
        }),
        port_mappings: port_mappings(config.port_mappings)?,
        labels: sorted(config.labels),
        annotations: sorted(config.annotations),
        runtime_handler,
        cgroup_parent: some(linux.cgroup_parent),
        sysctls: sorted(linux.sysctls),
        namespaces: security::namespaces(context.namespace_options)?,
        privileged: context.privileged,
        selinux: context.selinux_options.map(security::selinux),
        resources: linux.resources.map(limits).transpose()?,
        overhead: linux.overhead.map(limits).transpose()?,
    })
}

/// Ports of the host; those without one only say what the pod listens on.
fn port_mappings(mappings: Vec<v1::PortMapping>) -> Result<Vec<PortMapping>, Status> {
    let wanted = mappings.into_iter().filter(|mapping| mapping.host_port != 0);
    wanted.map(port_mapping).collect()
}

fn port_mapping(mapping: v1::PortMapping) -> Result<PortMapping, Status> {
    let port = |field, value: i32| {
        u16::try_from(value)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| invalid(format!("port_mappings: {field}: {value} is no port")))
    };
    let host_ip = some(mapping.host_ip).map(|text| {
        text.parse().map_err(|_| invalid(format!("port_mappings: host_ip: {text:?} is no address")))
    });
    Ok(PortMapping {
        host_port: port("host_port", mapping.host_port)?,
        container_port: port("container_port", mapping.container_port)?,
        protocol: match known("port_mappings: protocol", mapping.protocol)? {
            v1::Protocol::Tcp => Protocol::Tcp,
            v1::Protocol::Udp => Protocol::Udp,
            v1::Protocol::Sctp => Protocol::Sctp,
        },
        host_ip: host_ip.transpose()?,
    })
}

/// Which sandboxes.
pub(in crate::cri) fn filter(
    filter: Option<v1::PodSandboxFilter>,
) -> Result<SandboxFilter, Status> {
    let filter = filter.unwrap_or_default();
    let ready = match filter.state {
        None => None,
        Some(value) => {
            let state: v1::PodSandboxState = known("state", value.state)?;
            Some(state == v1::PodSandboxState::SandboxReady)
        }
    };
    Ok(SandboxFilter { id: some(filter.id), ready, labels: sorted(filter.label_selector) })
}

/// A sandbox as it is shown.
pub(in crate::cri) struct Shown<'a>(pub &'a Sandbox);

fn metadata(metadata: &Metadata) -> v1::PodSandboxMetadata {
    v1::PodSandboxMetadata {
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        namespace: metadata.namespace.clone(),
        attempt: metadata.attempt,
    }
}

fn state(sandbox: &Sandbox) -> i32 {
    match sandbox.is_ready() {
        true => v1::PodSandboxState::SandboxReady.into(),
        false => v1::PodSandboxState::SandboxNotready.into(),
    }
}

impl From<Shown<'_>> for v1::PodSandbox {
    fn from(Shown(sandbox): Shown<'_>) -> Self {
        Self {
            id: sandbox.id.to_string(),
            metadata: Some(metadata(&sandbox.config.metadata)),
            state: state(sandbox),
            created_at: nanoseconds(sandbox.created),
            labels: unsorted(&sandbox.config.labels),
            annotations: unsorted(&sandbox.config.annotations),
            runtime_handler: sandbox.config.runtime_handler.clone(),
        }
    }
}

impl From<Shown<'_>> for v1::PodSandboxStatus {
    fn from(Shown(sandbox): Shown<'_>) -> Self {
        let options = security::namespace_options(&sandbox.config.namespaces);
        let namespaces = v1::Namespace { options: Some(options) };
        Self {
            id: sandbox.id.to_string(),
            metadata: Some(metadata(&sandbox.config.metadata)),
            state: state(sandbox),
            created_at: nanoseconds(sandbox.created),
            network: Some(network(sandbox)),
            linux: Some(v1::LinuxPodSandboxStatus { namespaces: Some(namespaces) }),
            labels: unsorted(&sandbox.config.labels),
            annotations: unsorted(&sandbox.config.annotations),
            runtime_handler: sandbox.config.runtime_handler.clone(),
        }
    }
}

/// The addresses; none on the host's network, which kubelet knows itself.
fn network(sandbox: &Sandbox) -> v1::PodSandboxNetworkStatus {
    let addresses = sandbox.attachment.iter().flat_map(|attachment| &attachment.addresses);
    let mut ips = addresses.map(|address| address.ip.to_string());
    v1::PodSandboxNetworkStatus {
        ip: ips.next().unwrap_or_default(),
        additional_ips: ips.map(|ip| v1::PodIp { ip }).collect(),
    }
}

impl From<Shown<'_>> for v1::PodSandboxAttributes {
    fn from(Shown(sandbox): Shown<'_>) -> Self {
        Self {
            id: sandbox.id.to_string(),
            metadata: Some(metadata(&sandbox.config.metadata)),
            labels: unsorted(&sandbox.config.labels),
            annotations: unsorted(&sandbox.config.annotations),
        }
    }
}

/// What a verbose status says.
pub(in crate::cri) fn info(
    sandbox: &Sandbox,
    namespaces: &PodPaths,
    network: Option<PathBuf>,
) -> HashMap<String, String> {
    let info = json!({
        "state": sandbox.state.name(),
        "runtime": sandbox.runtime,
        "cgroup": sandbox.cgroup,
        "namespaces": {
            "network": network,
            "ipc": namespaces.ipc,
            "uts": namespaces.uts,
            "user": namespaces.user,
        },
        "cniResult": sandbox.attachment,
        "config": sandbox.config,
    });
    HashMap::from([("info".to_owned(), info.to_string())])
}
