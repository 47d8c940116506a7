//! The part of a request that ties a container to the host.

use isula_api::v1;
use isula_core::{
    container::{
        CgroupMode, DeviceMapping, HostConfig, Joins, LogConfig, Mount, MountKind, NamespaceMode,
        Propagation, Resources, RestartPolicy, Tmpfs, Ulimit,
    },
    id::Name,
};
use tonic::Status;

use super::{super::status::invalid, network, some};
use crate::config::log_options;

/// The configuration that a request asks for; namespaces of others go to `joins`.
pub(super) fn host_config(
    host: v1::HostConfig,
    joins: &mut Joins,
    default_log: &LogConfig,
) -> Result<HostConfig, Status> {
    let log = log(&host, default_log)?;
    let network = network::mode(&host, &mut joins.network)?;
    Ok(HostConfig {
        runtime: host.runtime,
        auto_remove: host.auto_remove,
        restart: restart(&host.restart)?,
        network,
        uts: namespace("uts", &host.uts, None)?,
        ipc: namespace("ipc", &host.ipc, Some(&mut joins.ipc))?,
        pid: namespace("pid", &host.pid, Some(&mut joins.pid))?,
        cgroupns: cgroupns(&host.cgroupns)?,
        cgroup_parent: some(host.cgroup_parent),
        mounts: host.mounts.into_iter().map(mount).collect::<Result<_, _>>()?,
        tmpfs: host.tmpfs.into_iter().map(tmpfs).collect(),
        readonly_rootfs: host.readonly_rootfs,
        storage_options: host.storage_options.into_iter().collect(),
        shm_size: host.shm_size,
        privileged: host.privileged,
        cap_add: host.cap_add,
        cap_drop: host.cap_drop,
        security_opt: host.security_opt,
        group_add: host.group_add,
        sysctls: host.sysctls.into_iter().collect(),
        resources: host.resources.map(resources).transpose()?.unwrap_or_default(),
        ulimits: host.ulimits.into_iter().map(ulimit).collect(),
        devices: host.devices.into_iter().map(device).collect(),
        cdi_devices: host.cdi_devices,
        // Only CRI has them.
        cap_ambient: Vec::new(),
        device_cgroup_rules: host.device_cgroup_rules,
        extra_hosts: host.extra_hosts,
        dns: host.dns,
        dns_search: host.dns_search,
        dns_options: host.dns_options,
        init: host.init,
        oom_score_adj: host.oom_score_adj,
        log,
        hooks: hooks(&host.hooks_json)?,
    })
}

fn log(host: &v1::HostConfig, default: &LogConfig) -> Result<LogConfig, Status> {
    let driver = (!host.log_driver.is_empty()).then_some(host.log_driver.as_str());
    log_options(driver, &host.log_options, default).map_err(invalid)
}

fn restart(text: &str) -> Result<RestartPolicy, Status> {
    let wrong = || invalid(format!("invalid restart policy {text:?}"));
    match text.split_once(':') {
        None => match text {
            "" | "no" => Ok(RestartPolicy::No),
            "always" => Ok(RestartPolicy::Always),
            "unless-stopped" => Ok(RestartPolicy::UnlessStopped),
            "on-failure" => Ok(RestartPolicy::OnFailure(0)),
            _ => Err(wrong()),
        },
        Some(("on-failure", count)) => {
            count.parse().map(RestartPolicy::OnFailure).map_err(|_| wrong())
        }
        Some(_) => Err(wrong()),
    }
}

/// A namespace of the kind `what`; `join` is where the container goes whose namespace is meant.
fn namespace(
    what: &str,
    text: &str,
    join: Option<&mut Option<String>>,
) -> Result<NamespaceMode, Status> {
    match (text, join) {
        ("" | "private", _) => Ok(NamespaceMode::Private),
        // Docker's default; nothing else can join it unless it asks to.
        ("shareable", Some(_)) if what == "ipc" => Ok(NamespaceMode::Private),
        ("host", _) => Ok(NamespaceMode::Host),
        (other, Some(join))
            if other.len() > "container:".len() && other.starts_with("container:") =>
        {
            *join = other.strip_prefix("container:").map(str::to_owned);
            Ok(NamespaceMode::Private)
        }
        (other, _) => Err(invalid(format!("invalid {what} mode {other:?}"))),
    }
}

fn cgroupns(text: &str) -> Result<Option<CgroupMode>, Status> {
    match text {
        "" => Ok(None),
        "private" => Ok(Some(CgroupMode::Private)),
        "host" => Ok(Some(CgroupMode::Host)),
        other => Err(invalid(format!("invalid cgroup namespace mode {other:?}"))),
    }
}

fn mount(mount: v1::Mount) -> Result<Mount, Status> {
    let kind = match mount.kind() {
        v1::mount::Kind::Bind => {
            MountKind::Bind { source: mount.source, create: mount.create_source }
        }
        v1::mount::Kind::Volume if mount.source.is_empty() => {
            MountKind::Volume { name: String::new(), anonymous: true }
        }
        v1::mount::Kind::Volume => match Name::try_from(mount.source) {
            Ok(name) => MountKind::Volume { name: name.into(), anonymous: false },
            Err(error) => return Err(invalid(format!("volume: {error}"))),
        },
        v1::mount::Kind::Unspecified => {
            return Err(invalid(format!("the mount at {:?} has no kind", mount.target)));
        }
    };
    let propagation = match mount.propagation.as_str() {
        "" | "rprivate" => Propagation::Rprivate,
        "private" => Propagation::Private,
        "rshared" => Propagation::Rshared,
        "shared" => Propagation::Shared,
        "rslave" => Propagation::Rslave,
        "slave" => Propagation::Slave,
        other => return Err(invalid(format!("invalid mount propagation {other:?}"))),
    };
    Ok(Mount {
        kind,
        target: mount.target,
        readonly: mount.readonly,
        recursive: !mount.non_recursive,
        propagation,
        no_copy: mount.no_copy,
    })
}

fn tmpfs(tmpfs: v1::Tmpfs) -> Tmpfs {
    Tmpfs { target: tmpfs.target, options: tmpfs.options }
}

fn resources(resources: v1::Resources) -> Result<Resources, Status> {
    let weight = resources.blkio_weight.map(|weight| {
        u16::try_from(weight).map_err(|_| invalid(format!("invalid block io weight: {weight}")))
    });
    Ok(Resources {
        memory: resources.memory,
        memory_reservation: resources.memory_reservation,
        memory_swap: resources.memory_swap,
        memory_swappiness: resources.memory_swappiness,
        nano_cpus: resources.nano_cpus,
        cpu_shares: resources.cpu_shares,
        cpu_period: resources.cpu_period,
        cpu_quota: resources.cpu_quota,
        cpuset_cpus: some(resources.cpuset_cpus),
        cpuset_mems: some(resources.cpuset_mems),
        pids_limit: resources.pids_limit,
        blkio_weight: weight.transpose()?,
        oom_kill_disable: resources.oom_kill_disable,
        hugetlb: resources.hugetlb.into_iter().collect(),
        unified: resources.unified.into_iter().collect(),
    })
}

fn ulimit(limit: v1::Ulimit) -> Ulimit {
    Ulimit { name: limit.name, soft: limit.soft, hard: limit.hard }
}

fn device(device: v1::Device) -> DeviceMapping {
    DeviceMapping {
        host: device.host,
        container: device.container,
        permissions: device.permissions,
    }
}

fn hooks(json: &[u8]) -> Result<Option<serde_json::Value>, Status> {
    if json.is_empty() {
        return Ok(None);
    }
    match serde_json::from_slice(json) {
        Ok(hooks @ serde_json::Value::Object(_)) => Ok(Some(hooks)),
        Ok(_) => Err(invalid("the hooks must be a JSON object")),
        Err(error) => Err(invalid(format!("the hooks are no JSON: {error}"))),
    }
}
