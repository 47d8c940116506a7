//! Records in memory, with a disk cache that a power cut loses.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;

use super::{Failures, locked};
use crate::{
    container::Container,
    error::{ErrorKind, PortError},
    id::ContainerId,
    ports::{ContainerFiles, Durability, LaterFiles, Quarantined, Records, Restored, Result, Then},
};

type Disk = BTreeMap<ContainerId, (Container, ContainerFiles)>;

/// Records in memory.
pub struct FakeRecords {
    failures: Arc<Failures>,
    disk: Mutex<Disks>,
}

#[derive(Default)]
struct Disks {
    written: Disk,
    synced: Disk,
    quarantined: Vec<Quarantined>,
}

impl FakeRecords {
    pub(super) fn new(failures: Arc<Failures>) -> Self {
        Self { failures, disk: Mutex::default() }
    }

    /// What was not synced is lost.
    pub fn cut_power(&self) {
        let mut disk = locked(&self.disk);
        disk.written = disk.synced.clone();
    }

    /// The record on disk.
    #[must_use]
    pub fn get(&self, id: &ContainerId) -> Option<Container> {
        locked(&self.disk).written.get(id).map(|(container, _)| container.clone())
    }

    /// The plain files on disk.
    #[must_use]
    pub fn files(&self, id: &ContainerId) -> Option<ContainerFiles> {
        locked(&self.disk).written.get(id).map(|(_, files)| files.clone())
    }

    /// Puts a record there, as a former daemon left it.
    pub fn put(&self, container: Container) {
        let mut disk = locked(&self.disk);
        disk.written.insert(container.id.clone(), (container, ContainerFiles::default()));
        disk.synced = disk.written.clone();
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        locked(&self.disk).written.len()
    }

    /// The next load reports this, too.
    pub fn quarantine(&self, one: Quarantined) {
        locked(&self.disk).quarantined.push(one);
    }
}

fn no_record(id: &ContainerId) -> PortError {
    PortError::new(ErrorKind::NotFound, format!("there is no record of container {id}"))
}

#[async_trait]
impl Records for FakeRecords {
    async fn load(&self) -> Result<Restored> {
        self.failures.pass("records.load").await?;
        let disk = locked(&self.disk);
        let containers = disk.written.values();
        let containers = containers.map(|(container, _)| Arc::new(container.clone())).collect();
        Ok(Restored { containers, quarantined: disk.quarantined.clone() })
    }

    async fn create(&self, container: &Container, files: LaterFiles) -> Result<()> {
        self.failures.pass("records.create").await?;
        let mut disk = locked(&self.disk);
        if disk.written.contains_key(&container.id) {
            let message = format!("there is a record of container {} already", container.id);
            return Err(PortError::new(ErrorKind::AlreadyExists, message));
        }
        disk.written.insert(container.id.clone(), (container.clone(), files()));
        disk.synced = disk.written.clone();
        Ok(())
    }

    async fn provide(&self, _: &ContainerId) -> Result<()> {
        self.failures.pass("records.provide").await
    }

    async fn save(&self, container: &Container, durability: Durability) -> Result<()> {
        self.failures.pass("records.save").await?;
        let mut disk = locked(&self.disk);
        let Some((record, _)) = disk.written.get_mut(&container.id) else {
            return Err(no_record(&container.id));
        };
        *record = container.clone();
        if durability == Durability::Synced {
            disk.synced = disk.written.clone();
        }
        Ok(())
    }

    async fn refresh(&self, id: &ContainerId, _: &str, files: &ContainerFiles) -> Result<()> {
        self.failures.pass("records.refresh").await?;
        match locked(&self.disk).written.get_mut(id) {
            Some((_, old)) => {
                *old = files.clone();
                Ok(())
            }
            None => Err(no_record(id)),
        }
    }

    async fn remove_then(
        &self,
        id: &ContainerId,
        _: &str,
        durability: Durability,
        then: Then,
    ) -> Result<()> {
        self.failures.pass("records.remove").await?;
        let mut disk = locked(&self.disk);
        disk.written.remove(id);
        if durability == Durability::Synced {
            disk.synced = disk.written.clone();
        }
        drop(disk);
        then();
        Ok(())
    }

    fn directory(&self, id: &ContainerId, runtime: &str) -> PathBuf {
        PathBuf::from(format!("/data/engines/{runtime}/{id}"))
    }
}
