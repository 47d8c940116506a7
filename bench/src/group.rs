//! A cgroup for everything that is measured, and its processor time.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Where the hierarchies of version 1 are.
const ROOT: &str = "/sys/fs/cgroup";

/// The group of all engines; its cgroups are removed when it is dropped.
pub struct Group {
    name: String,
    /// Where the bench itself came from.
    origin: PathBuf,
}

impl Group {
    /// Makes the group in the `cpuacct` hierarchy.
    pub fn new(name: &str) -> Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let line = own.lines().find(|line| line.contains(":cpuacct:")).context(
            "the bench reads cpuacct.usage, which needs the cpuacct controller of cgroup v1",
        )?;
        let origin = line.rsplit(':').next().unwrap_or("/").trim_start_matches('/');
        let origin = PathBuf::from(ROOT).join("cpuacct").join(origin);
        let group = Self { name: name.to_owned(), origin };
        fs::create_dir_all(PathBuf::from(ROOT).join("cpuacct").join(name))?;
        Ok(group)
    }

    /// The cgroup of one engine.
    pub fn engine(&self, engine: &str) -> Result<Account> {
        let name = format!("{}/{engine}", self.name);
        let path = PathBuf::from(ROOT).join("cpuacct").join(&name);
        fs::create_dir_all(path.join("clients"))?;
        Ok(Account { name, path })
    }

    /// Moves this process, and so all it starts from now on, to where it came from.
    pub fn leave(&self) -> Result<()> {
        Ok(fs::write(self.origin.join("tasks"), "0")?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What can't be undone here is told by the leftovers themselves.
        drop(self.leave());
        let Ok(controllers) = fs::read_dir(ROOT) else { return };
        for controller in controllers.flatten() {
            remove(&controller.path().join(&self.name));
        }
    }
}

/// Removes a cgroup with all below it.
fn remove(group: &Path) {
    let Ok(entries) = fs::read_dir(group) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    drop(fs::remove_dir(group));
}

/// The cgroup of one engine: its daemons, clients, helpers and containers.
#[derive(Clone)]
pub struct Account {
    name: String,
    path: PathBuf,
}

impl Account {
    /// The cgroup that containers are to be made below, from the roots of the hierarchies.
    pub fn containers(&self) -> String {
        format!("/{}/containers", self.name)
    }

    /// That cgroup's directory in the `cpuacct` hierarchy.
    pub fn directory(&self) -> PathBuf {
        self.path.join("containers")
    }

    /// Moves this process, and so all it starts from now on, into the group.
    pub fn join(&self) -> Result<()> {
        Ok(fs::write(self.path.join("clients/tasks"), "0")?)
    }

    /// Nanoseconds of processor time of everything below the group since it was made.
    pub fn usage(&self) -> Result<u64> {
        Ok(fs::read_to_string(self.path.join("cpuacct.usage"))?.trim().parse()?)
    }

    /// Processes of containers: those below the group that have a pid namespace of their own.
    pub fn contained(&self) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        for pid in processes(&self.path)? {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let inner = status.lines().find(|line| line.starts_with("NSpid:"));
            if inner.is_some_and(|line| line.split_whitespace().count() > 2) {
                found.push(pid);
            }
        }
        Ok(found)
    }
}

/// All processes of a cgroup and of those below it.
pub fn processes(group: &Path) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    let mut waiting = vec![group.to_owned()];
    while let Some(group) = waiting.pop() {
        match fs::read_to_string(group.join("cgroup.procs")) {
            Ok(text) => found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok())),
            // It was removed meanwhile (ENODEV when it was open).
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if error.raw_os_error() == Some(19) => continue,
            Err(error) => return Err(error.into()),
        }
        for entry in fs::read_dir(&group).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
        }
    }
    Ok(found)
}
