//! What a user asks for when a container is created, before the image's defaults are merged in.

use std::{collections::BTreeMap, time::Duration};

use super::{Healthcheck, HostConfig};
use crate::signal::Signal;

/// A request to create a container.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewContainer {
    /// The name; the id is the name when absent.
    pub name: Option<String>,
    /// A reference or id of an image.
    pub image: Option<String>,
    /// A prepared root file system instead of an image.
    pub external_rootfs: Option<String>,
    /// What overrides the image's configuration.
    pub overrides: Overrides,
    /// How it is tied to the host. Namespaces of other containers are named in `joins`.
    pub host: HostConfig,
    /// Whose namespaces it joins.
    pub joins: Joins,
}

/// Names, ids or id prefixes of containers whose namespaces are joined; each overrides the mode in
/// [`HostConfig`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joins {
    /// `--network container:X`.
    pub network: Option<String>,
    /// `--ipc container:X`.
    pub ipc: Option<String>,
    /// `--pid container:X`.
    pub pid: Option<String>,
}

/// What a user sets; what is absent or empty comes from the image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Host name.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// `user[:group]`.
    pub user: Option<String>,
    /// With a terminal.
    pub tty: bool,
    /// Standard input stays open.
    pub open_stdin: bool,
    /// Standard input closes when the first attached client leaves.
    pub stdin_once: bool,
    /// Added to, or replacing, the image's variables. `NAME` without `=` removes it.
    pub env: Vec<String>,
    /// Replaces the image's command when not empty.
    pub cmd: Vec<String>,
    /// Replaces the image's entrypoint, and drops the image's command. `Some([])` clears it.
    pub entrypoint: Option<Vec<String>>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Added to the image's labels.
    pub labels: BTreeMap<String, String>,
    /// OCI annotations.
    pub annotations: BTreeMap<String, String>,
    /// Added to the image's ports.
    pub expose: Vec<String>,
    /// What `stop` sends first.
    pub stop_signal: Option<Signal>,
    /// How long `stop` waits.
    pub stop_timeout: Option<Duration>,
    /// Replaces the image's health check.
    pub healthcheck: Option<Healthcheck>,
}
