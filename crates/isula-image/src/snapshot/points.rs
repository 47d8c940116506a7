//! The directory that lies below the layers of every container: what nearly each one needs as a
//! mount point, made once.
//!
//! Made in the container's own layer, these are six files and directories, with a copy of the
//! image's `/etc` on the way, to be written at the first start and deleted with the container. As
//! the lowest of all layers it changes nothing of what the image has: there it only fills gaps.

use std::{
    fs::{self, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use isula_core::{error::ErrorKind, ports::Result};

use crate::store::{Shared, files};

/// Its name, beside the snapshots.
pub(super) const NAME: &str = "mountpoints";
const DIRECTORIES: [&str; 4] = ["dev", "etc", "proc", "sys"];
const FILES: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];
/// `OVL_MAX_STACK` of overlayfs.
const MOST_LAYERS: usize = 500;

impl Shared {
    /// Puts it below the layers of an image, where there is room for one more.
    pub(super) fn add_mount_points(&self, lower: &mut Vec<PathBuf>) -> Result<()> {
        if lower.len() < MOST_LAYERS {
            lower.push(self.mount_points()?);
        }
        Ok(())
    }

    fn mount_points(&self) -> Result<PathBuf> {
        let mut known = self.mount_points.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(path) = &*known {
            return Ok(path.clone());
        }
        let path = self.layout.root().join(NAME);
        directory(&path)?;
        DIRECTORIES.iter().try_for_each(|name| directory(&path.join(name)))?;
        FILES.iter().try_for_each(|name| file(&path.join(name)))?;
        Ok(known.insert(path).clone())
    }
}

fn directory(path: &Path) -> Result<()> {
    match files::make_dir(path, 0o755) {
        // Also half made, by a daemon that was killed.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            mode(path, 0o755).map_err(|error| files::cannot("make", path, error))
        }
        made => made,
    }
}

fn file(path: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => mode(path, 0o644),
    }
    .map_err(|error| files::cannot("make", path, error))
}

/// Whatever the umask is.
fn mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}
