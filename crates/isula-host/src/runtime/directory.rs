//! The run directory of a container: what has to be found again by a daemon that starts anew.
//!
//! ```text
//!   STATE/<id>/            0700
//!     container            who it is: bundle, runtime, control group (written before the shim runs)
//!     shim.pid, shim.sock  written by the shim
//!     config.json, …       for and by an external runtime
//! ```

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use isula_sys::packet;
use isulad_shim::protocol;
use lcr::cgroup::Cgroup;
use serde::{Deserialize, Serialize};

const RECORD: &str = "container";
/// No file that is read here is longer.
const LIMIT: u64 = 64 << 10;

/// What the daemon notes before it starts a shim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The container's directory.
    pub bundle: PathBuf,
    /// Its runtime.
    pub runtime: String,
    /// Its control group, if this daemon knows it.
    pub cgroup: Option<Cgroup>,
}

/// A process that a run directory names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Its pid.
    pub pid: i32,
    /// Its start time, which makes sure that it is still the same.
    pub start: u64,
}

impl Named {
    /// Kills it, unless it is gone.
    pub fn kill(self) {
        self.signal(9);
    }

    /// Sends a signal; false when it is gone.
    pub fn signal(self, signal: i32) -> bool {
        // The descriptor is taken first: if the start time fits after that, it is of the right one.
        let Ok(pidfd) = isula_sys::process::open(self.pid) else { return false };
        let same = isula_sys::process::start_time(self.pid).is_ok_and(|start| start == self.start);
        same && isula_sys::process::send_signal(std::os::fd::AsFd::as_fd(&pidfd), signal).is_ok()
    }

    /// Waits for its end and collects it, if it is a child of ours.
    pub fn collect(self) {
        if let Ok(pidfd) = isula_sys::process::open(self.pid) {
            // It may have been collected before.
            let _ = isula_sys::process::wait(std::os::fd::AsFd::as_fd(&pidfd));
        }
    }

    /// Whether it is still there, be it as a zombie.
    pub fn lives(self) -> bool {
        isula_sys::process::start_time(self.pid).is_ok_and(|start| start == self.start)
    }
}

/// A run directory.
#[derive(Debug, Clone)]
pub struct RunDirectory(PathBuf);

impl RunDirectory {
    /// That of a container.
    pub fn of(state: &Path, id: &str) -> Self {
        Self(state.join(id))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it, with its record.
    pub fn create(&self, record: &Record) -> io::Result<()> {
        std::fs::DirBuilder::new().mode(0o700).create(&self.0)?;
        let bytes = postcard::to_stdvec(record).map_err(|_| io::ErrorKind::InvalidInput)?;
        let written = std::fs::write(self.0.join(RECORD), bytes);
        if written.is_err() {
            self.remove()?;
        }
        written
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.0.symlink_metadata().is_ok_and(|found| found.is_dir())
    }

    /// What was noted, if it can be read.
    pub fn record(&self) -> Option<Record> {
        postcard::from_bytes(&self.read(RECORD)?).ok()
    }

    /// The shim, and the init process if it was started.
    pub fn processes(&self) -> (Option<Named>, Option<Named>) {
        let text = self.read(protocol::FACTS).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut named = text.lines().map(|line| {
            let (pid, start) = line.split_once(' ')?;
            Some(Named { pid: pid.parse().ok()?, start: start.parse().ok()? })
        });
        (named.next().flatten(), named.next().flatten())
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        read_file(&self.0.join(name), LIMIT)
    }

    /// Connects to the shim. The path may be longer than the 108 bytes of an address.
    pub fn connect(&self) -> io::Result<OwnedFd> {
        let directory = isula_sys::files::open_directory(&self.0)?;
        let path = format!("/proc/self/fd/{}/{}", directory.as_raw_fd(), protocol::SOCKET);
        packet::connect(Path::new(&path))
    }

    /// Removes it with all that is in it; one that is not there is no error.
    pub fn remove(&self) -> io::Result<()> {
        // As a rule there is nothing else in it.
        for name in [RECORD, protocol::FACTS, protocol::SOCKET] {
            let _ = std::fs::remove_file(self.0.join(name));
        }
        match std::fs::remove_dir(&self.0).or_else(|_| std::fs::remove_dir_all(&self.0)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

/// The contents of a small file; `None` when it is not there, can't be read, or is not small.
pub fn read_file(path: &Path, limit: u64) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= limit).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_was_noted_is_found_again_and_garbage_is_not_believed() {
        let state = tempfile::tempdir().unwrap();
        let directory = RunDirectory::of(state.path(), "abc");
        assert!(!directory.exists() && directory.record().is_none());
        let record = Record { bundle: "/b".into(), runtime: "lcr".into(), cgroup: None };
        directory.create(&record).unwrap();
        let mode = directory.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let found = directory.record().unwrap();
        assert_eq!((found.bundle, found.runtime), (record.bundle, record.runtime));
        std::fs::write(directory.path().join(protocol::FACTS), "12 345\n67 890\n").unwrap();
        let named = |pid, start| Some(Named { pid, start });
        assert_eq!(directory.processes(), (named(12, 345), named(67, 890)));
        for (text, wanted) in [
            ("12 345\n", (named(12, 345), None)),
            ("", (None, None)),
            ("12\n67 890\n", (None, named(67, 890))),
            ("-\u{fffd} 3\nx", (None, None)),
        ] {
            std::fs::write(directory.path().join(protocol::FACTS), text).unwrap();
            assert_eq!(directory.processes(), wanted, "{text:?}");
        }
        std::fs::write(directory.path().join("container"), [0xff; 40]).unwrap();
        assert!(directory.record().is_none());
        directory.remove().unwrap();
        directory.remove().unwrap();
    }

    #[test]
    fn a_pid_that_was_used_again_is_left_alone() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let start = isula_sys::process::start_time(pid).unwrap();
        assert!(!Named { pid, start: start + 1 }.signal(9));
        assert!(Named { pid, start }.lives());
        assert!(Named { pid, start }.signal(9));
        assert_eq!(child.wait().unwrap().code(), None);
        assert!(!Named { pid, start }.lives());
    }
}
