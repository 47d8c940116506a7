//! The state of containers on disk: a directory each, below `--root`.
//!
//! ```text
//!   <root>/<id>/state.json   identity of the init: pid and start time
//!               plan         the plan, for the control group and the hooks
//!               config.json  the configuration that it was made from, for exec
//!               exec.fifo    there while the program waits for start
//! ```

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use isula_sys::{files, process};
use lcr::Plan;
use lcr::cgroup::{Cgroup, Controller, Version};
use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};

use super::report::Failure;

/// All containers.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
}

/// One container.
#[derive(Debug)]
pub(super) struct Container {
    /// Its identity.
    pub(super) id: String,
    directory: PathBuf,
    /// What is on disk about it.
    pub(super) record: Record,
    // Held while the container is changed; the kernel drops it with the process.
    _lock: OwnedFd,
}

/// `state.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// Of the configuration.
    pub(super) oci_version: String,
    /// The init.
    pub(super) pid: i32,
    /// When it was started, in clock ticks since boot.
    pub(super) start_time: u64,
    /// Directory of the bundle.
    pub(super) bundle: PathBuf,
    /// Directory of the root file system.
    pub(super) rootfs: PathBuf,
    /// When the container was created, RFC 3339.
    pub(super) created: String,
    /// Of the configuration.
    pub(super) annotations: std::collections::BTreeMap<String, String>,
}

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Its program waits for start.
    Created,
    /// Its program runs.
    Running,
    /// All its processes are frozen.
    Paused,
    /// Its init has ended.
    Stopped,
}

impl Status {
    /// The word of the runtime-spec.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl Store {
    /// At this directory, which need not exist.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Takes the id and makes the container's directory.
    pub(super) fn reserve(&self, id: &str) -> Result<Reserved, Failure> {
        check_id(id)?;
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700);
        builder
            .recursive(true)
            .create(&self.root)
            .map_err(|e| Failure::file("create", &self.root, e))?;
        let directory = self.root.join(id);
        match builder.recursive(false).create(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Failure::text(format!("container {id} exists already")))
            }
            Err(error) => Err(Failure::file("create", &directory, error)),
            Ok(()) => {
                let lock = lock(&directory)?;
                Ok(Reserved { id: id.to_owned(), directory, lock: Some(lock) })
            }
        }
    }

    /// Opens a container and keeps others from changing it.
    pub(super) fn open(&self, id: &str) -> Result<Container, Failure> {
        check_id(id)?;
        let missing = || Failure::text(format!("container {id} does not exist"));
        let directory = self.root.join(id);
        if !directory.is_dir() {
            return Err(missing());
        }
        let lock = lock(&directory)?;
        let path = directory.join("state.json");
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            text => text.map_err(|error| Failure::file("read", &path, error))?,
        };
        let record = serde_json::from_slice(&text)
            .map_err(|error| Failure::text(format!("cannot read {}: {error}", path.display())))?;
        Ok(Container { id: id.to_owned(), directory, record, _lock: lock })
    }

    /// Whether anything of a container is there, complete or not.
    pub(super) fn has(&self, id: &str) -> bool {
        check_id(id).is_ok() && self.root.join(id).is_dir()
    }

    /// Removes what a create that was cut short has left.
    pub(super) fn discard(&self, id: &str) -> Result<(), Failure> {
        check_id(id)?;
        let directory = self.root.join(id);
        fs::remove_dir_all(&directory).map_err(|error| Failure::file("remove", &directory, error))
    }

    /// Ids of all containers, sorted.
    pub(super) fn ids(&self) -> Result<Vec<String>, Failure> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|error| Failure::file("read", &self.root, error))?,
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut ids: Vec<String> = names.filter(|name| check_id(name).is_ok()).collect();
        ids.sort();
        Ok(ids)
    }
}

/// An id that is taken for a container that does not exist yet. What is dropped is removed.
#[derive(Debug)]
pub(super) struct Reserved {
    id: String,
    directory: PathBuf,
    lock: Option<OwnedFd>,
}

impl Reserved {
    /// Makes the FIFO that the program waits at.
    pub(super) fn make_fifo(&self) -> Result<PathBuf, Failure> {
        let path = self.directory.join("exec.fifo");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0)
            .map_err(|error| Failure::file("create", &path, error))?;
        Ok(path)
    }

    /// Writes all but the record: what is needed to clean up must be there before the process.
    pub(super) fn save_plan(&self, plan: &Plan, config: &[u8]) -> Result<(), Failure> {
        for (name, bytes) in [("plan", plan.encode()?.as_slice()), ("config.json", config)] {
            write(&self.directory.join(name), bytes)?;
        }
        Ok(())
    }

    /// The container exists from now on.
    pub(super) fn commit(mut self, record: Record) -> Result<Container, Failure> {
        let text = serde_json::to_vec(&record)
            .map_err(|error| Failure::text(format!("cannot write the state: {error}")))?;
        write(&self.directory.join("state.json"), &text)?;
        let lock = self.lock.take().ok_or_else(|| Failure::text("the state is not locked"))?;
        Ok(Container {
            id: std::mem::take(&mut self.id),
            directory: std::mem::take(&mut self.directory),
            record,
            _lock: lock,
        })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // It is told by whoever comes next: the id is still taken.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

impl Container {
    /// Its plan.
    pub(super) fn plan(&self) -> Result<Plan, Failure> {
        let path = self.directory.join("plan");
        let bytes = fs::read(&path).map_err(|error| Failure::file("read", &path, error))?;
        Ok(Plan::decode(&bytes)?)
    }

    /// The configuration that it was made from.
    pub(super) fn spec(&self) -> Result<Spec, Failure> {
        super::spec::read(&self.directory.join("config.json"))
    }

    /// The FIFO that the program waits at.
    pub(super) fn fifo(&self) -> PathBuf {
        self.directory.join("exec.fifo")
    }

    /// A descriptor of the init, if it lives.
    pub(super) fn init(&self) -> Result<Option<OwnedFd>, Failure> {
        let Ok(pidfd) = process::open(self.record.pid) else { return Ok(None) };
        // The number may belong to another process by now.
        match process::start_time(self.record.pid) {
            Ok(time) if time == self.record.start_time => {}
            _ => return Ok(None),
        }
        use std::os::fd::AsFd;
        // A zombie has ended, whoever has yet to reap it.
        let ended = process::wait_at_most(pidfd.as_fd(), Some(std::time::Duration::ZERO))
            .map_err(|error| Failure::io("look at the init process", error))?;
        Ok((!ended).then_some(pidfd))
    }

    /// What it is doing.
    pub(super) fn status(&self) -> Result<Status, Failure> {
        if self.init()?.is_none() {
            return Ok(Status::Stopped);
        }
        if is_frozen(self.plan()?.cgroup.cgroup()) {
            return Ok(Status::Paused);
        }
        Ok(if self.fifo().exists() { Status::Created } else { Status::Running })
    }

    /// Removes all that is on disk.
    pub(super) fn remove(self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.directory)
            .map_err(|error| Failure::file("remove", &self.directory, error))
    }
}

/// Whether a control group was told to freeze.
pub(super) fn is_frozen(cgroup: &Cgroup) -> bool {
    let says = |directory: Option<PathBuf>, file: &str, word: &str| {
        let text = directory.and_then(|directory| fs::read_to_string(directory.join(file)).ok());
        text.is_some_and(|text| text.trim() == word)
    };
    match cgroup.version() {
        Version::V1 => {
            let directory = cgroup.directory(Controller::Freezer);
            says(directory.clone(), "freezer.state", "FROZEN")
                || says(directory, "freezer.state", "FREEZING")
        }
        Version::V2 => {
            let directory = cgroup.directories().next().map(|(_, directory)| directory);
            says(directory, "cgroup.freeze", "1")
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    // Run state: a reboot ends the container and takes the file with it.
    files::write_atomic_unsynced(path, bytes, 0o600)
        .map_err(|error| Failure::file("write", path, error))
}

fn lock(directory: &Path) -> Result<OwnedFd, Failure> {
    let fail = |error| Failure::file("lock", directory, error);
    let file = files::open_directory(directory).map_err(fail)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| fail(error.into()))?;
    Ok(file)
}

/// An id is a name of a directory and of a control group, and nothing else.
fn check_id(id: &str) -> Result<(), Failure> {
    let fine = |letter: char| letter.is_ascii_alphanumeric() || "_+-.".contains(letter);
    if id.is_empty() || id.len() > 1024 || !id.chars().all(fine) || id.starts_with('.') {
        return Err(Failure::text(format!("invalid container id: {id:?}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_never_a_path() {
        for id in ["web", "a_b-c.d+e", "0"] {
            check_id(id).unwrap();
        }
        for id in ["", ".", "..", "../x", "a/b", "a b", "\0", "ä"] {
            check_id(id).unwrap_err();
        }
    }
}
