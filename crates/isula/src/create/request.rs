//! From flags to a [`CreateRequest`].

use std::collections::HashMap;

use isula_api::v1::{ContainerConfig, CreateRequest, HostConfig, StringList};

use super::health::healthcheck;
use super::resources::resources;
use super::security::{hooks, security_option};
use super::storage::storage;
use super::{Surroundings, read_file};
use crate::error::Failure;
use crate::flags::Arguments;
use crate::parse::{device, environment, names, number, publish, size, ulimit, volume};

/// The image that stands for "no image" beside `--external-rootfs`.
const NO_IMAGE: &str = "none";

/// The request that the arguments describe; `detached` says that nobody stays at the streams.
///
/// # Errors
/// [`Failure::Usage`] for whatever does not parse or contradicts itself.
pub fn request(
    arguments: &Arguments,
    around: &Surroundings<'_>,
    detached: bool,
) -> Result<CreateRequest, Failure> {
    let Some((image, command)) = arguments.rest.split_first() else {
        return Err(arguments.fault("an image is needed"));
    };
    let external_rootfs = match arguments.text("external-rootfs") {
        None => String::new(),
        Some(_) if image != NO_IMAGE => {
            let message = format!("with --external-rootfs the image must be \"{NO_IMAGE}\"");
            return Err(arguments.fault(message));
        }
        Some(path) => {
            volume::host_path(path, around.directory).map_err(|error| arguments.fault(error))?
        }
    };
    let image = if external_rootfs.is_empty() { image.clone() } else { String::new() };
    Ok(CreateRequest {
        name: arguments.value("name").unwrap_or_default().to_owned(),
        image,
        external_rootfs,
        config: Some(config(arguments, around, command, detached)?),
        host: Some(host(arguments, around)?),
    })
}

fn text(arguments: &Arguments, flag: &str) -> String {
    arguments.value(flag).unwrap_or_default().to_owned()
}

fn texts(arguments: &Arguments, flag: &str) -> Vec<String> {
    arguments.values(flag).map(str::to_owned).collect()
}

fn config(
    arguments: &Arguments,
    around: &Surroundings<'_>,
    command: &[String],
    detached: bool,
) -> Result<ContainerConfig, Failure> {
    let open_stdin = arguments.on("interactive");
    Ok(ContainerConfig {
        hostname: text(arguments, "hostname"),
        domainname: text(arguments, "domainname"),
        user: text(arguments, "user"),
        tty: arguments.on("tty"),
        open_stdin,
        // Its stdin ends with the first client, if there is one.
        stdin_once: open_stdin && !detached,
        env: variables(arguments, around)?,
        cmd: command.to_vec(),
        entrypoint: entrypoint(arguments),
        working_dir: working_directory(arguments)?,
        labels: labels(arguments)?,
        annotations: arguments.each("annotation", environment::label)?.into_iter().collect(),
        expose: arguments.each("expose", names::exposed_port)?,
        stop_signal: arguments.parsed("stop-signal", names::signal)?.unwrap_or_default(),
        stop_timeout_seconds: arguments.parsed("stop-timeout", number::number)?,
        healthcheck: healthcheck(arguments)?,
    })
}

/// Variables of files come first, so that those of `--env` win.
fn variables(arguments: &Arguments, around: &Surroundings<'_>) -> Result<Vec<String>, Failure> {
    let of_file = |path: &str| environment::variables_of_file(&read_file(path)?, around.lookup);
    let mut variables = arguments.each("env-file", of_file)?.concat();
    variables.extend(arguments.each("env", |text| environment::variable(text, around.lookup))?);
    Ok(variables)
}

fn labels(arguments: &Arguments) -> Result<HashMap<String, String>, Failure> {
    let of_file = |path: &str| environment::labels_of_file(&read_file(path)?);
    let mut labels = arguments.each("label-file", of_file)?.concat();
    labels.extend(arguments.each("label", environment::label)?);
    Ok(labels.into_iter().collect())
}

/// An empty text takes the image's entrypoint away.
fn entrypoint(arguments: &Arguments) -> Option<StringList> {
    let given = arguments.value("entrypoint")?;
    let values = if given.is_empty() { Vec::new() } else { vec![given.to_owned()] };
    Some(StringList { values })
}

fn working_directory(arguments: &Arguments) -> Result<String, Failure> {
    let absolute = |path: &str| match path.is_empty() || path.starts_with('/') {
        true => Ok(path.to_owned()),
        false => Err("the working directory must be absolute"),
    };
    Ok(arguments.parsed("workdir", absolute)?.unwrap_or_default())
}

fn restart(arguments: &Arguments) -> Result<String, Failure> {
    let policy = arguments.parsed("restart", names::restart)?.unwrap_or_default();
    if arguments.on("rm") && !matches!(policy.as_str(), "" | "no") {
        let message = "conflicting options: cannot specify both --restart and --rm";
        return Err(arguments.fault(message));
    }
    Ok(policy)
}

/// The one network; several are refused, as none of them would be silently.
fn network(arguments: &Arguments) -> Result<String, Failure> {
    let mut names = arguments.values("network");
    match (names.next(), names.next()) {
        (Some(first), Some(second)) => {
            let message = format!("a container has one network in this version: {first}, {second}");
            Err(arguments.fault(message))
        }
        (name, _) => Ok(name.unwrap_or_default().to_owned()),
    }
}

fn host(arguments: &Arguments, around: &Surroundings<'_>) -> Result<HostConfig, Failure> {
    let (mounts, tmpfs) = storage(arguments, around)?;
    let pairs = |flag: &str| -> Result<HashMap<String, String>, Failure> {
        Ok(arguments.each(flag, environment::pair)?.into_iter().collect())
    };
    let (mut devices, mut cdi_devices) = (Vec::new(), Vec::new());
    for named in arguments.each("device", device::named)? {
        match named {
            device::Named::Node(node) => devices.push(node),
            device::Named::Cdi(name) => cdi_devices.push(name),
        }
    }
    Ok(HostConfig {
        runtime: text(arguments, "runtime"),
        auto_remove: arguments.on("rm"),
        restart: restart(arguments)?,
        network: network(arguments)?,
        ports: arguments.each("publish", publish::ports)?.concat(),
        publish_all: arguments.on("publish-all"),
        ip: arguments.parsed("ip", names::ip)?.unwrap_or_default(),
        mac_address: text(arguments, "mac-address"),
        uts: text(arguments, "uts"),
        ipc: text(arguments, "ipc"),
        pid: text(arguments, "pid"),
        cgroupns: text(arguments, "cgroupns"),
        cgroup_parent: text(arguments, "cgroup-parent"),
        mounts,
        tmpfs,
        readonly_rootfs: arguments.on("read-only"),
        storage_options: pairs("storage-opt")?,
        shm_size: arguments.parsed("shm-size", size::bytes)?.filter(|bytes| *bytes > 0),
        privileged: arguments.on("privileged"),
        cap_add: texts(arguments, "cap-add"),
        cap_drop: texts(arguments, "cap-drop"),
        security_opt: arguments.each("security-opt", security_option)?,
        group_add: texts(arguments, "group-add"),
        sysctls: pairs("sysctl")?,
        resources: Some(resources(arguments)?),
        ulimits: arguments.each("ulimit", ulimit::ulimit)?,
        devices,
        cdi_devices,
        device_cgroup_rules: arguments.each("device-cgroup-rule", device::cgroup_rule)?,
        extra_hosts: arguments.each("add-host", names::extra_host)?,
        dns: arguments.each("dns", names::ip)?,
        dns_search: texts(arguments, "dns-search"),
        dns_options: texts(arguments, "dns-option"),
        init: arguments.on("init"),
        oom_score_adj: arguments.parsed("oom-score-adj", number::oom_score_adj)?,
        log_driver: text(arguments, "log-driver"),
        log_options: pairs("log-opt")?,
        hooks_json: arguments.parsed("hook-spec", hooks)?.unwrap_or_default().into(),
    })
}
