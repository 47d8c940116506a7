//! How a container is tied to the host, from the wire.

use isula_api::v1;
use isula_core::container::{
    CgroupMode, DeviceMapping, HostConfig, LogConfig, LogDriver, Mount, MountKind, NamespaceMode,
    NetworkMode, Propagation, Resources, RestartPolicy, Tmpfs, Ulimit,
};
use tonic::Status;

use super::{invalid, text};

/// The whole of it. `log` is the daemon's default.
pub fn host_config(host: v1::HostConfig, log: &LogConfig) -> Result<HostConfig, Status> {
    let log = log_config(&host, log)?;
    Ok(HostConfig {
        runtime: host.runtime,
        auto_remove: host.auto_remove,
        restart: restart(&host.restart)?,
        network: network(&host.network)?,
        uts: own_or_host("uts", &host.uts)?,
        ipc: namespace("ipc", &host.ipc)?,
        pid: namespace("pid", &host.pid)?,
        cgroupns: cgroup_mode(&host.cgroupns)?,
        cgroup_parent: text(host.cgroup_parent),
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
        resources: resources(host.resources.unwrap_or_default())?,
        ulimits: host.ulimits.into_iter().map(ulimit).collect(),
        devices: host.devices.into_iter().map(device).collect(),
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

fn restart(policy: &str) -> Result<RestartPolicy, Status> {
    let error = || invalid(format!("invalid restart policy {policy:?}"));
    Ok(match policy {
        "" | "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => RestartPolicy::OnFailure(0),
        other => {
            let times = other.strip_prefix("on-failure:").ok_or_else(error)?;
            RestartPolicy::OnFailure(times.parse().map_err(|_| error())?)
        }
    })
}

/// A container that is joined is named in `Joins`; until the engine has found it, the network is
/// none.
fn network(mode: &str) -> Result<NetworkMode, Status> {
    match mode {
        "" | "none" => Ok(NetworkMode::None),
        "host" => Ok(NetworkMode::Host),
        other if other.starts_with("container:") => Ok(NetworkMode::None),
        other => Err(invalid(format!(
            "network {other:?} is not available: use none, host or container:NAME"
        ))),
    }
}

fn namespace(kind: &str, mode: &str) -> Result<NamespaceMode, Status> {
    if mode.starts_with("container:") {
        return Ok(NamespaceMode::Private);
    }
    own_or_host(kind, mode)
}

fn own_or_host(kind: &str, mode: &str) -> Result<NamespaceMode, Status> {
    match mode {
        "" | "private" => Ok(NamespaceMode::Private),
        "host" => Ok(NamespaceMode::Host),
        other => Err(invalid(format!("invalid {kind} mode {other:?}"))),
    }
}

fn cgroup_mode(mode: &str) -> Result<Option<CgroupMode>, Status> {
    match mode {
        "" => Ok(None),
        "private" => Ok(Some(CgroupMode::Private)),
        "host" => Ok(Some(CgroupMode::Host)),
        other => Err(invalid(format!("invalid cgroup namespace mode {other:?}"))),
    }
}

fn mount(mount: v1::Mount) -> Result<Mount, Status> {
    let kind = match mount.kind() {
        v1::mount::Kind::Bind => {
            MountKind::Bind { source: mount.source.clone(), create: mount.create_source }
        }
        v1::mount::Kind::Volume => {
            MountKind::Volume { anonymous: mount.source.is_empty(), name: mount.source.clone() }
        }
        v1::mount::Kind::Unspecified => {
            return Err(invalid(format!("mount on {:?} has no kind", mount.target)));
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

fn ulimit(ulimit: v1::Ulimit) -> Ulimit {
    Ulimit { name: ulimit.name, soft: ulimit.soft, hard: ulimit.hard }
}

fn device(device: v1::Device) -> DeviceMapping {
    DeviceMapping {
        host: device.host,
        container: device.container,
        permissions: device.permissions,
    }
}

fn resources(resources: v1::Resources) -> Result<Resources, Status> {
    let weight = resources.blkio_weight.map(|weight| {
        u16::try_from(weight).map_err(|_| invalid(format!("invalid blkio weight {weight}")))
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
        cpuset_cpus: text(resources.cpuset_cpus),
        cpuset_mems: text(resources.cpuset_mems),
        pids_limit: resources.pids_limit,
        blkio_weight: weight.transpose()?,
        oom_kill_disable: resources.oom_kill_disable,
        hugetlb: resources.hugetlb.into_iter().collect(),
        unified: resources.unified.into_iter().collect(),
    })
}

fn hooks(json: &[u8]) -> Result<Option<serde_json::Value>, Status> {
    if json.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(json).map(Some).map_err(|error| invalid(format!("hooks: {error}")))
}

fn log_config(host: &v1::HostConfig, default: &LogConfig) -> Result<LogConfig, Status> {
    let mut log = default.clone();
    log.driver = match host.log_driver.as_str() {
        "" => log.driver,
        "json-file" => LogDriver::JsonFile,
        "none" => LogDriver::None,
        other => {
            return Err(invalid(format!(
                "log driver {other:?} is not available: use json-file or none"
            )));
        }
    };
    for (name, value) in &host.log_options {
        let error = || invalid(format!("invalid value {value:?} of log option {name:?}"));
        match name.as_str() {
            "max-size" => log.max_size = bytes(value).ok_or_else(error)?,
            "max-file" => {
                log.max_files = value.parse().ok().filter(|&files| files > 0).ok_or_else(error)?;
            }
            other => return Err(invalid(format!("unknown log option {other:?}"))),
        }
    }
    Ok(log)
}

/// Docker's sizes: a number and `b`, `k`, `m`, `g` in either case, or nothing; -1 is no limit.
pub fn bytes(text: &str) -> Option<u64> {
    if text == "-1" {
        return Some(0);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..)?.to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, size) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("10k", Some(10 << 10)),
            ("10M", Some(10 << 20)),
            ("1GiB", Some(1 << 30)),
            ("-1", Some(0)),
            ("", None),
            ("m", None),
            ("1x", None),
            ("99999999999g", None),
        ] {
            assert_eq!(bytes(text), size, "{text}");
        }
    }
}
