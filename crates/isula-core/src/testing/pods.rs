//! Namespaces of sandboxes in memory, and their records.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;

use super::{Failures, locked};
use crate::{
    container::Resources,
    error::{ErrorKind, PortError},
    id::ContainerId,
    ports::{
        Durability, PodNetwork, PodPaths, PodRequest, Pods, RestoredSandboxes, Result,
        SandboxFiles, SandboxRecords, Usage,
    },
    sandbox::{InterfaceUsage, Sandbox},
};

/// Namespaces of sandboxes in memory.
pub struct FakePods {
    failures: Arc<Failures>,
    pods: Mutex<BTreeMap<ContainerId, PodRequest>>,
}

impl FakePods {
    pub(super) fn new(failures: Arc<Failures>) -> Self {
        Self { failures, pods: Mutex::default() }
    }

    /// The sandboxes that have namespaces, and what they asked for.
    #[must_use]
    pub fn all(&self) -> BTreeMap<ContainerId, PodRequest> {
        locked(&self.pods).clone()
    }

    /// The machine restarts: all are gone.
    pub fn reboot(&self) {
        locked(&self.pods).clear();
    }
}

fn paths(id: &ContainerId, request: &PodRequest) -> PodPaths {
    let path = |name: &str| PathBuf::from(format!("/run/isulad/pods/{id}/{name}"));
    PodPaths {
        uts: request.hostname.as_ref().map(|_| path("uts")),
        ipc: request.shm_size.map(|_| path("ipc")),
        network: (request.network == PodNetwork::Make).then(|| path("net")),
        user: request.user.as_ref().map(|_| path("user")),
        shm: request.shm_size.map(|_| path("shm")),
    }
}

#[async_trait]
impl Pods for FakePods {
    async fn make(&self, id: &ContainerId, request: &PodRequest) -> Result<PodPaths> {
        self.failures.pass("pods.make").await?;
        locked(&self.pods).insert(id.clone(), request.clone());
        Ok(paths(id, request))
    }

    async fn pid_namespace(&self, id: &ContainerId, _: &str) -> Result<PathBuf> {
        self.failures.pass("pods.pid_namespace").await?;
        match locked(&self.pods).contains_key(id) {
            true => Ok(PathBuf::from(format!("/run/isulad/pods/{id}/pid"))),
            false => Err(PortError::new(ErrorKind::NotFound, format!("no namespaces of {id}"))),
        }
    }

    async fn find(&self, id: &ContainerId) -> Result<Option<PodPaths>> {
        self.failures.pass("pods.find").await?;
        Ok(locked(&self.pods).get(id).map(|request| paths(id, request)))
    }

    async fn remove(&self, id: &ContainerId, _: Option<&str>) -> Result<()> {
        self.failures.pass("pods.remove").await?;
        locked(&self.pods).remove(id);
        Ok(())
    }

    async fn sweep(&self, known: &[ContainerId]) -> Result<Vec<ContainerId>> {
        self.failures.pass("pods.sweep").await?;
        let mut pods = locked(&self.pods);
        let lost: Vec<_> = pods.keys().filter(|id| !known.contains(id)).cloned().collect();
        pods.retain(|id, _| known.contains(id));
        Ok(lost)
    }

    async fn usage(&self, _: &str) -> Result<Usage> {
        self.failures.pass("pods.usage").await?;
        Ok(Usage { cpu: 1, memory: 4096, pids: 1, ..Usage::default() })
    }

    async fn limit(&self, _: &str, _: &Resources) -> Result<()> {
        self.failures.pass("pods.limit").await
    }

    async fn interfaces(&self, _: &Path) -> Result<Vec<InterfaceUsage>> {
        self.failures.pass("pods.interfaces").await?;
        Ok(vec![InterfaceUsage { name: "eth0".to_owned(), ..InterfaceUsage::default() }])
    }
}

/// Records of sandboxes in memory, with a disk cache that a power cut loses.
pub struct FakeSandboxRecords {
    failures: Arc<Failures>,
    disk: Mutex<[Disk; 2]>,
}

type Disk = BTreeMap<ContainerId, (Sandbox, SandboxFiles)>;

impl FakeSandboxRecords {
    pub(super) fn new(failures: Arc<Failures>) -> Self {
        Self { failures, disk: Mutex::default() }
    }

    /// What was not synced is lost.
    pub fn cut_power(&self) {
        let [written, synced] = &mut *locked(&self.disk);
        written.clone_from(synced);
    }

    /// The record on disk.
    #[must_use]
    pub fn get(&self, id: &ContainerId) -> Option<Sandbox> {
        let [written, _] = &*locked(&self.disk);
        written.get(id).map(|(sandbox, _)| sandbox.clone())
    }

    /// The plain files on disk.
    #[must_use]
    pub fn files(&self, id: &ContainerId) -> Option<SandboxFiles> {
        let [written, _] = &*locked(&self.disk);
        written.get(id).map(|(_, files)| files.clone())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        let [written, _] = &*locked(&self.disk);
        written.len()
    }

    fn change(
        &self,
        durability: Durability,
        change: impl FnOnce(&mut Disk) -> Result<()>,
    ) -> Result<()> {
        let [written, synced] = &mut *locked(&self.disk);
        change(written)?;
        if durability == Durability::Synced {
            synced.clone_from(written);
        }
        Ok(())
    }
}

fn no_record(id: &ContainerId) -> PortError {
    PortError::new(ErrorKind::NotFound, format!("there is no record of sandbox {id}"))
}

#[async_trait]
impl SandboxRecords for FakeSandboxRecords {
    async fn load_sandboxes(&self) -> Result<RestoredSandboxes> {
        self.failures.pass("sandboxes.load").await?;
        let [written, _] = &*locked(&self.disk);
        let sandboxes = written.values().map(|(sandbox, _)| sandbox.clone()).collect();
        Ok(RestoredSandboxes { sandboxes, quarantined: Vec::new() })
    }

    async fn create_sandbox(
        &self,
        sandbox: &Sandbox,
        files: &SandboxFiles,
        durability: Durability,
    ) -> Result<()> {
        self.failures.pass("sandboxes.create").await?;
        self.change(durability, |disk| {
            if disk.contains_key(&sandbox.id) {
                let message = format!("there is a record of sandbox {} already", sandbox.id);
                return Err(PortError::new(ErrorKind::AlreadyExists, message));
            }
            disk.insert(sandbox.id.clone(), (sandbox.clone(), files.clone()));
            Ok(())
        })
    }

    async fn save_sandbox(&self, sandbox: &Sandbox, durability: Durability) -> Result<()> {
        self.failures.pass("sandboxes.save").await?;
        self.change(durability, |disk| match disk.get_mut(&sandbox.id) {
            Some((record, _)) => {
                *record = sandbox.clone();
                Ok(())
            }
            None => Err(no_record(&sandbox.id)),
        })
    }

    async fn refresh_sandbox(&self, id: &ContainerId, files: &SandboxFiles) -> Result<()> {
        self.failures.pass("sandboxes.refresh").await?;
        self.change(Durability::Written, |disk| match disk.get_mut(id) {
            Some((_, old)) => {
                *old = files.clone();
                Ok(())
            }
            None => Err(no_record(id)),
        })
    }

    async fn remove_sandbox(&self, id: &ContainerId) -> Result<()> {
        self.failures.pass("sandboxes.remove").await?;
        self.change(Durability::Synced, |disk| {
            disk.remove(id);
            Ok(())
        })
    }

    fn sandbox_directory(&self, id: &ContainerId) -> PathBuf {
        PathBuf::from(format!("/data/sandboxes/{id}"))
    }
}
