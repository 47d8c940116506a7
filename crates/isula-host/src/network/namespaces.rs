//! Network namespaces without a process: each is kept by a bind mount of its file in `/proc` onto a
//! file of the run directory, and outlives the daemon.

use std::{
    ffi::CString,
    fs::{self, OpenOptions},
    io,
    os::{fd::AsFd, unix::ffi::OsStrExt, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
};

use isula_core::id::ContainerId;
use isula_sys::{
    mount::{self, Depth},
    namespace,
};
use rustix::io::Errno;

use super::error::NetworkError;
use crate::records::make_directory;

/// `CLONE_NEWNET` of linux/sched.h.
const NEW_NETWORK: u32 = 0x4000_0000;
/// `NSFS_MAGIC` of linux/magic.h.
const NSFS: u64 = 0x6e73_6673;
/// Stack of a thread that enters a namespace; it makes a few system calls.
const STACK: usize = 128 << 10;

/// The pinned namespaces, one file each.
#[derive(Debug)]
pub(super) struct Namespaces {
    directory: PathBuf,
}

impl Namespaces {
    pub(super) fn below(state_dir: &Path) -> Self {
        Self { directory: state_dir.join("netns") }
    }

    pub(super) fn path(&self, id: &ContainerId) -> PathBuf {
        self.directory.join(id.as_str())
    }

    /// A new namespace with its loopback device up.
    pub(super) fn make(&self, id: &ContainerId) -> Result<PathBuf, NetworkError> {
        let path = self.prepare(id)?;
        let made = in_thread(|| {
            namespace::unshare(NEW_NETWORK)?;
            namespace::loopback_up()?;
            pin(Path::new("/proc/thread-self/ns/net"), &path)
        });
        self.settle(path, made)
    }

    /// Pins a namespace that exists; its loopback device is brought up.
    pub(super) fn adopt(&self, id: &ContainerId, source: &Path) -> Result<PathBuf, NetworkError> {
        let path = self.prepare(id)?;
        let made = inside(source, namespace::loopback_up).and_then(|()| pin(source, &path));
        self.settle(path, made)
    }

    /// Unpins a namespace, whatever state a crash left it in.
    pub(super) fn remove(&self, id: &ContainerId) -> Result<(), NetworkError> {
        let path = self.path(id);
        let cannot = |error| NetworkError::io("cannot remove network namespace", &path, error);
        let target =
            CString::new(path.as_os_str().as_bytes()).map_err(|_| cannot(Errno::INVAL.into()))?;
        loop {
            match mount::detach(&target) {
                Ok(()) => {}
                Err(error) => match Errno::from_io_error(&error) {
                    // Nothing is mounted there, or nothing is there.
                    Some(Errno::INVAL | Errno::NOENT) => break,
                    _ => return Err(cannot(error)),
                },
            }
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot(error)),
            _ => Ok(()),
        }
    }

    /// The ids of all that are pinned, or were to be.
    pub(super) fn list(&self) -> Result<Vec<ContainerId>, NetworkError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                let action = "cannot list network namespaces in";
                return Err(NetworkError::io(action, &self.directory, error));
            }
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter_map(|name| ContainerId::try_from(name).ok()).collect())
    }

    /// The empty file that a namespace is to be mounted on.
    fn prepare(&self, id: &ContainerId) -> Result<PathBuf, NetworkError> {
        let path = self.path(id);
        let cannot = |error| NetworkError::io("cannot make network namespace", &path, error);
        let make = || OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path);
        let made = match make() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_directory(&self.directory, 0o711).and_then(|()| make())
            }
            other => other,
        };
        match made {
            Ok(_) => Ok(path),
            // A crash between the file and the mount left it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !is_pinned(&path) => {
                Ok(path)
            }
            Err(error) => Err(cannot(error)),
        }
    }

    fn settle(&self, path: PathBuf, made: io::Result<()>) -> Result<PathBuf, NetworkError> {
        match made {
            Ok(()) => Ok(path),
            Err(error) => {
                if !is_pinned(&path) {
                    // The next one takes over a file that stays.
                    let _ = fs::remove_file(&path);
                }
                Err(NetworkError::io("cannot make network namespace", &path, error))
            }
        }
    }
}

/// Whether a namespace is mounted there.
pub(super) fn is_pinned(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| u64::try_from(found.f_type) == Ok(NSFS))
}

/// Mounts the namespace of a file in `/proc` on an empty file.
fn pin(source: &Path, target: &Path) -> io::Result<()> {
    let source = CString::new(source.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    let copy = mount::clone(&source, Depth::One)?;
    let target = fs::File::open(target)?;
    mount::attach(copy.as_fd(), target.as_fd())
}

/// Runs `work` in a network namespace, on a thread that ends with it: no thread ever has to find
/// its way back. What the kernel binds to a namespace when it is made, such as a socket, stays
/// bound and may be handed out.
pub(super) fn inside<T: Send>(
    namespace: &Path,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let file = fs::File::open(namespace)?;
    in_thread(move || {
        namespace::join(file.as_fd(), NEW_NETWORK)?;
        work()
    })
}

fn in_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("network".to_owned()).stack_size(STACK);
        let thread = builder.spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread ended early")))
    })
}
