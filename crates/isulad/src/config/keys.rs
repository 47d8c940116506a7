//! Every key that a `daemon.json` may have, and what becomes of it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A runtime of `runtimes`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeEntry {
    /// Its program.
    pub path: String,
    /// Arguments before its command.
    #[serde(default, alias = "runtimeArgs", rename = "runtime-args")]
    pub args: Vec<String>,
}

/// One text or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
pub enum OneOrMore {
    /// One, in which colons part several.
    One(String),
    /// Several.
    More(Vec<String>),
}

/// `container-log`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContainerLog {
    /// `json-file` or `none`.
    pub driver: Option<String>,
    /// `max-size`, `max-file`.
    pub opts: BTreeMap<String, String>,
}

/// `proxies`, as Docker names them; they come before the environment's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ProxyEntry {
    /// For registries without TLS.
    pub http_proxy: Option<String>,
    /// For registries with TLS.
    pub https_proxy: Option<String>,
    /// What is reached directly.
    pub no_proxy: Option<String>,
}

/// A limit of `default-ulimits`, as Docker writes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct UlimitEntry {
    /// The same as its key.
    pub name: Option<String>,
    /// -1 is unlimited.
    pub hard: i64,
    /// -1 is unlimited.
    pub soft: i64,
}

/// `websocket-server-tls-config`, in the form of iSulad's `tls-config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
pub struct StreamingTls {
    /// The certificate's chain, PEM.
    pub cert_file: String,
    /// Its private key, PEM.
    pub key_file: String,
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It has no meaning here and changes nothing: a warning.
    PassedOver,
    /// Its function does not exist yet: an error, unless the value says that it is not wanted.
    NotYet,
}

/// The keys that are read but not honoured.
pub const OTHERS: &[(&str, Fate)] = &[
    // iSulad's own.
    ("engine", Fate::PassedOver),
    ("pod-sandbox-image", Fate::PassedOver),
    ("use-decrypted-key", Fate::PassedOver),
    ("enable-cri-v1", Fate::PassedOver),
    ("default-host", Fate::PassedOver),
    ("registry-transformation", Fate::PassedOver),
    ("plugin-config-path", Fate::PassedOver),
    ("plugin-path", Fate::PassedOver),
    ("nri-socket-path", Fate::PassedOver),
    ("plugin-registration-timeout", Fate::PassedOver),
    ("plugin-requst-timeout", Fate::PassedOver),
    ("disable-connections", Fate::PassedOver),
    ("storage-enable-remote-layer", Fate::NotYet),
    ("image-layer-check", Fate::NotYet),
    ("insecure-skip-verify-enforce", Fate::NotYet),
    ("cri-sandboxers", Fate::NotYet),
    ("cpu-rt-period", Fate::NotYet),
    ("cpu-rt-runtime", Fate::NotYet),
    ("tls", Fate::NotYet),
    ("tls-verify", Fate::NotYet),
    ("tls-config", Fate::NotYet),
    ("authorization-plugin", Fate::NotYet),
    ("selinux-enabled", Fate::NotYet),
    ("userns-remap", Fate::NotYet),
    ("sup-groups", Fate::NotYet),
    ("enable-plugins", Fate::NotYet),
    ("metrics-port", Fate::NotYet),
    ("nri-support", Fate::NotYet),
    // Docker's.
    ("live-restore", Fate::PassedOver),
    ("features", Fate::PassedOver),
    ("experimental", Fate::PassedOver),
    ("containerd", Fate::PassedOver),
    ("containerd-namespace", Fate::PassedOver),
    ("containerd-plugins-namespace", Fate::PassedOver),
    ("builder", Fate::PassedOver),
    ("swarm-default-advertise-addr", Fate::PassedOver),
    ("node-generic-resources", Fate::PassedOver),
    ("max-concurrent-uploads", Fate::PassedOver),
    ("shutdown-timeout", Fate::PassedOver),
    ("labels", Fate::NotYet),
    ("dns", Fate::NotYet),
    ("dns-opts", Fate::NotYet),
    ("dns-search", Fate::NotYet),
    ("mtu", Fate::NotYet),
    ("default-address-pools", Fate::NotYet),
    ("ipv6", Fate::NotYet),
    ("fixed-cidr", Fate::NotYet),
    ("fixed-cidr-v6", Fate::NotYet),
    ("icc", Fate::NotYet),
    ("iptables", Fate::NotYet),
    ("ip6tables", Fate::NotYet),
    ("ip-forward", Fate::NotYet),
    ("ip-masq", Fate::NotYet),
    ("userland-proxy", Fate::NotYet),
    ("firewall-backend", Fate::NotYet),
    ("host-gateway-ips", Fate::NotYet),
    ("no-new-privileges", Fate::NotYet),
    ("default-shm-size", Fate::NotYet),
    ("default-ipc-mode", Fate::NotYet),
    ("default-cgroupns-mode", Fate::NotYet),
    ("init", Fate::NotYet),
    ("seccomp-profile", Fate::NotYet),
    ("min-api-version", Fate::NotYet),
    ("log-format", Fate::NotYet),
    ("metrics-addr", Fate::NotYet),
    ("tlsverify", Fate::NotYet),
    ("tlscacert", Fate::NotYet),
    ("tlscert", Fate::NotYet),
    ("tlskey", Fate::NotYet),
    ("authorization-plugins", Fate::NotYet),
];

/// Declares the keys that are honoured: key, field, type.
macro_rules! keys {
    ($($key:literal => $field:ident: $type:ty,)*) => {
        /// What a `daemon.json` says.
        #[derive(Debug, Default, PartialEq)]
        pub struct File {
            $(pub $field: Option<$type>,)*
            /// Keys that were passed over.
            pub passed_over: Vec<String>,
            /// Keys whose function does not exist yet, though it is wanted.
            pub not_yet: Vec<String>,
        }

        /// The keys that are honoured.
        #[cfg(test)]
        pub const HONOURED: &[&str] = &[$($key),*];

        impl File {
            /// Takes the value of a key; the error of the value names the key.
            pub(super) fn take<'de, A: serde::de::MapAccess<'de>>(
                &mut self,
                key: &str,
                map: &mut A,
            ) -> Result<(), A::Error> {
                let named = |error: A::Error| {
                    serde::de::Error::custom(format_args!("{key}: {error}"))
                };
                match key {
                    $($key => self.$field = Some(map.next_value().map_err(named)?),)*
                    other => {
                        let fate = OTHERS.iter().find(|(known, _)| *known == other);
                        let Some((_, fate)) = fate else {
                            let unknown = format_args!("unknown key {other:?}");
                            return Err(serde::de::Error::custom(unknown));
                        };
                        let value = map.next_value().map_err(named)?;
                        self.take_other(other, &value, *fate);
                    }
                }
                Ok(())
            }
        }
    };
}

keys! {
    "group" => group: String,
    "default-runtime" => default_runtime: String,
    "graph" => graph: String,
    "data-root" => data_root: String,
    "state" => state: String,
    "exec-root" => exec_root: String,
    "hosts" => hosts: Vec<String>,
    "pidfile" => pidfile: String,
    "log-level" => log_level: String,
    "debug" => debug: bool,
    "log-driver" => log_driver: String,
    "log-opts" => log_opts: BTreeMap<String, String>,
    "container-log" => container_log: ContainerLog,
    "hook-spec" => hook_spec: String,
    "start-timeout" => start_timeout: String,
    "storage-driver" => storage_driver: String,
    "storage-opts" => storage_opts: Vec<String>,
    "registry-mirrors" => registry_mirrors: Vec<String>,
    "insecure-registries" => insecure_registries: Vec<String>,
    "max-concurrent-downloads" => max_concurrent_downloads: u32,
    "max-download-attempts" => max_download_attempts: u32,
    "proxies" => proxies: ProxyEntry,
    "native.umask" => native_umask: String,
    "runtimes" => runtimes: BTreeMap<String, RuntimeEntry>,
    "cgroup-parent" => cgroup_parent: String,
    "systemd-cgroup" => systemd_cgroup: bool,
    "exec-opts" => exec_opts: Vec<String>,
    "network-plugin" => network_plugin: String,
    "bridge" => bridge: String,
    "bip" => bip: String,
    "cni-bin-dir" => cni_bin_dir: OneOrMore,
    "cni-conf-dir" => cni_conf_dir: String,
    "native-cni" => native_cni: bool,
    "cni-timeout" => cni_timeout: String,
    "default-ulimits" => default_ulimits: BTreeMap<String, UlimitEntry>,
    "enable-pod-events" => enable_pod_events: bool,
    "cri-runtimes" => cri_runtimes: BTreeMap<String, String>,
    "enable-cdi" => enable_cdi: bool,
    "cdi-spec-dirs" => cdi_spec_dirs: Vec<String>,
    "pinned-images" => pinned_images: Vec<String>,
    "websocket-server-listening-port" => streaming_port: u16,
    "websocket-server-tls-config" => streaming_tls: StreamingTls,
}

impl File {
    fn take_other(&mut self, key: &str, value: &serde_json::Value, fate: Fate) {
        match fate {
            Fate::PassedOver => self.passed_over.push(key.to_owned()),
            Fate::NotYet if is_unwanted(value) => {}
            Fate::NotYet => self.not_yet.push(key.to_owned()),
        }
    }
}

/// The value says that the function is not wanted.
fn is_unwanted(value: &serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::Null => true,
        Value::Bool(wanted) => !wanted,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        // `"tls-config": {"CAFile": ""}` of the shipped file.
        Value::Object(map) => map.values().all(is_unwanted),
    }
}
