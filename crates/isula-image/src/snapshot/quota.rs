//! Limits on writable layers, by project quotas of the file system.

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use isula_core::{
    error::{ErrorKind, PortError},
    id::ContainerId,
    ports::Result,
};
use isula_sys::{beneath::Beneath, errno, quota};

use crate::store::Shared;

/// Where our projects begin; people and other engines count from 1 on.
const FIRST: u32 = 0x4953_0000;
/// The last number that was given, so that one of a layer that is still being deleted is not
/// given again.
static LAST: AtomicU32 = AtomicU32::new(FIRST);

impl Shared {
    /// See [`isula_core::ports::Snapshots::limit`].
    pub(super) fn limit_snapshot(&self, id: &ContainerId, bytes: u64) -> Result<()> {
        let dir = self.layout.snapshot(id);
        let failed = |error: io::Error| refusal(id, error);
        let open = |part: &str| Beneath::open(&dir.join(part));
        // One at a time: the numbers must differ.
        let uses = self.uses();
        let mut highest = LAST.load(Ordering::Relaxed);
        for other in uses.keys().filter(|other| *other != id) {
            if let Ok(number) = project(&self.layout.snapshot(other)) {
                highest = highest.max(number);
            }
        }
        let number = highest.checked_add(1).unwrap_or(FIRST);
        LAST.store(number, Ordering::Relaxed);
        for part in ["work", "diff"] {
            let part = open(part).map_err(failed)?;
            quota::set_project(part.root(), number).map_err(failed)?;
        }
        let root = open("").map_err(failed)?;
        quota::limit(root.root(), number, bytes).map_err(failed)
    }

    /// See [`isula_core::ports::Snapshots::change_limit`].
    pub(super) fn change_snapshot_limit(&self, id: &ContainerId, bytes: u64) -> Result<()> {
        let dir = self.layout.snapshot(id);
        let change = || quota::limit(Beneath::open(&dir)?.root(), project(&dir)?, bytes);
        change().map_err(|error| refusal(id, error))
    }
}

fn project(snapshot: &Path) -> io::Result<u32> {
    quota::project(Beneath::open(&snapshot.join("diff"))?.root())
}

fn refusal(id: &ContainerId, error: io::Error) -> PortError {
    let text = format!("cannot limit the writable layer of container {}", id.short());
    match error.raw_os_error() {
        Some(errno::ENOTTY | errno::EOPNOTSUPP | errno::ESRCH | errno::ENOSYS | errno::EINVAL) => {
            let why = "its file system does not enforce project quotas (ext4 or XFS mounted with \
                       \"prjquota\" does)";
            PortError::new(ErrorKind::Unsupported, format!("{text}: {why}"))
        }
        _ => PortError::io(text, error),
    }
}
