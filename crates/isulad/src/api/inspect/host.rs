//! The part of `inspect` that ties a container to the host.

use isula_core::container::{
    CgroupMode, HostConfig, LogDriver, Mount, MountKind, NamespaceMode, Resources, RestartPolicy,
};
use serde_json::{Map, Value, json};

use super::{super::ports, propagation};

/// Docker's `HostConfig`, every field there.
pub(super) fn render(host: &HostConfig) -> Value {
    let connection = host.network.connection();
    let mut shown = json!({
        "Binds": host.mounts.iter().filter_map(bind).collect::<Vec<_>>(),
        "Mounts": host.mounts.iter().map(mount).collect::<Vec<_>>(),
        "NetworkMode": host.network.to_string(),
        "PortBindings": ports::bindings(connection.map_or(&[], |wanted| &wanted.ports)),
        "RestartPolicy": restart(host.restart),
        "AutoRemove": host.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": [],
        "CapAdd": host.cap_add,
        "CapDrop": host.cap_drop,
        "CapAmbient": host.cap_ambient,
        "CgroupnsMode": match host.cgroupns {
            None => "",
            Some(CgroupMode::Private) => "private",
            Some(CgroupMode::Host) => "host",
        },
        "Dns": host.dns,
        "DnsOptions": host.dns_options,
        "DnsSearch": host.dns_search,
        "ExtraHosts": host.extra_hosts,
        "GroupAdd": host.group_add,
        "IpcMode": namespace(&host.ipc),
        "PidMode": namespace(&host.pid),
        "UTSMode": namespace(&host.uts),
        "UsernsMode": "",
        "OomScoreAdj": host.oom_score_adj.unwrap_or(0),
        "Privileged": host.privileged,
        "PublishAllPorts": connection.is_some_and(|wanted| wanted.publish_all),
        "ReadonlyRootfs": host.readonly_rootfs,
        "SecurityOpt": host.security_opt,
        "StorageOpt": host.storage_options,
        "Tmpfs": texts(host.tmpfs.iter().map(|tmpfs| (&tmpfs.target, &tmpfs.options))),
        "ShmSize": host.shm_size.unwrap_or(64 << 20),
        "Sysctls": host.sysctls,
        "Runtime": host.runtime,
        "CgroupParent": host.cgroup_parent.as_deref().unwrap_or_default(),
        "CdiDevices": host.cdi_devices,
        "Devices": host.devices.iter().map(|device| json!({
            "PathOnHost": device.host,
            "PathInContainer": device.container,
            "CgroupPermissions": device.permissions,
        })).collect::<Vec<_>>(),
        "DeviceCgroupRules": host.device_cgroup_rules,
        "Ulimits": host.ulimits.iter().map(|limit| json!({
            "Name": limit.name,
            "Hard": unlimited(limit.hard),
            "Soft": unlimited(limit.soft),
        })).collect::<Vec<_>>(),
        "Init": host.init,
        "LogConfig": log(host),
        "HookSpec": host.hooks,
    });
    // Docker has the resources beside the others.
    if let (Value::Object(shown), Value::Object(resources)) =
        (&mut shown, resources(&host.resources))
    {
        shown.extend(resources);
    }
    shown
}

/// iSulad's short list at the top.
pub(super) fn resources_of(limits: &Resources) -> Value {
    json!({
        "CPUPeriod": limits.cpu_period.unwrap_or(0),
        "CPUQuota": limits.cpu_quota.unwrap_or(0),
        "CPUShares": limits.cpu_shares.unwrap_or(0),
        "Memory": limits.memory.unwrap_or(0),
        "MemorySwap": limits.memory_swap.unwrap_or(0),
        "Hugetlbs": hugetlbs(limits),
        "unified": limits.unified,
    })
}

fn resources(limits: &Resources) -> Value {
    json!({
        "Memory": limits.memory.unwrap_or(0),
        "MemoryReservation": limits.memory_reservation.unwrap_or(0),
        "MemorySwap": limits.memory_swap.unwrap_or(0),
        "MemorySwappiness": limits.memory_swappiness,
        "NanoCpus": limits.nano_cpus.unwrap_or(0),
        "CpuShares": limits.cpu_shares.unwrap_or(0),
        "CpuPeriod": limits.cpu_period.unwrap_or(0),
        "CpuQuota": limits.cpu_quota.unwrap_or(0),
        "CPUShares": limits.cpu_shares.unwrap_or(0),
        "CPUPeriod": limits.cpu_period.unwrap_or(0),
        "CPUQuota": limits.cpu_quota.unwrap_or(0),
        "CpusetCpus": limits.cpuset_cpus.as_deref().unwrap_or_default(),
        "CpusetMems": limits.cpuset_mems.as_deref().unwrap_or_default(),
        "PidsLimit": limits.pids_limit.unwrap_or(0),
        "BlkioWeight": limits.blkio_weight.unwrap_or(0),
        "OomKillDisable": limits.oom_kill_disable.unwrap_or(false),
        "Hugetlbs": hugetlbs(limits),
        "Unified": limits.unified,
    })
}

fn hugetlbs(limits: &Resources) -> Vec<Value> {
    limits.hugetlb.iter().map(|(size, limit)| json!({"PageSize": size, "Limit": limit})).collect()
}

fn unlimited(limit: u64) -> Value {
    if limit == u64::MAX { json!(-1) } else { json!(limit) }
}

fn texts<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)>) -> Value {
    Value::Object(pairs.map(|(key, value)| (key.clone(), json!(value))).collect::<Map<_, _>>())
}

fn namespace(mode: &NamespaceMode) -> String {
    match mode {
        NamespaceMode::Private => "private".to_owned(),
        NamespaceMode::Host => "host".to_owned(),
        NamespaceMode::Container(id) => format!("container:{id}"),
    }
}

fn restart(policy: RestartPolicy) -> Value {
    let (name, count) = match policy {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure(count) => ("on-failure", count),
    };
    json!({"Name": name, "MaximumRetryCount": count})
}

fn log(host: &HostConfig) -> Value {
    match host.log.driver {
        LogDriver::None => json!({"Type": "none", "Config": {}}),
        LogDriver::JsonFile => json!({"Type": "json-file", "Config": {
            "max-size": host.log.max_size.to_string(),
            "max-file": host.log.max_files.to_string(),
        }}),
    }
}

/// `-v`'s form of a bind mount or a named volume.
fn bind(mount: &Mount) -> Option<String> {
    let source = match &mount.kind {
        MountKind::Bind { source, .. } => source,
        MountKind::Volume { name, anonymous: false } => name,
        MountKind::Volume { anonymous: true, .. } => return None,
    };
    let mode = if mount.readonly { ":ro" } else { "" };
    Some(format!("{source}:{}{mode}", mount.target))
}

fn mount(mount: &Mount) -> Value {
    let (kind, source) = match &mount.kind {
        MountKind::Bind { source, .. } => ("bind", source),
        MountKind::Volume { name, .. } => ("volume", name),
    };
    json!({
        "Type": kind,
        "Source": source,
        "Target": mount.target,
        "ReadOnly": mount.readonly,
        "BindOptions": {
            "Propagation": propagation(mount.propagation),
            "NonRecursive": !mount.recursive,
        },
        "VolumeOptions": {"NoCopy": mount.no_copy},
    })
}
