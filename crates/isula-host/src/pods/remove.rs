//! Taking away what a sandbox has, whatever state a crash left it in.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use isula_core::cgroup::Slice;
use isula_core::id::ContainerId;
use isula_core::ports::Result;
use isula_sys::mount;
use rustix::io::Errno;

use super::pins::{KINDS, SHM};
use super::{Shared, cannot, cgroup};

impl Shared {
    pub(super) fn remove(&self, id: &ContainerId, own_cgroup: Option<&str>) -> Result<()> {
        let directory = self.directory(id);
        if directory.exists() {
            if let Some(init) = directory.init() {
                init.kill();
            }
            let removed = remove_all(directory.path());
            removed.map_err(cannot("remove the namespaces", id))?;
        }
        if let Some(path) = own_cgroup {
            let group = self.group(path)?;
            let removed = group.remove();
            removed.map_err(|error| cgroup(error, "remove the control group of the sandbox"))?;
            if let Some(systemd) = &self.systemd {
                systemd.stop_group(&group)?;
            }
        }
        Ok(())
    }

    pub(super) fn sweep(&self, known: &[ContainerId]) -> Result<Vec<ContainerId>> {
        let mut lost: BTreeSet<ContainerId> = named(&self.root, "", "").into_iter().collect();
        lost.extend(self.groups());
        lost.retain(|id| !known.contains(id));
        for id in &lost {
            let own = self.own_group(id);
            // Whatever is in it belongs to no container that is known.
            if let Err(error) = self.group(&own)?.kill() {
                tracing::warn!(%id, %error, "cannot end the processes of a lost sandbox");
            }
            self.remove(id, Some(&own))?;
        }
        Ok(lost.into_iter().collect())
    }

    /// The sandboxes that have a control group of their own.
    fn groups(&self) -> Vec<ContainerId> {
        let parent = self.cgroup_parent.trim_start_matches('/');
        // The name of a slice has those of all slices above it.
        let (before, after) = match self.slice().map(|parent| parent.child(SLICE)) {
            Some(of_pods) => (of_pods.name().trim_end_matches(".slice").to_owned(), ".slice"),
            None => (GROUP.to_owned(), ""),
        };
        let trees = self.hierarchies.list().iter();
        trees.flat_map(|tree| named(&tree.mount.join(parent), &before, after)).collect()
    }

    /// The path of a sandbox's own control group.
    fn own_group(&self, id: &ContainerId) -> String {
        match self.slice() {
            Some(parent) => parent.child(&format!("{SLICE}{id}")).path(),
            None => format!("{}/{GROUP}{id}", self.cgroup_parent.trim_end_matches('/')),
        }
    }

    /// The slice of all sandboxes, where systemd makes control groups.
    fn slice(&self) -> Option<Slice> {
        self.systemd.as_ref()?;
        Slice::parse("cgroup-parent", &self.cgroup_parent).ok()
    }
}

/// Before the id in the name of a sandbox's own control group.
const GROUP: &str = "pod-";
/// The same in the name of a slice, where a '-' means another slice.
const SLICE: &str = "pod";

/// The ids between these in the names of a directory's entries.
fn named(directory: &Path, before: &str, after: &str) -> Vec<ContainerId> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let id = |name: &str| {
        let id = name.strip_prefix(before)?.strip_suffix(after)?;
        ContainerId::try_from(id.to_owned()).ok()
    };
    entries.filter_map(|entry| id(entry.file_name().to_str()?)).collect()
}

fn remove_all(path: &Path) -> io::Result<()> {
    for name in KINDS.iter().map(|kind| kind.name).chain([SHM]) {
        unmount(&path.join(name))?;
    }
    // Nothing in it is a mount any more: what is deleted here is the sandbox's own.
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes off every mount there.
fn unmount(path: &Path) -> io::Result<()> {
    let target = CString::new(path.as_os_str().as_bytes())?;
    loop {
        match mount::detach(&target) {
            Ok(()) => {}
            Err(error) => match Errno::from_io_error(&error) {
                // Nothing is mounted there, or nothing is there.
                Some(Errno::INVAL | Errno::NOENT) => return Ok(()),
                _ => return Err(error),
            },
        }
    }
}
