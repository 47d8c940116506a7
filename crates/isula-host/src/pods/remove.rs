//! Taking away what a sandbox has, whatever state a crash left it in.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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
            let removed = self.group(path)?.remove();
            removed.map_err(|error| cgroup(error, "remove the control group of the sandbox"))?;
        }
        Ok(())
    }

    pub(super) fn sweep(&self, known: &[ContainerId]) -> Result<Vec<ContainerId>> {
        let mut swept = Vec::new();
        let Ok(entries) = fs::read_dir(&self.root) else { return Ok(swept) };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(id) = ContainerId::try_from(name) else { continue };
            if !known.contains(&id) {
                self.remove(&id, None)?;
                swept.push(id);
            }
        }
        Ok(swept)
    }
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
