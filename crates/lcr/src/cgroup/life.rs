//! Joining a control group, stopping and ending what is in it, and removing it.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};

use super::directory;
use super::{Cgroup, CgroupError, Controller, Maker, Version};

/// How long the kernel may take to stop processes, or to be done with those that have ended.
const PATIENCE: Duration = Duration::from_secs(2);
/// Version 1 tells no one when it is done, so it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(2);
/// Groups within groups; no container nests deeper.
const DEPTH: usize = 32;

impl Cgroup {
    /// Moves the calling process, which has a single thread, into the group.
    ///
    /// # Errors
    /// Names the file.
    pub fn join_self(&self) -> Result<(), CgroupError> {
        let file = match self.version() {
            Version::V1 => "tasks",
            Version::V2 => "cgroup.procs",
        };
        for (_, directory) in self.directories() {
            let path = directory.join(file);
            // 0 is the writer itself.
            directory::write(&path, "0").map_err(|cause| CgroupError::io("join", path, cause))?;
        }
        Ok(())
    }

    /// The directory for `CLONE_INTO_CGROUP`, close-on-exec; `None` with version 1, where a
    /// process joins by itself.
    ///
    /// # Errors
    /// Names the directory.
    pub fn open_into(&self) -> Result<Option<OwnedFd>, CgroupError> {
        if self.version() == Version::V1 {
            return Ok(None);
        }
        let Some((_, directory)) = self.directories().next() else { return Ok(None) };
        match File::open(&directory) {
            Ok(file) => Ok(Some(file.into())),
            Err(cause) => Err(CgroupError::io("open", directory, cause)),
        }
    }

    /// The processes in the group and in those below it; none if there is no such group.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        let mut pids = Vec::new();
        if let Some(directory) = self.main_directory() {
            for directory in tree(&directory)? {
                let listed = directory::read_if_present(&directory.join("cgroup.procs"))?;
                let listed = listed.unwrap_or_default();
                pids.extend(listed.lines().filter_map(|line| line.parse::<i32>().ok()));
            }
        }
        pids.retain(|pid| *pid > 0);
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Sends SIGKILL to every process in the group and below it. It does not wait for their end.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn kill(&self) -> Result<(), CgroupError> {
        if self.version() == Version::V2
            && let Some((_, directory)) = self.directories().next()
        {
            // Since Linux 5.14.
            let path = directory.join("cgroup.kill");
            match directory::write(&path, "1") {
                Ok(()) => return Ok(()),
                Err(error) if directory::is_absent(&error) && !directory.exists() => return Ok(()),
                Err(error) if directory::is_absent(&error) => {}
                Err(cause) => return Err(CgroupError::io("write", path, cause)),
            }
        }
        // Frozen, no process can start another that the list does not have. One that does not
        // freeze, or a machine that cannot, is no reason to let the others live.
        let frozen = self.freeze();
        let signalled = self.pids().map(|pids| {
            for pid in pids.into_iter().filter_map(Pid::from_raw) {
                // It may have ended by now.
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        });
        // What was signalled ends once it runs again, so that has to be done in any case.
        let thawed = self.thaw();
        signalled?;
        match (frozen, thawed) {
            (Err(error @ CgroupError::Io { .. }), _) | (_, Err(error @ CgroupError::Io { .. }))
                if !Self::is_gone(&error) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Whether an error is only that there is no such group.
    fn is_gone(error: &CgroupError) -> bool {
        matches!(error, CgroupError::Io { cause, .. } if directory::is_absent(cause))
    }

    /// Stops every process in the group and waits until they stand still.
    ///
    /// # Errors
    /// Names the file that cannot be used; `TimedOut` when a process in the kernel does not stop,
    /// and then the group is left freezing.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        match self.version() {
            Version::V1 => self.freeze_v1(),
            Version::V2 => self.freeze_v2("1", true),
        }
    }

    /// Lets the processes of the group run again.
    ///
    /// # Errors
    /// As [`Cgroup::freeze`].
    pub fn thaw(&self) -> Result<(), CgroupError> {
        match self.version() {
            Version::V1 => self.write_state("THAWED").map(drop),
            Version::V2 => self.freeze_v2("0", false),
        }
    }

    /// Removes the group and all below it. It waits for processes that have been killed; what
    /// does not exist is removed already, and what somebody else makes is left to them.
    ///
    /// # Errors
    /// Names the directory that is still in use.
    pub fn remove(&self) -> Result<(), CgroupError> {
        if self.maker() == Maker::Manager {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        let mut result = Ok(());
        for (_, directory) in self.directories() {
            // One that cannot be removed must not keep the others.
            let removed = remove_tree(&directory, self.version(), deadline);
            result = result.and(removed);
        }
        result
    }

    fn write_state(&self, state: &str) -> Result<PathBuf, CgroupError> {
        let controller = Controller::Freezer;
        let directory = self.directory(controller).ok_or_else(|| CgroupError::NoController {
            field: "pausing".to_owned(),
            controller: controller.name(),
        })?;
        let path = directory.join("freezer.state");
        match directory::write(&path, state) {
            Ok(()) => Ok(path),
            Err(cause) => Err(CgroupError::io("write", path, cause)),
        }
    }

    fn freeze_v1(&self) -> Result<(), CgroupError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Written again each time, as it must be for processes that came in the meantime.
            let path = self.write_state("FROZEN")?;
            if directory::read(&path)?.trim() == "FROZEN" {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(CgroupError::TimedOut { what: "frozen", path });
            }
            std::thread::sleep(ASK_AGAIN);
        }
    }

    fn freeze_v2(&self, value: &str, frozen: bool) -> Result<(), CgroupError> {
        let Some((_, directory)) = self.directories().next() else { return Ok(()) };
        let path = directory.join("cgroup.freeze");
        directory::write(&path, value).map_err(|cause| CgroupError::io("write", path, cause))?;
        let wanted = if frozen { "frozen 1" } else { "frozen 0" };
        let what = if frozen { "frozen" } else { "thawed" };
        wait_for_event(&directory, wanted, what, Instant::now() + PATIENCE)
    }
}

/// Waits until a line of `cgroup.events` is `wanted`: the kernel wakes who polls that file.
fn wait_for_event(
    directory: &Path,
    wanted: &str,
    what: &'static str,
    deadline: Instant,
) -> Result<(), CgroupError> {
    let path = directory.join("cgroup.events");
    let wait = || -> io::Result<bool> {
        let mut file = File::open(&path)?;
        let mut events = String::new();
        loop {
            events.clear();
            file.rewind()?;
            file.read_to_string(&mut events)?;
            if events.lines().any(|line| line == wanted) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            let mut polled = [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::PRI)];
            match rustix::event::poll(&mut polled, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    };
    match wait() {
        Ok(true) => Ok(()),
        Ok(false) => Err(CgroupError::TimedOut { what, path: directory.to_owned() }),
        Err(cause) => Err(CgroupError::io("watch", path, cause)),
    }
}

/// `directory` and the groups below it, the deepest last; nothing if it does not exist.
fn tree(directory: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let mut found = vec![directory.to_owned()];
    let mut level = found.clone();
    for _ in 0..DEPTH {
        let mut below = Vec::new();
        for directory in &level {
            let entries = match fs::read_dir(directory) {
                Ok(entries) => entries,
                Err(error) if directory::is_absent(&error) => continue,
                Err(cause) => return Err(CgroupError::io("read", directory.clone(), cause)),
            };
            let entries = entries.filter_map(Result::ok);
            let groups = entries.filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir()));
            below.extend(groups.map(|entry| entry.path()));
        }
        if below.is_empty() {
            break;
        }
        found.extend(below.iter().cloned());
        level = below;
    }
    Ok(found)
}

fn remove_tree(directory: &Path, version: Version, deadline: Instant) -> Result<(), CgroupError> {
    loop {
        let error = match fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if directory::is_absent(&error) => return Ok(()),
            Err(error) => error,
        };
        // What is below it may be all that is in the way.
        let below = tree(directory)?;
        let removed = below.iter().skip(1).rev().filter(|it| fs::remove_dir(it).is_ok()).count();
        if removed > 0 {
            continue;
        }
        if error.kind() != io::ErrorKind::ResourceBusy || Instant::now() >= deadline {
            return Err(CgroupError::io("remove", directory.to_owned(), error));
        }
        match version {
            Version::V1 => std::thread::sleep(ASK_AGAIN),
            Version::V2 => {
                let empty = wait_for_event(directory, "populated 0", "empty", deadline);
                if matches!(empty, Err(CgroupError::TimedOut { .. })) {
                    return empty;
                }
                // Empty, and not yet let go of: nothing tells when.
                std::thread::sleep(ASK_AGAIN);
            }
        }
    }
}
