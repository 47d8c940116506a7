//! The Linux part of a spec: namespaces, cgroup, masks, seccomp.

use std::{path::PathBuf, sync::Arc};

use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType as Kind, LinuxSeccomp};

use super::{Facts, SpecError, cdi, devices, pod, process, resources, seccomp};
use crate::cgroup::{CgroupDriver, ContainerScope, Slice};
use crate::container::{
    CgroupMode, Container, HostConfig, NamespaceMode, NetworkMode, Propagation,
    security::{Seccomp, Security},
};

/// Hidden from containers (moby's defaults of 2026, which contain the runtime-spec's).
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Read-only in containers.
const READONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/// More processors than this are not masked one by one.
const CPU_LIMIT: u32 = 1024;

/// With the profile of its filter, which the former does not say.
pub(super) fn build(
    container: &Container,
    facts: &Facts<'_>,
) -> Result<(Linux, Option<Arc<LinuxSeccomp>>), SpecError> {
    let (host, pod) = (&container.host, container.pod.as_deref());
    let security = Security::parse(&host.security_opt)?;
    let seccomp = filter(host, &security, facts)?;
    let open = host.privileged || security.system_paths_unconfined;
    let parent = host.cgroup_parent.as_ref().unwrap_or(&facts.defaults.cgroup_parent);
    let all = cdi::nodes(&facts.devices, &facts.cdi, &facts.user);
    let nodes = devices::nodes(&all);
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(host, facts)))
        .set_cgroups_path(Some(match facts.defaults.cgroup_driver {
            CgroupDriver::Cgroupfs => PathBuf::from(parent).join(container.id.as_str()),
            CgroupDriver::Systemd => {
                let slice = Slice::parse("cgroup-parent", parent)?;
                ContainerScope::new(slice, container.id.as_str()).to_string().into()
            }
        }))
        .set_resources(Some(resources::build(host, facts, &all)?))
        .set_devices((!nodes.is_empty()).then_some(nodes))
        .set_rootfs_propagation(propagation(container))
        .set_masked_paths((!open).then(|| match pod.and_then(|pod| pod.masked_paths.clone()) {
            Some(paths) => paths,
            None => masked(facts.host.cpus),
        }))
        .set_readonly_paths((!open).then(
            || match pod.and_then(|pod| pod.readonly_paths.clone()) {
                Some(paths) => paths,
                None => READONLY.map(str::to_owned).to_vec(),
            },
        ));
    pod::label_mounts(&mut linux, container, facts);
    if !host.sysctls.is_empty() {
        linux.set_sysctl(Some(host.sysctls.clone().into_iter().collect()));
    }
    Ok((linux, seccomp))
}

/// How often a processor was throttled tells of the load of others (moby, 2025).
fn masked(cpus: u32) -> Vec<String> {
    let throttle = |n| format!("/sys/devices/system/cpu/cpu{n}/thermal_throttle");
    let fixed = MASKED.iter().map(|path| (*path).to_owned());
    fixed.chain((0..cpus.min(CPU_LIMIT)).map(throttle)).collect()
}

fn namespaces(host: &HostConfig, facts: &Facts<'_>) -> Vec<LinuxNamespace> {
    let joined = &facts.joined;
    let mut namespaces = vec![namespace(Kind::Mount, None)];
    if let Some(user) = &joined.user {
        namespaces.push(namespace(Kind::User, Some(user)));
    }
    if host.network != NetworkMode::Host {
        namespaces.push(namespace(Kind::Network, joined.network.as_ref()));
    }
    for (mode, kind, path) in [
        (&host.uts, Kind::Uts, &joined.uts),
        (&host.pid, Kind::Pid, &joined.pid),
        (&host.ipc, Kind::Ipc, &joined.ipc),
    ] {
        if *mode != NamespaceMode::Host {
            namespaces.push(namespace(kind, path.as_ref()));
        }
    }
    let private = match host.cgroupns {
        Some(mode) => mode == CgroupMode::Private,
        None => facts.host.cgroup_v2 && !host.privileged,
    };
    if private {
        namespaces.push(namespace(Kind::Cgroup, None));
    }
    namespaces
}

fn namespace(kind: Kind, path: Option<&PathBuf>) -> LinuxNamespace {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(kind).set_path(path.cloned());
    namespace
}

/// A mount that shall be shared can be so only below a root that is.
fn propagation(container: &Container) -> Option<String> {
    let of_pod = container.pod.iter().flat_map(|pod| &pod.mounts).map(|mount| mount.propagation);
    let all: Vec<Propagation> =
        container.host.mounts.iter().map(|mount| mount.propagation).chain(of_pod).collect();
    let any = |kinds: [Propagation; 2]| all.iter().any(|one| kinds.contains(one));
    if any([Propagation::Shared, Propagation::Rshared]) {
        Some("rshared".to_owned())
    } else if any([Propagation::Slave, Propagation::Rslave]) {
        Some("rslave".to_owned())
    } else {
        None
    }
}

fn filter(
    host: &HostConfig,
    security: &Security,
    facts: &Facts<'_>,
) -> Result<Option<Arc<LinuxSeccomp>>, SpecError> {
    let machine = &facts.host.architecture;
    let architecture =
        || seccomp::architecture(machine).ok_or_else(|| SpecError::Architecture(machine.clone()));
    let capabilities = || process::capabilities(host, facts.host, host.privileged);
    match &security.seccomp {
        _ if !facts.host.seccomp => Ok(None),
        Seccomp::Unconfined => Ok(None),
        Seccomp::Default if host.privileged => Ok(None),
        Seccomp::Default => Ok(Some(seccomp::default_profile(&capabilities()?, architecture()?))),
        Seccomp::Profile(json) => {
            let kernel = facts.host.kernel_version();
            let json = json.as_bytes();
            let profile = seccomp::parse_profile(json, &capabilities()?, architecture()?, kernel)?;
            Ok(Some(Arc::new(profile)))
        }
    }
}
