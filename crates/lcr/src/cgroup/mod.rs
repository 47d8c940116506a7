//! Control groups of version 1 and 2: making one, limiting it, joining it, watching it, ending
//! all that is in it.
//!
//! A [`CgroupPlan`] is compiled from `linux.resources` where there is time and JSON; it holds the
//! writes in their order, and creating the group from it takes the directories, the device rules
//! and nothing else where nothing is limited. [`Cgroup`] is the group itself.
//!
//! A process joins by itself, never by its number: writing a process number to `cgroup.procs`
//! waits for a grace period of the kernel, 7 to 11 ms on an idle machine, where a thread that
//! writes 0 to a `tasks` file of version 1 takes 0.02 ms, and a birth in a group of version 2
//! (`CLONE_INTO_CGROUP`) nothing.

mod devices;
mod directory;
mod hierarchy;
mod life;
mod plan;
mod resources;
mod stats;

use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use hierarchy::{Controller, Controllers, Hierarchies, Hierarchy, Version};
pub use plan::CgroupPlan;
pub use stats::{CpuStats, IoStats, MemoryEvents, MemoryStats, PidsStats, Stats};

/// What can go wrong with a control group.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// The machine has no control groups mounted.
    #[error("no control group file system is mounted")]
    NotMounted,
    /// A field asks for what cannot be done here.
    #[error("{field}: {why}")]
    Field {
        /// The field, as a path in `config.json`.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// A field needs a controller that this machine does not have.
    #[error("{field} needs the cgroup controller {controller}, which is not available")]
    NoController {
        /// The field, as a path in `config.json`.
        field: String,
        /// The kernel's name of the controller.
        controller: &'static str,
    },
    /// The kernel refused a value.
    #[error("cannot set {field} to {value}: {}: {}", path.display(), isula_sys::errno::describe(cause))]
    Write {
        /// The field, as a path in `config.json`.
        field: String,
        /// What was written.
        value: String,
        /// To which file.
        path: PathBuf,
        /// Why; it is in the text.
        cause: io::Error,
    },
    /// A file or directory could not be used.
    #[error("cannot {action} {}: {}", path.display(), isula_sys::errno::describe(cause))]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// Why; it is in the text.
        cause: io::Error,
    },
    /// The kernel did not get there in time.
    #[error("{} was not {what} in time", path.display())]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// Whose state it is.
        path: PathBuf,
    },
}

impl CgroupError {
    pub(crate) fn io(action: &'static str, path: PathBuf, cause: io::Error) -> Self {
        Self::Io { action, path, cause }
    }

    pub(crate) fn field(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Field { field: field.into(), why: why.into() }
    }
}

/// Who makes a control group, and removes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Maker {
    /// The runtime.
    Runtime,
    /// A service manager: it is there before the container, and goes when it is empty. Whoever else
    /// removes it keeps the manager from noticing.
    Manager,
}

/// One control group: a directory of the same path in every tree.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Cgroup {
    pub(super) hierarchies: Hierarchies,
    /// Beneath the mount points, without a leading slash; never empty.
    path: PathBuf,
    maker: Maker,
}

impl Cgroup {
    /// The group at `path`, which is taken from the roots of the trees and need not exist.
    ///
    /// # Errors
    /// When the path is empty or climbs with `..`: it would be one of the system's own groups.
    pub fn new(hierarchies: &Hierarchies, path: &Path) -> Result<Self, CgroupError> {
        let mut clean = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => clean.push(name),
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(CgroupError::field("linux.cgroupsPath", "must not climb with .."));
                }
            }
        }
        if clean.as_os_str().is_empty() {
            return Err(CgroupError::field("linux.cgroupsPath", "must not be the root"));
        }
        Ok(Self { hierarchies: hierarchies.clone(), path: clean, maker: Maker::Runtime })
    }

    /// The same, made and removed by somebody else.
    #[must_use]
    pub fn made_by(self, maker: Maker) -> Self {
        Self { maker, ..self }
    }

    /// Who makes and removes it.
    #[must_use]
    pub const fn maker(&self) -> Maker {
        self.maker
    }

    /// Whether it is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.main_directory().is_some_and(|directory| directory.is_dir())
    }

    /// Its path beneath the roots of the trees, without a leading slash.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which version it is of.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.hierarchies.version()
    }

    /// The trees with the directory of this group in each.
    pub fn directories(&self) -> impl Iterator<Item = (&Hierarchy, PathBuf)> {
        self.hierarchies.list.iter().map(|one| (one, one.mount.join(&self.path)))
    }

    /// The directory that has the files of `controller`.
    #[must_use]
    pub fn directory(&self, controller: Controller) -> Option<PathBuf> {
        let mut all = self.directories();
        all.find(|(one, _)| one.controllers.has(controller)).map(|(_, directory)| directory)
    }

    /// The only directory of version 2; with version 1 the one that serves to list processes.
    fn main_directory(&self) -> Option<PathBuf> {
        use Controller::{Devices, Freezer, Memory, Pids};
        let preferred = [Pids, Freezer, Devices, Memory];
        let found = preferred.into_iter().find_map(|one| self.directory(one));
        found.or_else(|| self.directories().next().map(|(_, directory)| directory))
    }
}

#[cfg(test)]
mod tests;
