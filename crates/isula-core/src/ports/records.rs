//! The records of containers on disk.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;

use super::Result;
use crate::{container::Container, id::ContainerId};

/// How safe a record must be when `save` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It survives a power cut.
    Synced,
    /// It survives the death of the daemon; a later `Synced` of any record takes it along.
    Written,
}

/// The plain files of a container beside its record, each whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerFiles {
    /// OCI `config.json`.
    pub config_json: Vec<u8>,
    /// Content of `/etc/hostname`.
    pub hostname: Vec<u8>,
    /// Content of `/etc/hosts`.
    pub hosts: Vec<u8>,
    /// Content of `/etc/resolv.conf`.
    pub resolv_conf: Vec<u8>,
    /// OCI hooks as JSON, `null` when there are none.
    pub oci_hooks: Vec<u8>,
    /// The seccomp profile in force as OCI JSON, `null` when unconfined.
    pub seccomp: Vec<u8>,
}

/// Makes the plain files of a container when they are written. What it holds is memory until then.
pub type LaterFiles = Arc<dyn Fn() -> ContainerFiles + Send + Sync>;

/// What is to be done behind a change of the records, on a thread that may block.
pub type Then = Box<dyn FnOnce() + Send>;

/// What was found on disk at start.
#[derive(Debug, Default)]
pub struct Restored {
    /// Every container that could be read.
    pub containers: Vec<Arc<Container>>,
    /// What could not be read and was moved aside.
    pub quarantined: Vec<Quarantined>,
}

/// A damaged record that was moved to `quarantine/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it is now.
    pub path: PathBuf,
    /// What was wrong with it.
    pub reason: String,
}

/// The records of containers.
///
/// Concurrent calls for different containers share the cost of being durable (group commit).
#[async_trait]
pub trait Records: Send + Sync {
    /// Reads every record; called once, at start. Finishes or undoes what a crash cut short in the
    /// records themselves; never fails because of one damaged record.
    async fn load(&self) -> Result<Restored>;

    /// Makes the record and the directory of a container: durable on return. Its plain files, which
    /// can be derived from the record, follow within a second, or with [`Records::provide`].
    ///
    /// # Errors
    /// Nothing is left behind. `ResourceExhausted` where the disk has no room for the files.
    async fn create(&self, container: &Container, files: LaterFiles) -> Result<()>;

    /// Has the plain files of a container written that [`Records::create`] left for later: what runs
    /// in it needs some of them. Those of a container whose files are there stay as they are.
    async fn provide(&self, id: &ContainerId) -> Result<()>;

    /// Writes the record of a container that exists.
    async fn save(&self, container: &Container, durability: Durability) -> Result<()>;

    /// Replaces those plain files whose content differs (not durable by itself: they can be derived
    /// from the record).
    async fn refresh(&self, id: &ContainerId, runtime: &str, files: &ContainerFiles) -> Result<()>;

    /// Removes the container's directory: gone from view on return, its blocks freed later. A
    /// container that is not there is no error. After a power cut a removal that was only `Written`
    /// may not have been: the record is there again as it was last saved.
    async fn remove(&self, id: &ContainerId, runtime: &str, durability: Durability) -> Result<()> {
        self.remove_then(id, runtime, durability, Box::new(|| ())).await
    }

    /// As [`Records::remove`], and does `then` before it returns, once the removal is as safe as
    /// `durability` says. After an error it was not done.
    async fn remove_then(
        &self,
        id: &ContainerId,
        runtime: &str,
        durability: Durability,
        then: Then,
    ) -> Result<()>;

    /// The container's directory: `DATA/engines/<runtime>/<id>`.
    fn directory(&self, id: &ContainerId, runtime: &str) -> PathBuf;
}
