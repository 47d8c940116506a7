//! What runs in a container: the user's wish merged with the image's defaults.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{health::Healthcheck, signal::Signal};

/// What runs in a container, after the image's configuration was merged in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Host name; the first 12 digits of the id when none was given, the host's own with `--uts
    /// host` or `--network host`.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// `user[:group]`, names or numbers; empty means root.
    pub user: String,
    /// The init process gets a terminal.
    pub tty: bool,
    /// Standard input stays open.
    pub open_stdin: bool,
    /// Standard input closes when the first attached client leaves.
    pub stdin_once: bool,
    /// `NAME=value`, in order, no name twice.
    pub env: Vec<String>,
    /// The command and its arguments, without the entrypoint.
    pub cmd: Vec<String>,
    /// What runs `cmd`.
    pub entrypoint: Vec<String>,
    /// Working directory; empty means `/`.
    pub working_dir: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// OCI annotations.
    pub annotations: BTreeMap<String, String>,
    /// Ports the image says it listens on, `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Mount points that the image declares as volumes.
    pub volumes: Vec<String>,
    /// What `stop` sends first; SIGTERM when absent.
    pub stop_signal: Option<Signal>,
    /// How long `stop` waits before SIGKILL; 10 s when absent.
    pub stop_timeout: Option<Duration>,
    /// How the health of the container is found out.
    pub healthcheck: Option<Healthcheck>,
}

impl Config {
    /// Entrypoint and command: the argument vector of the init process.
    #[must_use]
    pub fn args(&self) -> Vec<String> {
        self.entrypoint.iter().chain(&self.cmd).cloned().collect()
    }
}

/// A further process in a running container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecConfig {
    /// The argument vector; never empty.
    pub args: Vec<String>,
    /// Added to the container's environment, `NAME=value`.
    pub env: Vec<String>,
    /// `user[:group]`; the container's when absent.
    pub user: Option<String>,
    /// Working directory; the container's when absent.
    pub working_dir: Option<String>,
    /// With a terminal.
    pub tty: bool,
    /// With standard input.
    pub stdin: bool,
    /// With all capabilities.
    pub privileged: bool,
}
