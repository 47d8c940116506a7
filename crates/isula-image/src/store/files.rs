//! Writing so that a crash leaves the whole or nothing.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind as Io, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use isula_core::error::{ErrorKind, PortError};
use isula_sys::beneath::writeback;
use serde::Serialize;

use super::Shared;
use crate::trash;

/// A directory in `tmp/` that is removed when dropped, unless it was renamed. Dropping blocks: what
/// did not fit is off the disk before anybody is told so, because who is told tries something
/// smaller next.
pub(crate) struct Scratch {
    shared: Arc<Shared>,
    path: PathBuf,
}

impl Scratch {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self, PortError> {
        let path = shared.layout.tmp().join(shared.serial());
        make_dir(&path, 0o700)?;
        Ok(Self { shared: Arc::clone(shared), path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = trash::remove(&self.path) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "cannot remove a temporary directory");
        }
    }
}

/// Makes a directory of exactly this mode, whatever the umask is.
pub(crate) fn make_dir(path: &Path, mode: u32) -> Result<(), PortError> {
    let failed = |error| cannot("make", path, error);
    fs::DirBuilder::new().mode(mode).create(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)
}

/// A record as a person can read it.
pub(crate) fn json(record: &impl Serialize) -> Result<Vec<u8>, PortError> {
    let text = serde_json::to_vec_pretty(record);
    let mut text = text.map_err(|error| {
        PortError::with_source(ErrorKind::Internal, "cannot write a record", error)
    })?;
    text.push(b'\n');
    Ok(text)
}

/// Writes a new file and makes its content durable (its name is not, until the directory is).
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), PortError> {
    let failed = |error| cannot("write", path, error);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|error| {
        // Half a file helps nobody; that it can't be removed either adds nothing.
        let _ = fs::remove_file(path);
        failed(error)
    })
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), PortError> {
    writeback::sync_dir(path).map_err(|error| cannot("make durable", path, error))
}

/// Renames, replacing what has the new name.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), PortError> {
    fs::rename(from, to).map_err(|error| cannot("make", to, error))
}

/// Removes a file; one that is not there is no error.
pub(crate) fn remove(path: &Path) -> Result<(), PortError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != Io::NotFound => Err(cannot("remove", path, error)),
        _ => Ok(()),
    }
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, PortError> {
    let failed = |error| cannot("read", path, error);
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() <= limit {
        true => Ok(bytes),
        false => Err(PortError::new(
            ErrorKind::Corrupt,
            format!("{} is larger than {limit} bytes", path.display()),
        )),
    }
}

/// An error of the system about a path.
pub(crate) fn cannot(action: &str, path: &Path, error: std::io::Error) -> PortError {
    PortError::io(format!("cannot {action} {}", path.display()), error)
}
