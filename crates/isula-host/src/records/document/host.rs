//! `hostconfig.json`: how a container is tied to the host, where it differs from the defaults.

use std::{collections::BTreeMap, marker::PhantomData, ops::Not};

use isula_core::container::{
    CgroupMode, DeviceMapping, HostConfig, LogConfig, LogDriver, Mount, MountKind, NamespaceMode,
    NetworkMode, Propagation, Resources, RestartPolicy, Tmpfs, Ulimit,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use super::{
    network,
    text::{self, Ordered, Text},
};

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// [`HostConfig`] under Docker's names.
#[derive(Default, Serialize, Deserialize)]
#[serde(remote = "HostConfig", rename_all = "PascalCase", default)]
pub(super) struct HostFile {
    runtime: String,
    #[serde(skip_serializing_if = "Not::not")]
    auto_remove: bool,
    #[serde(rename = "RestartPolicy", with = "restart", skip_serializing_if = "is_default")]
    restart: RestartPolicy,
    #[serde(flatten, with = "network")]
    network: NetworkMode,
    #[serde(rename = "UTSMode", with = "text::as_text", skip_serializing_if = "is_default")]
    uts: NamespaceMode,
    #[serde(rename = "IpcMode", with = "text::as_text", skip_serializing_if = "is_default")]
    ipc: NamespaceMode,
    #[serde(rename = "PidMode", with = "text::as_text", skip_serializing_if = "is_default")]
    pid: NamespaceMode,
    #[serde(rename = "CgroupnsMode", with = "text::as_text", skip_serializing_if = "is_default")]
    cgroupns: Option<CgroupMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup_parent: Option<String>,
    #[serde(with = "mounts", skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<Mount>,
    #[serde(with = "tmpfs", skip_serializing_if = "Vec::is_empty")]
    tmpfs: Vec<Tmpfs>,
    #[serde(skip_serializing_if = "Not::not")]
    readonly_rootfs: bool,
    #[serde(rename = "StorageOpt", skip_serializing_if = "BTreeMap::is_empty")]
    storage_options: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shm_size: Option<u64>,
    #[serde(skip_serializing_if = "Not::not")]
    privileged: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cap_add: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cap_drop: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cap_ambient: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    security_opt: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    group_add: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sysctls: BTreeMap<String, String>,
    #[serde(flatten, with = "ResourcesFile")]
    resources: Resources,
    #[serde(with = "ulimits", skip_serializing_if = "Vec::is_empty")]
    ulimits: Vec<Ulimit>,
    #[serde(with = "devices", skip_serializing_if = "Vec::is_empty")]
    devices: Vec<DeviceMapping>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cdi_devices: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    device_cgroup_rules: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extra_hosts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dns: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dns_search: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dns_options: Vec<String>,
    #[serde(skip_serializing_if = "Not::not")]
    init: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    oom_score_adj: Option<i32>,
    /// Always written: the daemon's default may be another one tomorrow.
    #[serde(rename = "LogConfig", with = "log")]
    log: LogConfig,
    /// iSulad has the path of a file here; ours is what was in it.
    #[serde(rename = "HookSpec", skip_serializing_if = "Option::is_none")]
    hooks: Option<serde_json::Value>,
}

/// [`Resources`] under Docker's names, which has them beside the others.
#[derive(Default, Serialize, Deserialize)]
#[serde(remote = "Resources", rename_all = "PascalCase", default)]
struct ResourcesFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_reservation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_swap: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_swappiness: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nano_cpus: Option<u64>,
    #[serde(rename = "CPUShares", skip_serializing_if = "Option::is_none")]
    cpu_shares: Option<u64>,
    #[serde(rename = "CPUPeriod", skip_serializing_if = "Option::is_none")]
    cpu_period: Option<u64>,
    #[serde(rename = "CPUQuota", skip_serializing_if = "Option::is_none")]
    cpu_quota: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpuset_cpus: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpuset_mems: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pids_limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blkio_weight: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oom_kill_disable: Option<bool>,
    #[serde(
        rename = "Hugetlbs",
        with = "text::hugetlb",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    hugetlb: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    unified: BTreeMap<String, String>,
}

/// Docker's `RestartPolicy`.
mod restart {
    use super::{Deserialize, Deserializer, RestartPolicy, Serialize, Serializer, de};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Policy {
        name: String,
        #[serde(default)]
        maximum_retry_count: u32,
    }

    pub(super) fn serialize<S: Serializer>(
        value: &RestartPolicy,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let (name, maximum_retry_count) = match value {
            RestartPolicy::No => ("no", 0),
            RestartPolicy::Always => ("always", 0),
            RestartPolicy::UnlessStopped => ("unless-stopped", 0),
            RestartPolicy::OnFailure(count) => ("on-failure", *count),
        };
        Policy { name: name.to_owned(), maximum_retry_count }.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<RestartPolicy, D::Error> {
        let policy = Policy::deserialize(from)?;
        match policy.name.as_str() {
            "" | "no" => Ok(RestartPolicy::No),
            "always" => Ok(RestartPolicy::Always),
            "unless-stopped" => Ok(RestartPolicy::UnlessStopped),
            "on-failure" => Ok(RestartPolicy::OnFailure(policy.maximum_retry_count)),
            other => Err(de::Error::custom(format!("no restart policy is called {other:?}"))),
        }
    }
}

/// Docker's `Mounts`.
mod mounts {
    use super::{
        Deserialize, Deserializer, Mount, MountKind, Not, Propagation, Serialize, Serializer, de,
        is_default, text,
    };

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry {
        r#type: String,
        source: String,
        target: String,
        #[serde(default, skip_serializing_if = "Not::not")]
        read_only: bool,
        #[serde(default, skip_serializing_if = "is_default")]
        bind_options: BindOptions,
        #[serde(default, skip_serializing_if = "is_default")]
        volume_options: VolumeOptions,
        /// Ours: `rm -v` and `--rm` remove the volume.
        #[serde(default, skip_serializing_if = "Not::not")]
        anonymous: bool,
    }

    #[derive(Default, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct BindOptions {
        #[serde(with = "text::as_text")]
        propagation: Propagation,
        #[serde(skip_serializing_if = "Not::not")]
        non_recursive: bool,
        #[serde(skip_serializing_if = "Not::not")]
        create_mountpoint: bool,
    }

    #[derive(Default, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct VolumeOptions {
        no_copy: bool,
    }

    impl From<&Mount> for Entry {
        fn from(mount: &Mount) -> Self {
            let (kind, source, create_mountpoint, anonymous) = match &mount.kind {
                MountKind::Bind { source, create } => ("bind", source, *create, false),
                MountKind::Volume { name, anonymous } => ("volume", name, false, *anonymous),
            };
            Self {
                r#type: kind.to_owned(),
                source: source.clone(),
                target: mount.target.clone(),
                read_only: mount.readonly,
                bind_options: BindOptions {
                    propagation: mount.propagation,
                    non_recursive: !mount.recursive,
                    create_mountpoint,
                },
                volume_options: VolumeOptions { no_copy: mount.no_copy },
                anonymous,
            }
        }
    }

    pub(super) fn serialize<S: Serializer>(list: &[Mount], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(list.iter().map(Entry::from))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Mount>, D::Error> {
        let mut list = Vec::new();
        for entry in Vec::<Entry>::deserialize(from)? {
            let kind = match entry.r#type.as_str() {
                "bind" => MountKind::Bind {
                    source: entry.source,
                    create: entry.bind_options.create_mountpoint,
                },
                "volume" => MountKind::Volume { name: entry.source, anonymous: entry.anonymous },
                other => return Err(de::Error::custom(format!("no mount is of type {other:?}"))),
            };
            list.push(Mount {
                kind,
                target: entry.target,
                readonly: entry.read_only,
                recursive: !entry.bind_options.non_recursive,
                propagation: entry.bind_options.propagation,
                no_copy: entry.volume_options.no_copy,
            });
        }
        Ok(list)
    }
}

/// Docker's `Tmpfs`: a map from target to options, in order.
mod tmpfs {
    use super::{Deserializer, Ordered, PhantomData, SerializeMap, Serializer, Tmpfs};

    pub(super) fn serialize<S: Serializer>(list: &[Tmpfs], to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(list.len()))?;
        for tmpfs in list {
            map.serialize_entry(&tmpfs.target, &tmpfs.options)?;
        }
        map.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Tmpfs>, D::Error> {
        let pairs = from.deserialize_map(Ordered::<String>(PhantomData))?;
        Ok(pairs.into_iter().map(|(target, options)| Tmpfs { target, options }).collect())
    }
}

/// Docker's `Ulimits`.
mod ulimits {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Ulimit, text};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry {
        name: String,
        #[serde(with = "text::limit")]
        hard: u64,
        #[serde(with = "text::limit")]
        soft: u64,
    }

    pub(super) fn serialize<S: Serializer>(list: &[Ulimit], to: S) -> Result<S::Ok, S::Error> {
        let entry =
            |limit: &Ulimit| Entry { name: limit.name.clone(), hard: limit.hard, soft: limit.soft };
        to.collect_seq(list.iter().map(entry))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Ulimit>, D::Error> {
        let limit = |Entry { name, hard, soft }| Ulimit { name, soft, hard };
        Ok(Vec::<Entry>::deserialize(from)?.into_iter().map(limit).collect())
    }
}

/// Docker's `Devices`.
mod devices {
    use super::{Deserialize, Deserializer, DeviceMapping, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry {
        path_on_host: String,
        path_in_container: String,
        cgroup_permissions: String,
    }

    pub(super) fn serialize<S: Serializer>(
        list: &[DeviceMapping],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let entry = |device: &DeviceMapping| Entry {
            path_on_host: device.host.clone(),
            path_in_container: device.container.clone(),
            cgroup_permissions: device.permissions.clone(),
        };
        to.collect_seq(list.iter().map(entry))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<DeviceMapping>, D::Error> {
        let device = |entry: Entry| DeviceMapping {
            host: entry.path_on_host,
            container: entry.path_in_container,
            permissions: entry.cgroup_permissions,
        };
        Ok(Vec::<Entry>::deserialize(from)?.into_iter().map(device).collect())
    }
}

/// Docker's `LogConfig`, whose options are texts.
mod log {
    use super::{
        Deserialize, Deserializer, LogConfig, LogDriver, Serialize, Serializer, Text, de, text,
    };

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry {
        #[serde(with = "text::as_text")]
        r#type: LogDriver,
        config: Options,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Options {
        max_file: String,
        /// Bytes; 0: never rotated.
        max_size: String,
    }

    pub(super) fn serialize<S: Serializer>(log: &LogConfig, to: S) -> Result<S::Ok, S::Error> {
        let config =
            Options { max_file: log.max_files.to_string(), max_size: log.max_size.to_string() };
        Entry { r#type: log.driver, config }.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<LogConfig, D::Error> {
        let Entry { r#type, config } = Entry::deserialize(from)?;
        let wrong = |key: &str| {
            de::Error::custom(format!("{key} of the {} log must be a number", r#type.text()))
        };
        Ok(LogConfig {
            driver: r#type,
            max_size: config.max_size.parse().map_err(|_| wrong("max-size"))?,
            max_files: config.max_file.parse().map_err(|_| wrong("max-file"))?,
        })
    }
}
