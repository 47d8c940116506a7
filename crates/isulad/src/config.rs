//! The configuration of the daemon: `daemon.json` and the flags, read once into typed values.
//!
//! A key that nobody knows, a value of the wrong type, a key given twice and a function that does
//! not exist yet are errors that name file, line and key. Keys of former versions that change
//! nothing here are passed over with a warning.

mod cgroup;
mod cri;
mod file;
mod keys;
mod parse;
mod resolve;
mod values;

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf, time::Duration};

use isula_core::{
    cgroup::CgroupDriver,
    container::{LogConfig, Ulimit},
};
use tracing::level_filters::LevelFilter;

pub use keys::ProxyEntry;
pub use parse::log_options;

/// Where the file is when no flag says so. A missing one is no error then.
pub const DEFAULT_FILE: &str = "/etc/isulad/daemon.json";

/// Everything the daemon is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Containers, images, volumes.
    pub data_root: PathBuf,
    /// What runs.
    pub state_dir: PathBuf,
    /// Paths of the unix sockets.
    pub sockets: Vec<PathBuf>,
    /// Where the pid goes.
    pub pidfile: Option<PathBuf>,
    /// Group of the sockets; `required` when somebody asked for it.
    pub group: Group,
    /// The daemon's own log.
    pub log: Log,
    /// Runtime of containers that ask for none.
    pub default_runtime: String,
    /// Runtimes beside the built-in one: path and arguments.
    pub runtimes: BTreeMap<String, (String, Vec<String>)>,
    /// Log of containers that ask for none.
    pub container_log: LogConfig,
    /// Limits of containers that ask for none.
    pub ulimits: Vec<Ulimit>,
    /// OCI hooks of every container.
    pub hooks: Option<serde_json::Value>,
    /// Umask of containers is 0027, not 0022.
    pub secure_umask: bool,
    /// How long a start may take.
    pub start_timeout: Duration,
    /// Cgroup of all containers; the path of a slice where systemd makes cgroups.
    pub cgroup_parent: String,
    /// Who makes cgroups.
    pub cgroup_driver: CgroupDriver,
    /// Mirrors of docker.io.
    pub mirrors: Vec<String>,
    /// Registries that need no TLS.
    pub insecure_registries: Vec<String>,
    /// Layers fetched at once.
    pub concurrent_downloads: usize,
    /// Networks of pods and containers.
    pub network: Network,
    /// The Container Runtime Interface.
    pub cri: Cri,
    /// How often a request to a registry is tried; the client's own number when absent.
    pub download_attempts: Option<u32>,
    /// Proxies that come before those of the environment.
    pub proxies: ProxyEntry,
    /// The most bytes that a layer may unpack to.
    pub layer_limit: Option<u64>,
    /// Where specifications of CDI devices are, the last directory wins; nowhere when it is off.
    pub cdi_spec_dirs: Option<Vec<PathBuf>>,
    /// The shim.
    pub shim: PathBuf,
    /// What was passed over.
    pub warnings: Vec<String>,
}

/// CNI networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Where conflists are.
    pub conf_dir: PathBuf,
    /// Where plugins are looked for, in order.
    pub bin_dirs: Vec<PathBuf>,
    /// The network `bridge`; absent where it is turned off.
    pub bridge: Option<Bridge>,
    /// The built-in plugins are used where a conflist names them.
    pub native: bool,
    /// How long an attachment may take.
    pub timeout: Duration,
}

/// The network `bridge`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// The name of its device.
    pub device: String,
    /// The host's address in it.
    pub gateway: Ipv4Addr,
    /// Bits of its prefix.
    pub prefix: u8,
}

/// The Container Runtime Interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cri {
    /// Names of runtime handlers to the runtimes they mean.
    pub runtimes: BTreeMap<String, String>,
    /// Images that kubelet must not remove: whole references, or beginnings with `*`.
    pub pinned_images: Vec<String>,
    /// Whether events are told.
    pub pod_events: bool,
    /// Port of exec, attach and port-forward on loopback; 0 is any free one.
    pub streaming_port: u16,
    /// With which certificate they are served; without one when absent.
    pub streaming_tls: Option<Certificate>,
}

/// Files of a certificate, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, the server's own first.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The group of the sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// It is an error when it does not exist.
    pub required: bool,
}

/// The daemon's own log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How much.
    pub level: LevelFilter,
    /// Where.
    pub sink: Sink,
}

/// Where the daemon's own log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// Standard error (the driver `stdout`: what systemd collects).
    Stderr,
    /// A file, rotated.
    File {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Bytes at which it is rotated; 0 never.
        max_size: u64,
        /// Files kept, the current one among them.
        max_files: u32,
    },
}

/// Why the daemon can't be configured so.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no configuration. The text names the key.
    #[error("{}:{line}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A value that means nothing or can't be had, from the file or a flag.
    #[error("{origin}: {message}")]
    Value {
        /// `--flag` or `FILE: key`.
        origin: String,
        /// What is wrong with it.
        message: String,
    },
}

#[cfg(test)]
mod tests;
