//! Checkpoints of containers in sandboxes: what is in one, and how it is made.
//!
//! ```text
//!   of a container (an archive)     of a sandbox (a directory)
//!     config.dump   who it was        pod.json        which containers there are
//!     spec.dump     config.json       shm.tar         /dev/shm of the sandbox
//!     checkpoint/   CRIU's images     0/, 1/, …       the containers, each as on the left
//!     mounts.json   from outside
//!     rootfs-diff.tar  its layer
//! ```
//!
//! The names of a container's files are those that checkpointctl knows. Its processes are frozen
//! from before the first is written down until its layer has been read, and thawed whatever
//! happens; a daemon that dies between the two leaves that to the next one.

mod container;
mod restore;
mod sandbox;

use std::time::Duration;

use isula_core::container::Container;
use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};

pub use restore::{RestoreRequest, Restored};

/// The layout of a sandbox's checkpoint; raised by one when it changes.
const VERSION: u32 = 1;
/// In a sandbox's checkpoint, which containers there are.
const POD: &str = "pod.json";
/// In a sandbox's checkpoint, what its `/dev/shm` had.
const SHM: &str = "shm.tar";
/// In a container's, its writable layer.
const LAYER: &str = "rootfs-diff.tar";
/// Beside the record of a container that was restored, and not started yet.
const KEPT: &str = "restore";
/// How long a checkpoint may take where nothing is said.
const LIMIT: Duration = Duration::from_mins(10);

/// A sandbox's checkpoint, as its file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedPod {
    version: u32,
    /// With a file for `/dev/shm`.
    shm: bool,
    containers: Vec<Saved>,
}

/// A container in it, in the directory that is its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    /// Its name in the sandbox.
    name: String,
    /// The id of its image.
    image: String,
    process: SavedProcess,
}

/// What its first process was started as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedProcess {
    args: Vec<String>,
    env: Vec<String>,
    cwd: String,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl Saved {
    fn of(container: &Container, spec: &Spec) -> Self {
        let name = container.pod.as_ref().map(|pod| pod.metadata.name.clone());
        let image = match &container.source {
            isula_core::container::Source::Image { id, .. } => id.to_string(),
            isula_core::container::Source::Directory(path) => path.clone(),
        };
        let process = spec.process().clone().unwrap_or_default();
        let mut env = process.env().clone().unwrap_or_default();
        // The order means nothing, and the name of the host is the sandbox's.
        env.retain(|one| !one.starts_with("HOSTNAME="));
        env.sort_unstable();
        let user = process.user();
        Self {
            name: name.unwrap_or_default(),
            image,
            process: SavedProcess {
                args: process.args().clone().unwrap_or_default(),
                env,
                cwd: process.cwd().display().to_string(),
                uid: user.uid(),
                gid: user.gid(),
                groups: user.additional_gids().clone().unwrap_or_default(),
            },
        }
    }

    /// In what a container differs from the one that was written down, if it does.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        let (one, two) = (&self.process, &other.process);
        let checks = [
            ("image", self.image == other.image),
            ("command", one.args == two.args),
            ("environment", one.env == two.env),
            ("working directory", one.cwd == two.cwd),
            ("user", (one.uid, one.gid, &one.groups) == (two.uid, two.gid, &two.groups)),
        ];
        checks.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
    }
}
