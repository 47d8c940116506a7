//! What the engine is given: the ports and the typed section of the daemon's configuration.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use isula_core::{
    cgroup::CgroupDriver,
    container::{LogConfig, Ulimit},
    ports::{
        CdiDevices, Checkpoints, Clock, Entropy, Host, Images, Networks, Pods, Records, Runtime,
        SandboxRecords, Snapshots, Volumes,
    },
    signal::Signal,
    spec::Defaults,
};

use crate::Result;

/// The world, as the engine sees it.
#[derive(Clone)]
#[expect(missing_docs, reason = "each field is named for its port")]
pub struct Ports {
    pub records: Arc<dyn Records>,
    pub snapshots: Arc<dyn Snapshots>,
    pub images: Arc<dyn Images>,
    pub volumes: Arc<dyn Volumes>,
    pub runtime: Arc<dyn Runtime>,
    pub networks: Arc<dyn Networks>,
    pub pods: Arc<dyn Pods>,
    pub sandboxes: Arc<dyn SandboxRecords>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub host: Arc<dyn Host>,
    pub cdi: Arc<dyn CdiDevices>,
    pub checkpoints: Arc<dyn Checkpoints>,
}

/// The part of the daemon's configuration that the engine obeys.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// OCI runtime of containers that ask for none.
    pub default_runtime: String,
    /// Runtime handlers that are not called as the runtime they mean.
    pub runtime_handlers: BTreeMap<String, String>,
    /// For the edges: the log of containers whose request names none.
    pub default_log: LogConfig,
    /// Resource limits that every container gets unless it sets its own of the same name.
    pub default_ulimits: Vec<Ulimit>,
    /// Cgroup below which containers are made that ask for none, absolute.
    pub cgroup_parent: String,
    /// Who makes cgroups. With systemd the parent is the path of a slice.
    pub cgroup_driver: CgroupDriver,
    /// OCI hooks of every container, the JSON object of the runtime-spec.
    pub hooks: Option<serde_json::Value>,
    /// The umask of init processes (`native.umask`).
    pub umask: Umask,
    /// How long `stop` waits where neither request nor container says.
    pub stop_timeout: Duration,
    /// How long a start may take.
    pub start_timeout: Duration,
    /// How long a network may take to attach or detach a sandbox: what its plugins may take, who
    /// have a limit of their own, and taking back what they could not do.
    pub network_timeout: Duration,
    /// How long any other call of a port may take that works on this machine alone.
    pub port_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_runtime: "lcr".to_owned(),
            runtime_handlers: BTreeMap::new(),
            default_log: LogConfig::default(),
            default_ulimits: Vec::new(),
            cgroup_parent: "/isulad".to_owned(),
            cgroup_driver: CgroupDriver::Cgroupfs,
            hooks: None,
            umask: Umask::Normal,
            stop_timeout: Duration::from_secs(10),
            start_timeout: Duration::from_mins(2),
            network_timeout: Duration::from_mins(5),
            port_timeout: Duration::from_mins(1),
        }
    }
}

impl Settings {
    /// Checks what a configuration file can say wrongly.
    ///
    /// # Errors
    /// Names the resource limit or the hook that is wrong.
    pub fn verify(&self) -> Result<()> {
        Ok(self.defaults().verify()?)
    }

    /// The part that goes into every spec.
    pub(crate) fn defaults(&self) -> Defaults {
        Defaults {
            ulimits: self.default_ulimits.clone(),
            cgroup_parent: self.cgroup_parent.clone(),
            cgroup_driver: self.cgroup_driver,
            hooks: self.hooks.clone(),
            umask: match self.umask {
                Umask::Secure => 0o027,
                Umask::Normal => 0o022,
            },
        }
    }
}

/// The umask of init processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Umask {
    /// 0027.
    Secure,
    /// 0022.
    Normal,
}

/// How to stop a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StopOptions {
    /// How long to wait before SIGKILL; absent: what the container says, or the settings.
    pub patience: Option<Patience>,
    /// What to send first; absent: what the container says, or SIGTERM.
    pub signal: Option<Signal>,
}

/// How long to wait for something to end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// So long.
    For(Duration),
    /// As long as it takes.
    Forever,
}

#[cfg(test)]
mod tests {
    use super::{Settings, Ulimit};

    #[test]
    fn wrong_limits_and_hooks_of_the_daemon_are_named() {
        assert!(Settings::default().verify().is_ok());
        let ulimit = |name: &str, soft| Ulimit { name: name.to_owned(), soft, hard: 1 };
        for (settings, word) in [
            (Settings { default_ulimits: vec![ulimit("nope", 1)], ..Settings::default() }, "nope"),
            (Settings { default_ulimits: vec![ulimit("core", 2)], ..Settings::default() }, "core"),
            (
                Settings {
                    hooks: Some(serde_json::json!({"afterlife": []})),
                    ..Settings::default()
                },
                "afterlife",
            ),
        ] {
            let message = settings.verify().unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
    }
}
