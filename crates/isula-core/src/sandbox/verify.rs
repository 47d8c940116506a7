//! What may be asked of a sandbox: checked once, before anything is made.

use super::{
    Metadata, SandboxConfig, Scope, UserNamespace,
    texts::{verify_name, verify_texts},
};
use crate::container::{Invalid, path, sysctl_of};

/// The longest host name the kernel takes (`__NEW_UTS_LEN`).
const HOSTNAME_LIMIT: usize = 64;

/// Checks a request and cleans the paths in it.
///
/// # Errors
/// The first thing that is wrong, named by its field.
pub fn verify(config: &mut SandboxConfig) -> Result<(), Invalid> {
    if config.metadata.name.is_empty() {
        return Err(Invalid::value("metadata.name", "", "a sandbox needs a name"));
    }
    verify_texts("label", &config.labels)?;
    verify_texts("annotation", &config.annotations)?;
    let Metadata { name, uid, namespace, .. } = &config.metadata;
    verify_name("metadata.name", name)?;
    verify_name("metadata.uid", uid)?;
    verify_name("metadata.namespace", namespace)?;
    hostname(config)?;
    namespaces(config)?;
    dns(config)?;
    if let Some(directory) = &mut config.log_directory {
        *directory = path::clean("log_directory", directory)?;
    }
    if let Some(parent) = &mut config.cgroup_parent {
        let absolute = format!("/{}", parent.trim_start_matches('/'));
        if absolute.split('/').any(|part| part == "..") {
            return Err(Invalid::value("cgroup_parent", parent, "it must not have '..'"));
        }
        *parent = path::mount_target("cgroup_parent", &absolute)?;
    }
    let own_ipc = config.namespaces.ipc != Scope::Node;
    let own_network = config.namespaces.network != Scope::Node;
    for (key, value) in &config.sysctls {
        sysctl_of(key, value, own_ipc, own_network)?;
    }
    Ok(())
}

fn hostname(config: &SandboxConfig) -> Result<(), Invalid> {
    let Some(name) = &config.hostname else { return Ok(()) };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.is_empty() || name.len() > HOSTNAME_LIMIT || !name.bytes().all(fits) {
        let why = "it must be 1 to 64 letters, digits, '.', '-' or '_'";
        return Err(Invalid::value("hostname", name, why));
    }
    Ok(())
}

fn namespaces(config: &SandboxConfig) -> Result<(), Invalid> {
    let modes = &config.namespaces;
    for (field, scope) in [("network", &modes.network), ("ipc", &modes.ipc)] {
        if !matches!(scope, Scope::Pod | Scope::Node) {
            return Err(Invalid::value(field, format!("{scope:?}"), "only POD and NODE"));
        }
    }
    if let Scope::Target(_) = modes.pid {
        return Err(Invalid::value("pid", "TARGET", "a sandbox has no target"));
    }
    if let Some(user) = &modes.user {
        user.verify()?;
        if modes.pid == Scope::Node || modes.ipc == Scope::Node {
            return Err(Invalid::Conflict("userns_options POD", "pid or ipc NODE"));
        }
        if config.privileged {
            return Err(Invalid::Conflict("userns_options POD", "privileged"));
        }
    }
    Ok(())
}

/// What becomes a line of `/etc/resolv.conf` must be one word.
fn dns(config: &SandboxConfig) -> Result<(), Invalid> {
    let Some(dns) = &config.dns else { return Ok(()) };
    let lists = [("servers", &dns.servers), ("searches", &dns.searches), ("options", &dns.options)];
    for (field, words) in lists {
        let odd = |word: &&String| {
            word.is_empty() || word.chars().any(|c| c.is_control() || c.is_whitespace())
        };
        if let Some(word) = words.iter().find(odd) {
            let why = format!("each of the {field} must be one word");
            return Err(Invalid::value("dns_config", word, why));
        }
    }
    Ok(())
}

impl UserNamespace {
    /// Checks that it is one mapping of id 0, the same for users and groups.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn verify(&self) -> Result<(), Invalid> {
        let error = |why: &str| Err(Invalid::value("userns_options", "mapping", why));
        let ([mapping], [groups]) = (self.uids.as_slice(), self.gids.as_slice()) else {
            return error("there must be exactly one mapping of users, and one of groups");
        };
        if mapping != groups {
            return error("the mappings of users and groups must be equal");
        }
        if mapping.container != 0 || mapping.length == 0 {
            return error("the mapping must begin with id 0 of the container");
        }
        if mapping.host.checked_add(mapping.length).is_none() {
            return error("the mapping goes beyond the last id");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{SandboxConfig, Scope, verify};
    use crate::sandbox::{Dns, IdMapping, UserNamespace};

    fn config() -> SandboxConfig {
        let mut config = SandboxConfig::default();
        config.metadata.name = "web".to_owned();
        config
    }

    #[test]
    fn paths_are_cleaned() {
        let mut one = SandboxConfig {
            log_directory: Some("/var/log/./pods//x/".to_owned()),
            cgroup_parent: Some("kubepods/pod1".to_owned()),
            ..config()
        };
        verify(&mut one).unwrap();
        assert_eq!(one.log_directory.as_deref(), Some("/var/log/pods/x"));
        assert_eq!(one.cgroup_parent.as_deref(), Some("/kubepods/pod1"));
    }

    type Change = fn(&mut SandboxConfig);

    #[test]
    fn what_is_wrong_is_named() {
        let mapping = IdMapping { host: 1000, container: 0, length: 10 };
        let user = UserNamespace { uids: vec![mapping], gids: vec![mapping] };
        let cases: [(&str, Change); 9] = [
            ("metadata.name", |c| c.metadata.name.clear()),
            ("hostname", |c| c.hostname = Some("a b".to_owned())),
            ("log_directory", |c| c.log_directory = Some("logs".to_owned())),
            ("cgroup_parent", |c| c.cgroup_parent = Some("/a/../../b".to_owned())),
            ("network", |c| c.namespaces.network = Scope::Container),
            ("pid", |c| c.namespaces.pid = Scope::Target("x".to_owned())),
            ("dns_config", |c| {
                let servers = vec!["1.1.1.1\nsearch evil".to_owned()];
                c.dns = Some(Dns { servers, ..Dns::default() });
            }),
            ("sysctl", |c| {
                c.sysctls.insert("kernel.core_pattern".to_owned(), "|/x".to_owned());
            }),
            ("sysctl", |c| {
                c.namespaces.network = Scope::Node;
                c.sysctls.insert("net.ipv4.ip_forward".to_owned(), "1".to_owned());
            }),
        ];
        for (word, change) in cases {
            let mut one = config();
            change(&mut one);
            let error = verify(&mut one).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let mut one = config();
        one.namespaces.user = Some(user.clone());
        verify(&mut one).unwrap();
        one.privileged = true;
        verify(&mut one).unwrap_err();
        for bad in [
            UserNamespace { uids: vec![], gids: vec![] },
            UserNamespace { gids: vec![IdMapping { host: 1, ..mapping }], ..user.clone() },
            UserNamespace {
                uids: vec![IdMapping { container: 1, ..mapping }],
                gids: vec![IdMapping { container: 1, ..mapping }],
            },
        ] {
            bad.verify().unwrap_err();
        }
    }
}
