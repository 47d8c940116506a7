//! A cgroup for everything that is measured, and its processor time.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

/// The group; its cgroups are removed when it is dropped.
pub struct Group {
    name: String,
    /// Where the bench itself came from.
    origin: String,
}

impl Group {
    /// Makes the group in the `cpuacct` hierarchy.
    pub fn new(name: &str) -> Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let line = own.lines().find(|line| line.contains(":cpuacct:")).context(
            "the bench reads cpuacct.usage, which needs the cpuacct controller of cgroup v1",
        )?;
        let origin = line.rsplit(':').next().unwrap_or("/").to_owned();
        let group = Self { name: name.to_owned(), origin };
        fs::create_dir_all(group.path())?;
        Ok(group)
    }

    /// The name of the cgroup, for those who make their own below it.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/sys/fs/cgroup/cpuacct").join(&self.name)
    }

    /// Moves this process, and so all it starts from now on, into the group.
    pub fn join(&self) -> Result<()> {
        // A child of the group, so that the group itself can hold the containers' cgroups.
        let own = self.path().join("bench");
        fs::create_dir_all(&own)?;
        Ok(fs::write(own.join("tasks"), std::process::id().to_string())?)
    }

    /// Nanoseconds of processor time of everything below the group since it was made.
    pub fn usage(&self) -> Result<u64> {
        Ok(fs::read_to_string(self.path().join("cpuacct.usage"))?.trim().parse()?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let root =
            PathBuf::from("/sys/fs/cgroup/cpuacct").join(self.origin.trim_start_matches('/'));
        // What can't be undone here is told by the leftovers themselves.
        drop(fs::write(root.join("tasks"), std::process::id().to_string()));
        let Ok(controllers) = fs::read_dir("/sys/fs/cgroup") else { return };
        for controller in controllers.flatten() {
            let group = controller.path().join(&self.name);
            for inner in ["bench", "containers"] {
                drop(fs::remove_dir(group.join(inner)));
            }
            drop(fs::remove_dir(group));
        }
    }
}
