//! A cgroup for everything that is measured, and its processor time.

use std::{
    fs, io,
    os::{fd::AsFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

/// Where the hierarchies of version 1 are.
const ROOT: &str = "/sys/fs/cgroup";
/// The flag of the process that cleans up when the bench was killed.
pub const SWEEP: &str = "--sweep-after";

/// The group of all engines; its cgroups are removed when it is dropped.
pub struct Group {
    name: String,
    /// Where the bench itself came from.
    origin: PathBuf,
}

impl Group {
    /// Makes the group in the `cpuacct` hierarchy, a directory for all engines, and a process that
    /// removes both when this one is gone, however it ended.
    pub fn new() -> Result<Self> {
        let pid = std::process::id();
        let name = name(pid);
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let line = own.lines().find(|line| line.contains(":cpuacct:")).context(
            "the bench reads cpuacct.usage, which needs the cpuacct controller of cgroup v1",
        )?;
        let origin = line.rsplit(':').next().unwrap_or("/").trim_start_matches('/');
        let origin = PathBuf::from(ROOT).join("cpuacct").join(origin);
        let group = Self { name, origin };
        fs::create_dir_all(PathBuf::from(ROOT).join("cpuacct").join(&group.name))?;
        fs::create_dir(group.directory())?;
        Command::new(std::env::current_exe()?)
            .args([SWEEP, &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // What a terminal sends to all of its processes is not meant for this one.
            .process_group(0)
            .spawn()?;
        Ok(group)
    }

    /// Where the engines keep their data.
    pub fn directory(&self) -> PathBuf {
        std::env::temp_dir().join(&self.name)
    }

    /// The cgroup of one engine.
    pub fn engine(&self, engine: &str) -> Result<Account> {
        let name = format!("{}/{engine}", self.name);
        let path = PathBuf::from(ROOT).join("cpuacct").join(&name);
        fs::create_dir_all(path.join("clients"))?;
        Ok(Account { containers: format!("/{name}/containers"), path, beside: None })
    }

    /// The cgroup of an engine that puts its containers below one at the root, and lets nobody
    /// choose but its last name.
    pub fn engine_beside(&self, engine: &str) -> Result<Account> {
        let containers = format!("{}-{engine}", self.name);
        let beside = PathBuf::from(ROOT).join("cpuacct").join(&containers);
        fs::create_dir_all(&beside)?;
        let account = self.engine(engine)?;
        Ok(Account { containers: format!("/{containers}"), beside: Some(beside), ..account })
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
        remove_all(&self.name);
    }
}

fn name(pid: u32) -> String {
    format!("isula-bench.{pid}")
}

/// Waits until the bench with this pid has ended, and removes what it left.
pub fn sweep_after(pid: &str) -> Result<()> {
    let pid: u32 = pid.parse()?;
    // When it cannot be opened it has ended already.
    if let Ok(bench) = isula_sys::process::open(i32::try_from(pid)?) {
        isula_sys::process::wait_at_most(bench.as_fd(), None)?;
    }
    remove_all(&name(pid));
    Ok(())
}

/// Removes the cgroups of this name with the processes in them, and the directory.
fn remove_all(name: &str) {
    let groups = || {
        let controllers = fs::read_dir(ROOT).into_iter().flatten().flatten();
        controllers.flat_map(move |controller| {
            let groups = fs::read_dir(controller.path()).into_iter().flatten().flatten();
            groups.map(|group| group.path()).filter(move |group| {
                let found = group.file_name().unwrap_or_default().to_string_lossy().into_owned();
                found == name || found.starts_with(&format!("{name}-"))
            })
        })
    };
    for pid in groups().flat_map(|group| processes(&group).unwrap_or_default()) {
        let Ok(process) = i32::try_from(pid)
            .map_err(drop)
            .and_then(|pid| isula_sys::process::open(pid).map_err(drop))
        else {
            continue;
        };
        drop(isula_sys::process::send_signal(process.as_fd(), 9));
        let limit = Some(std::time::Duration::from_secs(10));
        drop(isula_sys::process::wait_at_most(process.as_fd(), limit));
    }
    groups().for_each(|group| remove(&group));
    drop(fs::remove_dir_all(std::env::temp_dir().join(name)));
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
    path: PathBuf,
    /// The cgroup of its containers, from the roots of the hierarchies.
    containers: String,
    /// Where that is not below `path`, its directory.
    beside: Option<PathBuf>,
}

impl Account {
    /// The cgroup that containers are to be made below, from the roots of the hierarchies.
    pub fn containers(&self) -> String {
        self.containers.clone()
    }

    /// That cgroup's directory in the `cpuacct` hierarchy.
    pub fn directory(&self) -> PathBuf {
        PathBuf::from(ROOT).join("cpuacct").join(self.containers.trim_start_matches('/'))
    }

    /// Moves this process, and so all it starts from now on, into the group.
    pub fn join(&self) -> Result<()> {
        Ok(fs::write(self.path.join("clients/tasks"), "0")?)
    }

    /// Nanoseconds of processor time of everything below the group since it was made.
    pub fn usage(&self) -> Result<u64> {
        let mut sum = 0;
        for path in [&self.path].into_iter().chain(&self.beside) {
            let text = fs::read_to_string(path.join("cpuacct.usage"))?;
            sum += text.trim().parse::<u64>()?;
        }
        Ok(sum)
    }

    /// Processes of containers: those below the group that have a pid namespace of their own.
    pub fn contained(&self) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        let mut all = processes(&self.path)?;
        if let Some(beside) = &self.beside {
            all.extend(processes(beside)?);
        }
        for pid in all {
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
