//! Kernel parameters: only those that belong to a namespace of the container's own. Anything else
//! would change the host (CVE-2022-0811: a value that smuggled a second parameter).

use super::super::{HostConfig, Invalid, NamespaceMode, NetworkMode};

/// Parameters of the IPC namespace (ipc_namespaces(7)).
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

pub(super) fn verify(host: &HostConfig) -> Result<(), Invalid> {
    let own_ipc = host.ipc != NamespaceMode::Host;
    let own_network = host.network != NetworkMode::Host;
    host.sysctls.iter().try_for_each(|(key, value)| check(key, value, own_ipc, own_network))
}

/// Whether a parameter may be set where there are these namespaces of one's own.
///
/// # Errors
/// It is malformed, or would change the host.
pub(crate) fn check(
    key: &str,
    value: &str,
    own_ipc: bool,
    own_network: bool,
) -> Result<(), Invalid> {
    let error = |why: &str| Invalid::value("sysctl", format!("{key}={value}"), why);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    let mut parts = key.split(['.', '/']);
    if !key.bytes().all(fits) || parts.any(str::is_empty) {
        return Err(error("the name is malformed"));
    }
    if value.chars().any(|char| char.is_control() && char != '\t' || "+=".contains(char)) {
        return Err(error("the value has characters that no parameter takes"));
    }
    if IPC.contains(&key) || key.starts_with("fs.mqueue.") {
        if !own_ipc {
            return Err(error("it would change the host's IPC namespace"));
        }
    } else if key.starts_with("net.") {
        if !own_network {
            return Err(error("it would change the host's network"));
        }
    } else {
        return Err(error("it is no parameter of a namespace: it would change the host"));
    }
    Ok(())
}
