//! The plain files of a container: its directory and what is in it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use isula_core::{
    id::{ContainerId, Name},
    ports::{ContainerFiles, SandboxFiles},
};
use isula_sys::files::{write_atomic, write_atomic_unsynced};

use super::{
    document::{self, Documents},
    twins::Twins,
};

/// In front of the name of a directory whose container is not acknowledged yet.
const NEW: &str = ".new-";

/// The directories of containers: `ROOT/engines/<runtime>/<id>`.
#[derive(Debug, Clone)]
pub(super) struct Places {
    engines: PathBuf,
    sandboxes: PathBuf,
}

/// What stands in the place of a runtime for sandboxes; no runtime can have this name.
pub(super) const SANDBOXES: &str = ".sandboxes";

impl Places {
    /// Below the data root.
    pub(super) fn below(root: &Path) -> Self {
        Self { engines: root.join("engines"), sandboxes: root.join("sandboxes") }
    }

    /// `ROOT/sandboxes`.
    pub(super) fn sandboxes(&self) -> &Path {
        &self.sandboxes
    }

    /// `ROOT/engines`.
    pub(super) fn engines(&self) -> &Path {
        &self.engines
    }

    /// `ROOT/engines/<runtime>`.
    ///
    /// # Errors
    /// The runtime's name can't be that of a directory.
    pub(super) fn runtime(&self, runtime: &str) -> io::Result<PathBuf> {
        if runtime == SANDBOXES {
            return Ok(self.sandboxes.clone());
        }
        match Name::try_from(runtime.to_owned()) {
            Ok(name) => Ok(self.engines.join(name.as_str())),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
        }
    }

    /// The container's directory, and where it is until it is acknowledged.
    pub(super) fn container(&self, id: &ContainerId, runtime: &str) -> io::Result<[PathBuf; 2]> {
        let parent = self.runtime(runtime)?;
        Ok([parent.join(id.as_str()), parent.join(format!("{NEW}{id}"))])
    }
}

/// Whether a directory's name says that its container was never acknowledged.
pub(super) fn is_new(name: &str) -> bool {
    name.starts_with(NEW)
}

/// Makes a directory, with its parents, of this mode whatever the umask is. An existing one stays
/// as it is.
pub(crate) fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match path.parent() {
            Some(parent) if parent != path => {
                make_directory(parent, mode)?;
                make_directory(path, mode)
            }
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// The derivable files with their modes: those that the container's users see are for all.
fn derivable(files: &ContainerFiles) -> [(&'static str, &[u8], u32); 6] {
    [
        ("config.json", &files.config_json, 0o640),
        ("hostname", &files.hostname, 0o644),
        ("hosts", &files.hosts, 0o644),
        ("resolv.conf", &files.resolv_conf, 0o644),
        ("ocihooks.json", &files.oci_hooks, 0o640),
        ("seccomp", &files.seccomp, 0o640),
    ]
}

/// Makes the directory of a new container with everything in it, below its preliminary name.
pub(super) fn make_new(
    [directory, preliminary]: [&Path; 2],
    documents: &Documents,
    files: &ContainerFiles,
    twins: &Twins,
) -> io::Result<()> {
    if let Some(parent) = preliminary.parent() {
        make_directory(parent, 0o750)?;
    }
    make_frame(preliminary)?;
    write_new(&preliminary.join(document::CONFIG), documents.config.as_bytes(), 0o640)?;
    write_new(&preliminary.join(document::HOST), documents.host.as_bytes(), 0o640)?;
    for (name, bytes, mode) in derivable(files) {
        let path = preliminary.join(name);
        if !twins.link(name, bytes, &path) {
            write_new(&path, bytes, mode)?;
            twins.remember(name, bytes, directory.join(name));
        }
    }
    Ok(())
}

/// The parts of a container's directory that have no content: itself, `mounts`, an empty log.
fn make_frame(directory: &Path) -> io::Result<()> {
    make_directory(directory, 0o750)?;
    make_directory(&directory.join("mounts"), 0o700)?;
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(directory.join("console.log"))?;
    log.set_permissions(Permissions::from_mode(0o640))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)
}

/// Replaces both documents where they differ from what is there; readers see old or new.
pub(super) fn write_documents(directory: &Path, documents: &Documents) -> io::Result<()> {
    documents
        .files()
        .try_for_each(|(name, text)| replace(&directory.join(name), text.as_bytes(), 0o640))
}

/// As [`write_documents`], each durable on return.
pub(super) fn write_documents_durably(directory: &Path, documents: &Documents) -> io::Result<()> {
    documents
        .files()
        .try_for_each(|(name, text)| write_atomic(&directory.join(name), text.as_bytes(), 0o640))
}

/// Replaces the derivable files where they differ from what is there.
pub(super) fn refresh(directory: &Path, files: &ContainerFiles) -> io::Result<()> {
    make_frame(directory)?;
    for (name, bytes, mode) in derivable(files) {
        replace(&directory.join(name), bytes, mode)?;
    }
    Ok(())
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    if fs::read(path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    write_atomic_unsynced(path, bytes, mode)
}

/// Makes the directory hold these documents; what an earlier crash left is finished.
pub(super) fn mend(places: &[PathBuf; 2], documents: &Documents) -> io::Result<()> {
    let [directory, preliminary] = places;
    if !directory.exists() && preliminary.exists() {
        fs::rename(preliminary, directory)?;
    }
    if let Some(parent) = directory.parent() {
        make_directory(parent, 0o750)?;
    }
    if documents.is_sandbox() {
        make_directory(directory, SANDBOX_MODE)?;
    } else {
        make_frame(directory)?;
    }
    write_documents(directory, documents)
}

/// The files of a sandbox with their names: its containers' users see them.
fn shared(files: &SandboxFiles) -> [(&'static str, &[u8]); 3] {
    [("hostname", &files.hostname), ("hosts", &files.hosts), ("resolv.conf", &files.resolv_conf)]
}

/// The mode of a sandbox's directory: a container's root in a user namespace goes through it.
const SANDBOX_MODE: u32 = 0o711;

/// Makes the directory of a new sandbox with everything in it, below its preliminary name.
pub(super) fn make_new_sandbox(
    preliminary: &Path,
    documents: &Documents,
    files: &SandboxFiles,
) -> io::Result<()> {
    if let Some(parent) = preliminary.parent() {
        make_directory(parent, SANDBOX_MODE)?;
    }
    make_directory(preliminary, SANDBOX_MODE)?;
    for (name, text) in documents.files() {
        write_new(&preliminary.join(name), text.as_bytes(), 0o640)?;
    }
    shared(files)
        .into_iter()
        .try_for_each(|(name, bytes)| write_new(&preliminary.join(name), bytes, 0o644))
}

/// Writes the files of a sandbox again. Containers have them mounted: they are never replaced by
/// others of the same name.
pub(super) fn refresh_sandbox(directory: &Path, files: &SandboxFiles) -> io::Result<()> {
    for (name, bytes) in shared(files) {
        let path = directory.join(name);
        if !fs::read(&path).is_ok_and(|found| found == bytes) {
            write_new(&path, bytes, 0o644)?;
        }
    }
    Ok(())
}

/// Makes both documents durable.
pub(super) fn sync_documents(directory: &Path) -> io::Result<()> {
    for name in [document::CONFIG, document::HOST] {
        File::open(directory.join(name))?.sync_all()?;
    }
    sync_directory(directory)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
