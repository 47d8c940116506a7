//! A sandbox and its containers from a checkpoint: created, with processes that wait to be started.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use isula_core::{
    container::Invalid,
    error::{ErrorKind, PortError, chain},
    id::ContainerId,
    sandbox::{NewMember, SandboxConfig, SandboxId},
};

use super::{LAYER, LIMIT, POD, SHM, Saved, SavedPod, VERSION};
use crate::{
    Engine, Error, Result,
    launch::{Stage, cannot},
};

/// The largest list of containers that is read.
const POD_LIMIT: u64 = 16 << 20;
/// The one runtime that can bring processes back.
const BUILT_IN: &str = "lcr";

/// A sandbox from a checkpoint.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// The directory of the checkpoint.
    pub checkpoint: PathBuf,
    /// The sandbox.
    pub config: SandboxConfig,
    /// Its containers: those that are in the checkpoint. `sandbox` in them is not looked at.
    pub members: Vec<NewMember>,
}

/// What was made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// Its containers by name.
    pub containers: Vec<(String, ContainerId)>,
}

impl Engine {
    /// Makes a sandbox and its containers from a checkpoint. A start of one then brings its
    /// processes back. The checkpoint is only read, and not needed afterwards.
    ///
    /// # Errors
    /// The checkpoint is not one, is of other containers, or may be changed by others than root; or
    /// whatever making a sandbox and containers can fail with. `Unsupported` where the machine has
    /// no CRIU, or the runtime can't do it. Nothing is left then.
    pub async fn restore_sandbox(self: &Arc<Self>, request: RestoreRequest) -> Result<Restored> {
        self.ports.runtime.can_checkpoint()?;
        let RestoreRequest { checkpoint, config, members } = request;
        if self.runtime_of(&config.runtime_handler)? != BUILT_IN {
            let text = "only the built-in runtime can restore a sandbox";
            return Err(PortError::new(ErrorKind::Unsupported, text).into());
        }
        let read = self.ports.checkpoints.read(&checkpoint, POD, POD_LIMIT).await?;
        let pod: SavedPod = serde_json::from_slice(&read).map_err(|error| {
            let text = format!("{}: it is no checkpoint of a sandbox", checkpoint.display());
            PortError::with_source(ErrorKind::Corrupt, text, error)
        })?;
        let matched = matched(&pod, members)?;
        let sandbox = self.run_sandbox(config).await?;
        match self.fill(&sandbox, &checkpoint, &pod, matched).await {
            Ok(containers) => Ok(Restored { sandbox, containers }),
            Err(error) => {
                if let Err(error) = self.remove_sandbox(sandbox.as_str()).await {
                    tracing::error!("{}", chain(&error));
                }
                Err(error)
            }
        }
    }

    async fn fill(
        self: &Arc<Self>,
        id: &SandboxId,
        checkpoint: &Path,
        pod: &SavedPod,
        members: Vec<(usize, Saved, NewMember)>,
    ) -> Result<Vec<(String, ContainerId)>> {
        if pod.shm {
            let sandbox = self.sandbox(id.as_str())?;
            let work = async {
                match self.shm_of(&sandbox).await? {
                    Some(shm) => self.ports.snapshots.unpack(&checkpoint.join(SHM), &shm).await,
                    None => Ok(()),
                }
            };
            self.port_of_within(LIMIT, id, "restore its /dev/shm", work).await?;
        }
        let mut made = Vec::new();
        for (number, saved, mut member) in members {
            member.sandbox = id.to_string();
            let directory = checkpoint.join(number.to_string());
            let container = self.restore_member(&saved, &directory, member).await?;
            made.push((saved.name, container));
        }
        Ok(made)
    }

    async fn restore_member(
        self: &Arc<Self>,
        saved: &Saved,
        directory: &Path,
        member: NewMember,
    ) -> Result<ContainerId> {
        let id = self.create_member_as(member, true).await?.id;
        let slot = self.index.get(&id).ok_or_else(|| Error::NoSuchContainer(id.to_string()))?;
        let container = slot.container();
        let joined = self.joined(&container).await?;
        let launch = self.prepare(&container, Stage::Stopped(None), joined, None).await?.launch;
        if let Some(what) = saved.difference(&Saved::of(&container, &Self::whole_spec(&launch))) {
            let why = format!("the checkpoint of {:?} has another {what}", saved.name);
            return Err(Invalid::value("container_configs", &saved.name, why).into());
        }
        let failed = |error: PortError| cannot(&container, "restore it", error);
        // Whose files they are is looked at while they are copied: nothing else is used.
        let kept = self.checkpoint_of(&container);
        self.ports.checkpoints.copy(directory, &kept).await.map_err(failed)?;
        if let isula_core::ports::Rootfs::Overlay { upper, .. } = &launch.rootfs {
            self.ports.snapshots.unpack(&kept.join(LAYER), upper).await.map_err(failed)?;
        }
        Ok(id)
    }
}

/// For each container of the checkpoint, its number in it and the one request that names it.
fn matched(pod: &SavedPod, members: Vec<NewMember>) -> Result<Vec<(usize, Saved, NewMember)>> {
    const FIELD: &str = "container_configs";
    if pod.version != VERSION {
        let text = format!("the checkpoint has layout {}, not {VERSION}", pod.version);
        return Err(PortError::new(ErrorKind::Unsupported, text).into());
    }
    let saved: BTreeMap<&str, usize> = pod
        .containers
        .iter()
        .enumerate()
        .map(|(number, saved)| (saved.name.as_str(), number))
        .collect();
    let mut seen = BTreeSet::new();
    let mut matched = Vec::new();
    for member in members {
        let name = member.metadata.name.clone();
        let number = saved.get(name.as_str()).copied();
        let Some((number, saved)) =
            number.and_then(|number| Some((number, pod.containers.get(number)?)))
        else {
            return Err(Invalid::value(FIELD, name, "the checkpoint has no such container").into());
        };
        if !seen.insert(name.clone()) {
            return Err(Invalid::value(FIELD, name, "it is there twice").into());
        }
        matched.push((number, saved.clone(), member));
    }
    if let Some(missing) = pod.containers.iter().find(|saved| !seen.contains(&saved.name)) {
        let why = "the checkpoint has it, the request has not";
        return Err(Invalid::value(FIELD, &missing.name, why).into());
    }
    if matched.is_empty() {
        return Err(Invalid::value(FIELD, "", "it is empty").into());
    }
    Ok(matched)
}
