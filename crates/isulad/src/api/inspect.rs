//! A container as `inspect` shows it: Docker's and iSulad's names, every field there.

mod host;

use std::net::IpAddr;

use isula_core::{
    container::{Container, Exit, LogDriver, MountKind, Propagation, Source, State},
    ports::{Attachment, Rootfs},
};
use isula_engine::container::Inspection;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::ports;

/// Go's zero time: never.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The JSON object of a container.
pub(super) fn render(found: &Inspection) -> Value {
    let Container { id, name, created, config, host, restarts, .. } = &*found.container;
    let args = config.args();
    let (path, args) = args.split_first().map_or(("", &[][..]), |(path, args)| (path, args));
    let file = |name: &str| found.directory.join(name).display().to_string();
    let log = match host.log.driver {
        LogDriver::JsonFile => file("console.log"),
        LogDriver::None => String::new(),
    };
    let (image, image_type) = match &found.container.source {
        Source::Image { id, .. } => (id.to_string(), "oci"),
        Source::Directory(_) => (String::new(), "external"),
    };
    json!({
        "Id": id,
        "Created": created,
        "Path": path,
        "Args": args,
        "State": state(found),
        "Resources": host::resources_of(&host.resources),
        "Image": image,
        "ImageType": image_type,
        "ResolvConfPath": file("resolv.conf"),
        "HostnamePath": file("hostname"),
        "HostsPath": file("hosts"),
        "LogPath": log,
        "Name": name,
        "RestartCount": restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "SeccompProfile": file("seccomp"),
        "NoNewPrivileges": host.security_opt.iter().any(|option| {
            matches!(option.as_str(), "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true")
        }),
        "HostConfig": host::render(host),
        "GraphDriver": graph_driver(found.rootfs.as_ref()),
        "Mounts": mounts(found),
        "Config": configuration(&found.container),
        "NetworkSettings": network(&found.container),
    })
}

fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| NEVER.to_owned(), |at| at.to_string())
}

fn state(found: &Inspection) -> Value {
    let Container { state, started, .. } = &*found.container;
    let exit: Option<&Exit> = state.exit();
    let shown = if found.state == "restarting" { "restarting" } else { state.name() };
    json!({
        "Status": shown,
        "Running": matches!(state, State::Running(_) | State::Paused(_)) || shown == "restarting",
        "Paused": matches!(state, State::Paused(_)),
        "Restarting": shown == "restarting",
        "OOMKilled": exit.is_some_and(|exit| exit.oom_killed),
        "Dead": false,
        "Pid": state.run().map_or(0, |run| run.pid),
        "PPid": state.run().map_or(0, |run| run.shim_pid),
        "ExitCode": exit.map_or(0, |exit| exit.code),
        "Error": exit.and_then(|exit| exit.error.as_deref()).unwrap_or_default(),
        "StartedAt": time(*started),
        "FinishedAt": time(exit.map(|exit| exit.at)),
    })
}

fn graph_driver(rootfs: Option<&Rootfs>) -> Value {
    let data = match rootfs {
        Some(Rootfs::Overlay { lower, upper, work, .. }) => {
            let lower: Vec<_> = lower.iter().map(|path| path.display().to_string()).collect();
            json!({
                "LowerDir": lower.join(":"),
                // The mount is in the container's own mount namespace alone.
                "MergedDir": "",
                "UpperDir": upper,
                "WorkDir": work,
            })
        }
        Some(Rootfs::Directory(path)) => json!({"MergedDir": path}),
        None => json!({}),
    };
    json!({"Name": "overlay2", "Data": data})
}

/// Docker's and mount(8)'s name of a propagation.
fn propagation(value: Propagation) -> &'static str {
    match value {
        Propagation::Rprivate => "rprivate",
        Propagation::Private => "private",
        Propagation::Rshared => "rshared",
        Propagation::Shared => "shared",
        Propagation::Rslave => "rslave",
        Propagation::Slave => "slave",
    }
}

fn mounts(found: &Inspection) -> Vec<Value> {
    let directory = |name: &str| {
        let volume = found.volumes.iter().find(|(other, _)| other == name);
        volume.map_or_else(String::new, |(_, path)| path.display().to_string())
    };
    let mounts = found.container.host.mounts.iter().map(|mount| {
        let mut shown = json!({
            "Destination": mount.target,
            "Mode": "",
            "RW": !mount.readonly,
            "Propagation": propagation(mount.propagation),
        });
        let more = match &mount.kind {
            MountKind::Bind { source, .. } => json!({"Type": "bind", "Source": source}),
            MountKind::Volume { name, .. } => json!({
                "Type": "volume", "Name": name, "Source": directory(name), "Driver": "local",
            }),
        };
        if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
            shown.extend(more);
        }
        shown
    });
    let tmpfs = found.container.host.tmpfs.iter().map(|tmpfs| {
        json!({
            "Type": "tmpfs", "Source": "", "Destination": tmpfs.target, "Mode": tmpfs.options,
            "RW": true, "Propagation": "",
        })
    });
    mounts.chain(tmpfs).collect()
}

fn configuration(container: &Container) -> Value {
    let config = &container.config;
    let set = |keys: &[String]| -> Value {
        Value::Object(keys.iter().map(|key| (key.clone(), json!({}))).collect())
    };
    let image = match &container.source {
        Source::Image { reference, .. } => reference.as_str(),
        Source::Directory(_) => "",
    };
    let check = config.healthcheck.as_ref().map(|check| {
        json!({
            "Test": check.test,
            "Interval": nanoseconds(check.interval),
            "Timeout": nanoseconds(check.timeout),
            "StartPeriod": nanoseconds(check.start_period),
            "Retries": check.retries,
        })
    });
    json!({
        "Hostname": config.hostname,
        "Domainname": config.domainname.as_deref().unwrap_or_default(),
        "User": config.user,
        "AttachStdin": config.open_stdin,
        "AttachStdout": true,
        "AttachStderr": true,
        "ExposedPorts": set(&config.exposed_ports),
        "Tty": config.tty,
        "OpenStdin": config.open_stdin,
        "StdinOnce": config.stdin_once,
        "Env": config.env,
        "Cmd": config.cmd,
        "HealthCheck": check,
        "Image": image,
        "ImageRef": image,
        "Volumes": set(&config.volumes),
        "WorkingDir": config.working_dir,
        "Entrypoint": config.entrypoint,
        "Labels": config.labels,
        "Annotations": config.annotations,
        "StopSignal": config.stop_signal.map(|signal| signal.to_string()).unwrap_or_default(),
        "StopTimeout": config.stop_timeout.map(|timeout| timeout.as_secs()),
    })
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn network(container: &Container) -> Value {
    let attachment = container.network.as_deref().map(|endpoint| &endpoint.attachment);
    let run = container.state.run();
    let namespace = run.map(|run| format!("/proc/{}/ns/net", run.pid)).unwrap_or_default();
    let endpoint = endpoint(attachment);
    let mut of_network = endpoint.clone();
    of_network.extend(object(json!({
        "Links": [], "Alias": [], "NetworkID": "", "DriverOpts": {},
        "IFName": attachment.map(|attachment| attachment.interface.as_str()).unwrap_or_default(),
    })));
    let mut shown = object(json!({
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": namespace,
        "Ports": ports::settings(container),
        "CNIPorts": [],
        "Activation": attachment.is_some(),
        "Networks": {container.host.network.to_string(): of_network},
    }));
    shown.extend(endpoint);
    Value::Object(shown)
}

/// The first address of each family, as Docker has it twice.
fn endpoint(attachment: Option<&Attachment>) -> Map<String, Value> {
    let first = |ipv6: bool| {
        let addresses = attachment.map_or(&[][..], |attachment| &attachment.addresses);
        addresses.iter().find(|address| address.ip.is_ipv6() == ipv6)
    };
    let text = |ip: Option<IpAddr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
    let (v4, v6) = (first(false), first(true));
    object(json!({
        "EndpointID": "",
        "Gateway": text(v4.and_then(|address| address.gateway)),
        "IPAddress": text(v4.map(|address| address.ip)),
        "IPPrefixLen": v4.map_or(0, |address| address.prefix),
        "IPv6Gateway": text(v6.and_then(|address| address.gateway)),
        "GlobalIPv6Address": text(v6.map(|address| address.ip)),
        "GlobalIPv6PrefixLen": v6.map_or(0, |address| address.prefix),
        "MacAddress": attachment.and_then(|a| a.mac.as_deref()).unwrap_or_default(),
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests;
