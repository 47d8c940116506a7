//! The control groups of a container: one in each tree of version 1, or one of version 2.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use lcr::cgroup::{Hierarchies, Version};
use rustix::fs::{Mode, OFlags};

/// Every device that a container may use, as Docker has them.
const DEVICES: [&str; 10] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// Where the trees are mounted.
pub struct Trees {
    mounts: Vec<PathBuf>,
    version: Version,
}

/// Finds them.
pub fn trees() -> io::Result<Trees> {
    let found = Hierarchies::detect().map_err(io::Error::other)?;
    let mounts = found.list().iter().map(|tree| tree.mount.clone()).collect();
    Ok(Trees { mounts, version: found.version() })
}

/// The groups of one container.
pub struct Groups {
    paths: Vec<PathBuf>,
    version: Version,
}

impl Groups {
    /// Makes a group at `path` in every tree.
    pub fn make(trees: &Trees, path: &Path) -> io::Result<Self> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        let paths: Vec<PathBuf> = trees.mounts.iter().map(|mount| mount.join(relative)).collect();
        for path in &paths {
            if fs::create_dir(path).is_err() {
                fs::create_dir_all(path)?;
            }
            if path.join("cpuset.cpus").exists() && trees.version == Version::V1 {
                inherit(path)?;
            }
            if path.join("devices.deny").exists() {
                fs::write(path.join("devices.deny"), "a")?;
                for rule in DEVICES {
                    fs::write(path.join("devices.allow"), rule)?;
                }
            }
        }
        Ok(Self { paths, version: trees.version })
    }

    /// The group to be born in, where that is possible.
    pub fn birth(&self) -> io::Result<Option<OwnedFd>> {
        let (Version::V2, Some(path)) = (self.version, self.paths.first()) else {
            return Ok(None);
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Some(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Joins them, where birth was not possible. A process that moves itself waits for nobody.
    pub fn join(&self) -> io::Result<()> {
        if self.version == Version::V1 {
            for path in &self.paths {
                fs::write(path.join("tasks"), "0")?;
            }
        }
        Ok(())
    }

    /// The directories, which the container sees.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Removes them.
    pub fn remove(&self) -> io::Result<()> {
        self.paths.iter().try_for_each(fs::remove_dir)
    }
}

/// A new group of `cpuset` has no processor and no memory until it is given some.
fn inherit(group: &Path) -> io::Result<()> {
    let Some(parent) = group.parent() else { return Ok(()) };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if fs::read_to_string(group.join(file))?.trim().is_empty() {
            if fs::read_to_string(parent.join(file))?.trim().is_empty() {
                inherit(parent)?;
            }
            fs::write(group.join(file), fs::read_to_string(parent.join(file))?.trim())?;
        }
    }
    Ok(())
}
