//! A container as `inspect` shows it: Docker's and iSulad's field names (FEATURES, inspect keys).

use isula_core::{
    container::{
        CgroupMode, Container, HostConfig, LogDriver, Mount, MountKind, NamespaceMode, NetworkMode,
        Propagation, Resources, RestartPolicy, Source, State,
    },
    ports::Rootfs,
};
use isula_engine::container::Inspection;
use serde_json::{Map, Value, json};

/// When something that never happened happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The JSON object.
pub fn render(facts: &Inspection) -> Value {
    let container = &*facts.container;
    let file = |name: &str| facts.directory.join(name).display().to_string();
    let args = container.config.args();
    let (path, rest) = args.split_first().map_or(("", &[][..]), |(path, rest)| (path, rest));
    let (image, image_type) = match &container.source {
        Source::Image { id, .. } => (id.to_string(), "oci"),
        Source::Directory(_) => (String::new(), "external"),
    };
    let log = match container.host.log.driver {
        LogDriver::JsonFile => file("console.log"),
        LogDriver::None => String::new(),
    };
    json!({
        "Id": container.id.as_str(),
        "Created": time(Some(container.created)),
        "Path": path,
        "Args": rest,
        "State": state(facts),
        "Resources": resources(&container.host.resources),
        "Image": image,
        "ImageType": image_type,
        "ResolvConfPath": file("resolv.conf"),
        "HostnamePath": file("hostname"),
        "HostsPath": file("hosts"),
        "LogPath": log,
        "Name": container.name.as_str(),
        "RestartCount": container.restarts,
        "MountLabel": "",
        "ProcessLabel": "",
        "SeccompProfile": file("seccomp"),
        "NoNewPrivileges": no_new_privileges(&container.host),
        "HostConfig": host_config(container),
        "GraphDriver": graph_driver(facts.rootfs.as_ref()),
        "Mounts": mounts(facts),
        "Config": config(container),
        "NetworkSettings": network(container),
    })
}

fn time(at: Option<jiff::Timestamp>) -> String {
    at.map_or_else(|| NEVER.to_owned(), |at| at.to_string())
}

fn state(facts: &Inspection) -> Value {
    let container = &*facts.container;
    let run = container.state.run();
    let exit = container.state.exit();
    let started = run.map(|run| run.started).or(container.started);
    json!({
        "Status": facts.state,
        "Running": run.is_some(),
        "Paused": matches!(container.state, State::Paused(_)),
        "Restarting": facts.state == "restarting",
        "OOMKilled": exit.is_some_and(|exit| exit.oom_killed),
        "Dead": false,
        "Pid": run.map_or(0, |run| run.pid),
        "PPid": run.map_or(0, |run| run.shim_pid),
        "ExitCode": exit.map_or(0, |exit| exit.code),
        "Error": exit.and_then(|exit| exit.error.clone()).unwrap_or_default(),
        "StartedAt": time(started),
        "FinishedAt": time(exit.map(|exit| exit.at)),
    })
}

fn resources(resources: &Resources) -> Value {
    json!({
        "CPUPeriod": resources.cpu_period.unwrap_or_default(),
        "CPUQuota": resources.cpu_quota.unwrap_or_default(),
        "CPUShares": resources.cpu_shares.unwrap_or_default(),
        "Memory": resources.memory.unwrap_or_default(),
        "MemorySwap": resources.memory_swap.unwrap_or_default(),
        "Hugetlbs": resources.hugetlb,
        "unified": resources.unified,
    })
}

fn no_new_privileges(host: &HostConfig) -> bool {
    let on = ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"];
    host.security_opt.iter().any(|option| on.contains(&option.as_str()))
}

fn host_config(container: &Container) -> Value {
    let host = &container.host;
    let limits = &host.resources;
    let mut fields = match json!({
        "Runtime": host.runtime,
        "AutoRemove": host.auto_remove,
        "RestartPolicy": restart(host.restart),
        "NetworkMode": network_mode(&host.network),
        "UTSMode": namespace(&host.uts),
        "IpcMode": namespace(&host.ipc),
        "PidMode": namespace(&host.pid),
        "CgroupnsMode": match host.cgroupns {
            None => "",
            Some(CgroupMode::Private) => "private",
            Some(CgroupMode::Host) => "host",
        },
        "CgroupParent": host.cgroup_parent.as_deref().unwrap_or_default(),
        "Binds": host.mounts.iter().map(bind).collect::<Vec<_>>(),
        "Tmpfs": host.tmpfs.iter().map(|one| (one.target.clone(), json!(one.options))).collect::<Map<_, _>>(),
        "ReadonlyRootfs": host.readonly_rootfs,
        "StorageOpt": host.storage_options,
        "ShmSize": host.shm_size.unwrap_or(64 << 20),
        "Privileged": host.privileged,
        "CapAdd": host.cap_add,
        "CapDrop": host.cap_drop,
        "SecurityOpt": host.security_opt,
        "GroupAdd": host.group_add,
        "Sysctls": host.sysctls,
        "Init": host.init,
        "OomScoreAdj": host.oom_score_adj.unwrap_or_default(),
    }) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    if let Value::Object(more) = json!({
        "Dns": host.dns,
        "DnsSearch": host.dns_search,
        "DnsOptions": host.dns_options,
        "ExtraHosts": host.extra_hosts,
        "Ulimits": host.ulimits.iter().map(|one| json!({"Name": one.name, "Soft": one.soft, "Hard": one.hard})).collect::<Vec<_>>(),
        "Devices": host.devices.iter().map(|one| json!({"PathOnHost": one.host, "PathInContainer": one.container, "CgroupPermissions": one.permissions})).collect::<Vec<_>>(),
        "DeviceCgroupRules": host.device_cgroup_rules,
        "LogConfig": {
            "Type": log_driver(host),
            "Config": {"max-size": host.log.max_size.to_string(), "max-file": host.log.max_files.to_string()},
        },
    }) {
        fields.extend(more);
    }
    if let Value::Object(more) = host_limits(limits) {
        fields.extend(more);
    }
    Value::Object(fields)
}

fn host_limits(limits: &Resources) -> Value {
    json!({
        "Memory": limits.memory.unwrap_or_default(),
        "MemoryReservation": limits.memory_reservation.unwrap_or_default(),
        "MemorySwap": limits.memory_swap.unwrap_or_default(),
        "MemorySwappiness": limits.memory_swappiness,
        "NanoCpus": limits.nano_cpus.unwrap_or_default(),
        "CPUShares": limits.cpu_shares.unwrap_or_default(),
        "CPUPeriod": limits.cpu_period.unwrap_or_default(),
        "CPUQuota": limits.cpu_quota.unwrap_or_default(),
        "CpusetCpus": limits.cpuset_cpus.as_deref().unwrap_or_default(),
        "CpusetMems": limits.cpuset_mems.as_deref().unwrap_or_default(),
        "PidsLimit": limits.pids_limit.unwrap_or_default(),
        "BlkioWeight": limits.blkio_weight.unwrap_or_default(),
        "OomKillDisable": limits.oom_kill_disable.unwrap_or_default(),
    })
}

fn log_driver(host: &HostConfig) -> &'static str {
    match host.log.driver {
        LogDriver::JsonFile => "json-file",
        LogDriver::None => "none",
    }
}

fn restart(policy: RestartPolicy) -> Value {
    let (name, times) = match policy {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure(times) => ("on-failure", times),
    };
    json!({"Name": name, "MaximumRetryCount": times})
}

fn network_mode(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Container(id) => format!("container:{id}"),
    }
}

fn namespace(mode: &NamespaceMode) -> String {
    match mode {
        NamespaceMode::Private => "private".to_owned(),
        NamespaceMode::Host => "host".to_owned(),
        NamespaceMode::Container(id) => format!("container:{id}"),
    }
}

/// A host path or the name of a volume.
pub fn mount_source(mount: &Mount) -> String {
    match &mount.kind {
        MountKind::Bind { source, .. } => source.clone(),
        MountKind::Volume { name, .. } => name.clone(),
    }
}

fn bind(mount: &Mount) -> String {
    let mode = if mount.readonly { "ro" } else { "rw" };
    format!("{}:{}:{mode}", mount_source(mount), mount.target)
}

fn mounts(facts: &Inspection) -> Vec<Value> {
    let volume = |name: &str| {
        let found = facts.volumes.iter().find(|(known, _)| known == name);
        found.map(|(_, path)| path.display().to_string()).unwrap_or_default()
    };
    let shown = |mount: &Mount| {
        let propagation = match mount.propagation {
            Propagation::Rprivate => "rprivate",
            Propagation::Private => "private",
            Propagation::Rshared => "rshared",
            Propagation::Shared => "shared",
            Propagation::Rslave => "rslave",
            Propagation::Slave => "slave",
        };
        let (kind, name, source) = match &mount.kind {
            MountKind::Bind { source, .. } => ("bind", "", source.clone()),
            MountKind::Volume { name, .. } => ("volume", name.as_str(), volume(name)),
        };
        json!({
            "Type": kind,
            "Name": name,
            "Source": source,
            "Destination": mount.target,
            "RW": !mount.readonly,
            "Propagation": propagation,
        })
    };
    facts.container.host.mounts.iter().map(shown).collect()
}

fn config(container: &Container) -> Value {
    let config = &container.config;
    let image = match &container.source {
        Source::Image { reference, .. } => reference.as_str(),
        Source::Directory(path) => path.as_str(),
    };
    let keys = |names: &[String]| -> Map<String, Value> {
        names.iter().map(|name| (name.clone(), json!({}))).collect()
    };
    json!({
        "Hostname": config.hostname,
        "Domainname": config.domainname.as_deref().unwrap_or_default(),
        "User": config.user,
        "Env": config.env,
        "Tty": config.tty,
        "OpenStdin": config.open_stdin,
        "StdinOnce": config.stdin_once,
        "Cmd": config.cmd,
        "Entrypoint": config.entrypoint,
        "Labels": config.labels,
        "Annotations": config.annotations,
        "Volumes": keys(&config.volumes),
        "ExposedPorts": keys(&config.exposed_ports),
        "WorkingDir": config.working_dir,
        "Image": image,
        "ImageRef": image,
        "StopSignal": config.stop_signal.map_or_else(|| "SIGTERM".to_owned(), |signal| signal.to_string()),
        "StopTimeout": config.stop_timeout.map(|time| time.as_secs()),
        "Healthcheck": config.healthcheck.as_ref().map(|check| json!({
            "Test": check.test,
            "Interval": check.interval.as_nanos(),
            "Timeout": check.timeout.as_nanos(),
            "StartPeriod": check.start_period.as_nanos(),
            "Retries": check.retries,
        })),
    })
}

fn graph_driver(rootfs: Option<&Rootfs>) -> Value {
    match rootfs {
        Some(Rootfs::Overlay { lower, upper, work, .. }) => {
            let lower: Vec<_> = lower.iter().map(|path| path.display().to_string()).collect();
            json!({
                "Name": "overlay2",
                "Data": {
                    "LowerDir": lower.join(":"),
                    // The overlay is mounted inside the container and nowhere else.
                    "MergedDir": "",
                    "UpperDir": upper.display().to_string(),
                    "WorkDir": work.display().to_string(),
                },
            })
        }
        Some(Rootfs::Directory(path)) => {
            json!({"Name": "external", "Data": {"MergedDir": path.display().to_string()}})
        }
        None => json!({"Name": "overlay2", "Data": null}),
    }
}

fn network(container: &Container) -> Value {
    let key = container.state.run().map(|run| format!("/proc/{}/ns/net", run.pid));
    json!({
        "SandboxKey": key.unwrap_or_default(),
        "Ports": {},
        "Networks": {network_mode(&container.host.network): {}},
        "IPAddress": "",
        "MacAddress": "",
    })
}
