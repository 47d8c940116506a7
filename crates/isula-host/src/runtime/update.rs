//! What changes while a container runs: its limits, and the file of its log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use isula_core::error::{ErrorKind, PortError};
use isula_core::id::ContainerId;
use isula_core::ports::Result;
use isulad_shim::protocol::{Message, Request};
use lcr::cgroup::{Cgroup, CgroupError};
use oci_spec::runtime::LinuxResources;

use super::processes::cannot;
use super::{Runtimes, blocking, failure};
use crate::systemd;

/// The files of a control group that limits are written to; `*` is any text.
const LIMITS: [&str; 21] = [
    "cpu.shares",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "cpu.weight",
    "cpu.max",
    "cpu.idle",
    "cpuset.cpus",
    "cpuset.mems",
    "memory.limit_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.soft_limit_in_bytes",
    "memory.swappiness",
    "memory.max",
    "memory.high",
    "memory.low",
    "memory.min",
    "memory.swap.max",
    "pids.max",
    "blkio.weight",
    "blkio.bfq.weight",
    "io.weight",
];

impl Runtimes {
    /// All limits, or none.
    pub(super) async fn update_limits(
        &self,
        id: &ContainerId,
        resources: &LinuxResources,
    ) -> Result<()> {
        let cgroup = self.running(id)?.cgroup()?;
        let (resources, systemd) = (resources.clone(), self.systemd.clone());
        blocking(move || {
            let plan = cgroup.plan_update(&resources).map_err(refused)?;
            let before = Before::read(&cgroup);
            let limits = systemd::owned(plan.limits());
            if let Some(systemd) = &systemd {
                // It writes its own idea of a limit, which may be rounded, and ours comes after.
                systemd.set_group(&cgroup, &limits)?;
            }
            plan.update().map_err(|error| {
                if let Some(Err(error)) =
                    systemd.map(|systemd| systemd.set_group(&cgroup, &before.limits()))
                {
                    tracing::warn!(%error, "systemd has limits that were not set");
                }
                before.restore();
                refused(error)
            })
        })
        .await
    }

    pub(super) async fn reopen_log_of(&self, id: &ContainerId) -> Result<()> {
        let keeper = self.running(id)?;
        match keeper.link.ask(&Request::ReopenLog, &[], self.patience).await? {
            Message::Done => Ok(()),
            other => Err(failure::unexpected(other)),
        }
    }
}

/// A value that the kernel does not take is the caller's.
fn refused(error: CgroupError) -> PortError {
    match &error {
        CgroupError::Field { .. } | CgroupError::Write { .. } => {
            let message = "the kernel refuses a limit: nothing was changed";
            PortError::with_source(ErrorKind::InvalidInput, message, error)
        }
        _ => cannot(error, "change the limits"),
    }
}

/// What the limits were.
struct Before(BTreeMap<PathBuf, String>);

impl Before {
    fn read(cgroup: &Cgroup) -> Self {
        let all = cgroup.directories().flat_map(|(_, directory)| {
            LIMITS.map(|name| {
                let path = directory.join(name);
                let text = std::fs::read_to_string(&path).ok()?;
                Some((path, text.trim().to_owned()))
            })
        });
        Self(all.flatten().collect())
    }

    /// As systemd is told them.
    fn limits(&self) -> Vec<(String, String)> {
        let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
        let limits = self.0.iter().filter_map(|(path, value)| Some((name(path)?, value.clone())));
        limits.collect()
    }

    /// Twice: two limits bound each other, and the order in which they fit is not known.
    fn restore(&self) {
        for _ in 0..2 {
            for (path, value) in &self.0 {
                write(path, value);
            }
        }
    }
}

/// A value that is there already is not written: some files refuse that.
fn write(path: &Path, value: &str) {
    let now = std::fs::read_to_string(path).unwrap_or_default();
    if now.trim() != value {
        let value = if value.is_empty() { "\n" } else { value };
        if let Err(error) = std::fs::write(path, value) {
            tracing::debug!(path = %path.display(), %error, "a limit is not restored yet");
        }
    }
}
