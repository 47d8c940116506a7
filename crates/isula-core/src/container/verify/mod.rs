//! What may be asked for: every value that a user can give is checked here, once, before anything
//! is made. What passes can be built into a spec; what can't be had as asked becomes a warning.

mod devices;
mod limits;
mod mounts;
mod network;
mod resources;
mod sysctls;

pub(crate) use devices::{Rule, rule};
pub(crate) use limits::check as check_ulimit;
pub(crate) use network::{HostAddress, extra_host};
pub(crate) use sysctls::check as sysctl_of;

use super::{
    Config, HostConfig, Invalid, NamespaceMode, NetworkMode, RestartPolicy, capability, path,
    security::Security,
};
use crate::{ports::HostFacts, user};

/// The longest host name the kernel takes (`__NEW_UTS_LEN`).
const HOSTNAME_LIMIT: usize = 64;

/// Checks a request, cleans the paths in it, and takes out what this host can't do but can be
/// left out. Gives warnings in sentences for the user.
///
/// # Errors
/// The first thing that is wrong, named by its option and value.
pub fn verify(
    config: &Config,
    host: &mut HostConfig,
    facts: &HostFacts,
) -> Result<Vec<String>, Invalid> {
    let mut warnings = Vec::new();
    verify_config(config)?;
    verify_life(host)?;
    namespaces(config, host)?;
    capability::ambient(&host.cap_ambient)?;
    let added = host.cap_add.iter().chain(&host.cap_ambient);
    let missing = capability::missing(added, &facts.capabilities)?;
    capability::wanted(host.privileged, &[], &host.cap_drop)?;
    if !missing.is_empty() {
        let missing = missing.join(", ");
        warnings.push(format!("the daemon itself lacks {missing}: the container runs without"));
    }
    let security = Security::parse(&host.security_opt)?;
    if security.seccomp != super::security::Seccomp::Unconfined && !facts.seccomp {
        warnings.push("the kernel has no seccomp: the container runs without a filter".to_owned());
    }
    for group in &host.group_add {
        user::check(group)?;
    }
    mounts::verify(host)?;
    devices::verify(host)?;
    network::verify(host)?;
    sysctls::verify(host)?;
    limits::verify(host, facts, &mut warnings)?;
    resources::verify(&mut host.resources, facts, &mut warnings)?;
    if let Some(parent) = &mut host.cgroup_parent {
        let absolute = format!("/{}", parent.trim_start_matches('/'));
        if absolute.split('/').any(|part| part == "..") {
            return Err(Invalid::value("cgroup-parent", parent, "it must not have '..'"));
        }
        *parent = path::mount_target("cgroup-parent", &absolute)?;
    }
    Ok(warnings)
}

/// As [`verify`], for limits that are changed later.
///
/// # Errors
/// As [`verify`].
pub fn verify_resources(
    resources: &mut super::Resources,
    facts: &HostFacts,
) -> Result<Vec<String>, Invalid> {
    let mut warnings = Vec::new();
    resources::verify(resources, facts, &mut warnings)?;
    Ok(warnings)
}

fn verify_config(config: &Config) -> Result<(), Invalid> {
    hostname("hostname", &config.hostname)?;
    if let Some(domainname) = &config.domainname {
        hostname("domainname", domainname)?;
    }
    user::check(&config.user)?;
    for (field, map) in [("label", &config.labels), ("annotation", &config.annotations)] {
        if let Some((key, value)) = map
            .iter()
            .find(|(key, value)| key.is_empty() || key.contains('\0') || value.contains('\0'))
        {
            let why = "the key is empty or there is a NUL character";
            return Err(Invalid::value(field, format!("{key}={value}"), why));
        }
    }
    match &config.healthcheck {
        Some(check) => match check.test.first().map(String::as_str) {
            Some("NONE" | "CMD" | "CMD-SHELL") => Ok(()),
            first => {
                let why = "the test must begin with NONE, CMD or CMD-SHELL";
                Err(Invalid::value("health-cmd", first.unwrap_or_default(), why))
            }
        },
        None => Ok(()),
    }
}

/// It becomes a line of `/etc/hosts` and the whole of `/etc/hostname`.
fn hostname(field: &'static str, name: &str) -> Result<(), Invalid> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.is_empty() || name.len() > HOSTNAME_LIMIT || !name.bytes().all(fits) {
        let why = "it must be 1 to 64 letters, digits, '.', '-' or '_'";
        return Err(Invalid::value(field, name, why));
    }
    Ok(())
}

fn verify_life(host: &HostConfig) -> Result<(), Invalid> {
    if host.auto_remove && host.restart != RestartPolicy::No {
        return Err(Invalid::Conflict("rm", "restart"));
    }
    if host.log.max_files == 0 {
        return Err(Invalid::value("log-opt max-file", 0, "it must be at least 1"));
    }
    for (option, value) in &host.storage_options {
        if option != "size" {
            let value = format!("{option}={value}");
            let why = "the only option is size";
            return Err(Invalid::Unsupported { field: "storage-opt", value, why });
        }
        if host.storage_size().is_none() {
            let why = "the size must be a number of bytes, or of k, m, g or t, and not 0";
            return Err(Invalid::value("storage-opt", format!("{option}={value}"), why));
        }
    }
    if host.shm_size == Some(0) {
        return Err(Invalid::value("shm-size", 0, "it must be greater than 0"));
    }
    if let Some(score) = host.oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        return Err(Invalid::value(
            "oom-score-adj",
            score,
            "it must be in the range -1000 to 1000",
        ));
    }
    Ok(())
}

/// What can't be had together with a namespace of somebody else (Docker's rules).
fn namespaces(config: &Config, host: &HostConfig) -> Result<(), Invalid> {
    if let NetworkMode::Container(_) = host.network {
        let dns = [&host.dns, &host.dns_search, &host.dns_options];
        if dns.iter().any(|list| !list.is_empty()) {
            return Err(Invalid::Conflict("dns", "network container:…"));
        }
        if !host.extra_hosts.is_empty() {
            return Err(Invalid::Conflict("add-host", "network container:…"));
        }
    }
    if host.uts == NamespaceMode::Host && config.domainname.is_some() {
        return Err(Invalid::Conflict("domainname", "uts host"));
    }
    if let NamespaceMode::Container(id) = &host.uts {
        let why = "only host and private";
        return Err(Invalid::value("uts", format!("container:{id}"), why));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
