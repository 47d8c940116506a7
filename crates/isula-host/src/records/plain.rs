//! The plain files of a container: its directory and what is in it.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::{DirBuilderExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use isula_core::{
    id::{ContainerId, Name},
    ports::{ContainerFiles, SandboxFiles},
};
use isula_sys::files::{open_directory, write_atomic, write_atomic_unsynced};
use isulad_shim::protocol::LOG;
use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

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

/// Makes the directory of a new container below its preliminary name, where the disk has room for
/// what will be in it.
pub(super) fn place_new(preliminary: &Path) -> io::Result<()> {
    if let Some(parent) = preliminary.parent() {
        make_directory(parent, 0o750)?;
        has_room(parent)?;
    }
    make_directory(preliminary, 0o750)
}

/// What the files of a container take at most, as a rule.
const ROOM: u64 = 128 << 10;
const INODES: u64 = 16;

/// A file system without room refuses a container when it is made, not when its files follow.
fn has_room(directory: &Path) -> io::Result<()> {
    let free = rustix::fs::statvfs(directory)?;
    // Some file systems make inodes as they need them, and have a total of none.
    let inodes = free.f_files == 0 || free.f_ffree >= INODES;
    match inodes && free.f_bfree.saturating_mul(free.f_frsize) >= ROOM {
        true => Ok(()),
        false => Err(Errno::NOSPC.into()),
    }
}

/// Makes the directory of a new container with everything in it, below its preliminary name.
pub(super) fn make_new(
    [directory, preliminary]: [&Path; 2],
    documents: &Documents,
    files: &ContainerFiles,
    twins: &Twins,
) -> io::Result<()> {
    place_new(preliminary)?;
    let open = open_directory(preliminary)?;
    for (name, text) in documents.files() {
        write_new(open.as_fd(), name, text.as_bytes(), 0o640)?;
    }
    write_derivable(open.as_fd(), [directory, preliminary], files, twins)
}

/// Writes the derivable files of a container that has none yet. A removal may overtake this: they
/// go where the directory goes then.
pub(super) fn write_missing(
    directory: &Path,
    files: &ContainerFiles,
    twins: &Twins,
) -> io::Result<()> {
    write_derivable(open_directory(directory)?.as_fd(), [directory, directory], files, twins)
}

fn write_derivable(
    open: BorrowedFd<'_>,
    [directory, now]: [&Path; 2],
    files: &ContainerFiles,
    twins: &Twins,
) -> io::Result<()> {
    fill_frame(open)?;
    for (name, bytes, mode) in derivable(files) {
        if !twins.link(name, bytes, &now.join(name)) {
            write_new(open, name, bytes, mode)?;
            twins.remember(name, bytes, directory.join(name));
        }
    }
    Ok(())
}

/// The parts of a container's directory that have no content: itself, `mounts`, an empty log.
fn make_frame(directory: &Path) -> io::Result<()> {
    make_directory(directory, 0o750)?;
    fill_frame(open_directory(directory)?.as_fd())
}

fn fill_frame(directory: BorrowedFd<'_>) -> io::Result<()> {
    match rustix::fs::mkdirat(directory, "mounts", Mode::RWXU) {
        Err(Errno::EXIST) => {}
        made => {
            made?;
            rustix::fs::chmodat(directory, "mounts", Mode::RWXU, AtFlags::empty())?;
        }
    }
    drop(open_new(directory, LOG, OFlags::APPEND, 0o640)?);
    Ok(())
}

fn write_new(directory: BorrowedFd<'_>, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
    open_new(directory, name, OFlags::TRUNC, mode)?.write_all(bytes)
}

/// Opens a file of this mode, whatever the umask is; made if it is not there.
fn open_new(directory: BorrowedFd<'_>, name: &str, how: OFlags, mode: u32) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | how;
    let mode = Mode::from_raw_mode(mode);
    let file = rustix::fs::openat(directory, name, flags, mode)?;
    rustix::fs::fchmod(&file, mode)?;
    Ok(file.into())
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
    let open = open_directory(preliminary)?;
    for (name, text) in documents.files() {
        write_new(open.as_fd(), name, text.as_bytes(), 0o640)?;
    }
    shared(files)
        .into_iter()
        .try_for_each(|(name, bytes)| write_new(open.as_fd(), name, bytes, 0o644))
}

/// Writes the files of a sandbox again. Containers have them mounted: they are never replaced by
/// others of the same name.
pub(super) fn refresh_sandbox(directory: &Path, files: &SandboxFiles) -> io::Result<()> {
    let open = open_directory(directory)?;
    for (name, bytes) in shared(files) {
        if !fs::read(directory.join(name)).is_ok_and(|found| found == bytes) {
            write_new(open.as_fd(), name, bytes, 0o644)?;
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
