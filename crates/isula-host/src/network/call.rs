//! One call of a plugin: the command, whom it is about, and the configuration that it is given.

use std::path::PathBuf;

use isula_core::ports::{Capabilities, NetworkRequest};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{conflist::Plugin, error::NetworkError, reaper::Reaper, version::Version};

/// What a plugin is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Add,
    Del,
    Check,
    Status,
    Collect,
    Version,
}

impl Command {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Status => "STATUS",
            Self::Collect => "GC",
            Self::Version => "VERSION",
        }
    }
}

/// A call.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub command: Command,
    pub network: String,
    pub version: Version,
    pub id: String,
    /// The pinned namespace; `None` when it is gone.
    pub namespace: Option<PathBuf>,
    pub interface: String,
    pub args: Vec<(String, String)>,
    pub deadline: Instant,
    /// Takes what a built-in plugin leaves to be removed.
    pub reaper: Reaper,
}

impl Call {
    /// A call that asks for the versions.
    pub(super) fn about_version(version: Version, deadline: Instant) -> Self {
        Self::about_network(Command::Version, "", (version, deadline))
    }

    /// A call that is about no attachment.
    pub(super) fn about_network(
        command: Command,
        network: &str,
        (version, deadline): (Version, Instant),
    ) -> Self {
        Self {
            command,
            network: network.to_owned(),
            version,
            id: String::new(),
            namespace: None,
            interface: String::new(),
            args: Vec::new(),
            deadline,
            reaper: Reaper::default(),
        }
    }

    /// The environment of a plugin.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let args: Vec<String> = self.args.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let namespace = self.namespace.as_ref().map(|path| path.to_string_lossy().into_owned());
        vec![
            ("CNI_COMMAND", self.command.name().to_owned()),
            ("CNI_CONTAINERID", self.id.clone()),
            ("CNI_NETNS", namespace.unwrap_or_default()),
            ("CNI_IFNAME", self.interface.clone()),
            ("CNI_ARGS", args.join(";")),
        ]
    }

    /// The value of an argument.
    pub(super) fn arg(&self, name: &str) -> Option<&str> {
        let same = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.args.iter().find(same).map(|(_, value)| value.as_str())
    }
}

/// Refuses what would mean something else on its way to a plugin.
pub(super) fn verify(request: &NetworkRequest) -> Result<(), NetworkError> {
    let interface = &request.interface;
    let forbidden = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    let dots = [".", ".."].contains(&interface.as_str());
    if interface.is_empty() || interface.len() > 15 || dots || interface.contains(forbidden) {
        let message = format!("{interface:?} can't be the name of an interface");
        return Err(NetworkError::Invalid(message));
    }
    for (key, value) in &request.args {
        let bad = |text: &str| text.contains(|c: char| c == ';' || c.is_control());
        if key.is_empty() || key.contains('=') || bad(key) || bad(value) {
            let message = format!("{key:?}={value:?} can't be an argument of a network plugin");
            return Err(NetworkError::Invalid(message));
        }
    }
    Ok(())
}

/// The configuration that a plugin is given.
pub(super) fn configuration(
    plugin: &Plugin,
    call: &Call,
    capabilities: &Map<String, Value>,
    previous: Option<&Value>,
) -> Map<String, Value> {
    let mut conf = plugin.conf.clone();
    conf.insert("name".to_owned(), call.network.as_str().into());
    conf.insert("cniVersion".to_owned(), call.version.as_str().into());
    let wanted: Map<String, Value> = capabilities
        .iter()
        .filter(|(name, _)| plugin.wants(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if !wanted.is_empty() {
        conf.insert("runtimeConfig".to_owned(), Value::Object(wanted));
    }
    if let Some(previous) = previous {
        conf.insert("prevResult".to_owned(), previous.clone());
    }
    conf
}

/// The runtime's configuration by capability, in the form that CNI's conventions give it.
pub(super) fn capabilities(wanted: &Capabilities) -> Map<String, Value> {
    let mut all = Map::new();
    let mut put = |name: &str, is_set: bool, value: Value| {
        if is_set {
            all.insert(name.to_owned(), value);
        }
    };
    let ports: Vec<Value> = wanted
        .port_mappings
        .iter()
        .map(|mapping| {
            let mut value = json!({
                "hostPort": mapping.host_port,
                "containerPort": mapping.container_port,
                "protocol": mapping.protocol.name(),
            });
            if let (Some(ip), Some(object)) = (mapping.host_ip, value.as_object_mut()) {
                object.insert("hostIP".to_owned(), ip.to_string().into());
            }
            value
        })
        .collect();
    put("portMappings", !ports.is_empty(), Value::Array(ports));
    if let Some(limits) = wanted.bandwidth {
        put(
            "bandwidth",
            true,
            json!({
                "ingressRate": limits.ingress_rate,
                "ingressBurst": limits.ingress_burst,
                "egressRate": limits.egress_rate,
                "egressBurst": limits.egress_burst,
            }),
        );
    }
    let ranges = wanted.ip_ranges.iter().map(|subnet| json!([{ "subnet": subnet }])).collect();
    put("ipRanges", !wanted.ip_ranges.is_empty(), Value::Array(ranges));
    put("ips", !wanted.ips.is_empty(), json!(wanted.ips));
    put("mac", wanted.mac.is_some(), json!(wanted.mac));
    if let Some(dns) = &wanted.dns {
        put(
            "dns",
            true,
            json!({
                "servers": dns.nameservers,
                "searches": dns.search,
                "options": dns.options,
            }),
        );
    }
    put("aliases", !wanted.aliases.is_empty(), json!(wanted.aliases));
    put("cgroupPath", wanted.cgroup_path.is_some(), json!(wanted.cgroup_path));
    let annotations = &wanted.pod_annotations;
    let key = "io.kubernetes.cri.pod-annotations";
    put(key, !annotations.is_empty(), json!(annotations));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use isula_core::{
        id::ContainerId,
        ports::{PortMapping, Protocol},
    };
    use std::time::Duration;

    fn request(interface: &str, args: &[(&str, &str)]) -> NetworkRequest {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        NetworkRequest {
            id: ContainerId::from_random([1; 32]),
            namespace: None,
            network: None,
            interface: interface.to_owned(),
            args: args.iter().map(own).collect(),
            capabilities: Capabilities::default(),
        }
    }

    #[test]
    fn what_would_change_its_meaning_is_refused() {
        assert!(verify(&request("eth0", &[("K8S_POD_NAME", "a=b")])).is_ok());
        for interface in ["", ".", "..", "a/b", "a b", "a:b", "0123456789abcdef", "a\n"] {
            assert!(verify(&request(interface, &[])).is_err(), "{interface:?}");
        }
        for (key, value) in [("", "x"), ("a=b", "x"), ("a;b", "x"), ("a", "x;IP=1"), ("a", "\0")] {
            assert!(verify(&request("eth0", &[(key, value)])).is_err(), "{key:?}={value:?}");
        }
    }

    #[test]
    fn a_plugin_is_given_the_capabilities_it_asks_for_and_no_others() {
        let conf = json!({"type": "x", "capabilities": {"portMappings": true, "mac": false}});
        let plugin = Plugin::parse(conf).unwrap();
        let wanted = Capabilities {
            port_mappings: vec![PortMapping {
                host_port: 80,
                container_port: 8080,
                protocol: Protocol::Udp,
                host_ip: Some([127, 0, 0, 1].into()),
            }],
            mac: Some("00:00:00:00:00:01".to_owned()),
            ip_ranges: vec!["10.0.0.0/8".to_owned()],
            ..Capabilities::default()
        };
        let deadline = Instant::now() + Duration::from_secs(1);
        let call = Call::about_network(Command::Add, "n", (Version::V1_0_0, deadline));
        let all = capabilities(&wanted);
        assert_eq!(all["ipRanges"], json!([[{"subnet": "10.0.0.0/8"}]]));
        let conf = configuration(&plugin, &call, &all, Some(&json!({"dns": {}})));
        let port = json!({"hostPort": 80, "containerPort": 8080, "protocol": "udp",
            "hostIP": "127.0.0.1"});
        assert_eq!(conf["runtimeConfig"], json!({"portMappings": [port]}));
        assert_eq!(conf["name"], "n");
        assert_eq!(conf["prevResult"], json!({"dns": {}}));
    }
}
