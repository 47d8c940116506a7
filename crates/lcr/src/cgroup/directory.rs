//! Reading, writing, making and removing what a control group file system shows.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use isula_sys::errno::ENOENT;
use rustix::fs::{Mode, OFlags};

use super::{CgroupError, Controller, Controllers, Hierarchies, Hierarchy, Version};

/// Writes `value` in one write(2); the file must exist.
pub(super) fn write(path: &Path, value: &str) -> io::Result<()> {
    open_to_write(path)?.write_all(value.as_bytes())
}

pub(super) fn open_to_write(path: &Path) -> io::Result<File> {
    // By the system call itself: musl's open(3) is followed by a second one.
    Ok(rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?.into())
}

pub(super) fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|cause| CgroupError::io("read", path.to_owned(), cause))
}

/// The text of a file; `None` where there is no such file.
pub(super) fn read_if_present(path: &Path) -> Result<Option<String>, CgroupError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(cause) => Err(CgroupError::io("read", path.to_owned(), cause)),
    }
}

/// No such file or group; `ENODEV` is what an open file of a removed group answers.
pub(super) fn is_absent(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ENOENT) || error.raw_os_error() == Some(ENODEV)
}

const ENODEV: i32 = 19;

/// Whether the directory was made now.
pub(super) fn make(path: &Path) -> io::Result<bool> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

const MODE: u32 = 0o755;

/// Lets everyone look into a new group: a container's user reads its own limits there. The umask
/// of the process may forbid it; whether it does is found out once, in `masked`.
pub(super) fn open_up(directory: &Path, masked: &mut Option<bool>) -> Result<(), CgroupError> {
    let mut change = || {
        if masked.is_none() {
            *masked = Some(fs::metadata(directory)?.permissions().mode() & MODE != MODE);
        }
        match masked {
            Some(true) => fs::set_permissions(directory, Permissions::from_mode(MODE)),
            _ => Ok(()),
        }
    };
    change().map_err(|cause| CgroupError::io("change the mode of", directory.to_owned(), cause))
}

/// Makes `path` beneath the mount of `hierarchy` with all directories on the way to it.
pub(super) fn make_all(
    version: Version,
    hierarchy: &Hierarchy,
    path: &Path,
) -> Result<(), CgroupError> {
    let mut parents: Vec<&Path> = path.ancestors().collect();
    // The last ancestor is the empty path: the mount point itself.
    parents.pop();
    for path in parents.into_iter().rev() {
        let directory = hierarchy.mount.join(path);
        let made = make(&directory);
        if made.map_err(|cause| CgroupError::io("make", directory.clone(), cause))? {
            open_up(&directory, &mut None)?;
        }
        if version == Version::V1 && hierarchy.controllers.has(Controller::Cpuset) {
            fill_cpuset(&directory)?;
        }
    }
    Ok(())
}

/// A new group of the cpuset controller of version 1 is empty and takes no process, unless its
/// parent says that children copy it.
pub(super) fn fill_cpuset(directory: &Path) -> Result<(), CgroupError> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let path = directory.join(file);
        if !read(&path)?.trim().is_empty() {
            continue;
        }
        let Some(parent) = directory.parent() else { continue };
        let inherited = read(&parent.join(file))?;
        write(&path, inherited.trim()).map_err(|cause| CgroupError::io("write", path, cause))?;
    }
    Ok(())
}

/// What every container gets with version 2, where it is there: it is counted, if not limited.
pub(super) fn always_enabled() -> Controllers {
    [Controller::Cpu, Controller::Memory, Controller::Pids, Controller::Io].into_iter().collect()
}

/// Lets the children of `path`, and of all groups above it, use `wanted` (version 2).
///
/// # Errors
/// When one of `required` cannot be enabled; a group that holds processes cannot do so.
pub(super) fn enable(
    hierarchy: &Hierarchy,
    path: &Path,
    wanted: Controllers,
    required: Controllers,
) -> Result<(), CgroupError> {
    let mut above: Vec<&Path> = path.ancestors().collect();
    above.reverse();
    for path in above {
        let file = hierarchy.mount.join(path).join("cgroup.subtree_control");
        let enabled = Controllers::from_names(read(&file)?.split_ascii_whitespace());
        let missing = wanted.without(enabled);
        if missing.is_empty() {
            continue;
        }
        let together: Vec<_> = missing.names().map(|name| format!("+{name}")).collect();
        if write(&file, &together.join(" ")).is_ok() {
            continue;
        }
        // One that cannot be had must not keep the others away.
        for name in missing.names() {
            let enabled = write(&file, &format!("+{name}"));
            let is_required =
                required.and(Controllers::from_names([name])) != Controllers::default();
            match enabled {
                Err(cause) if is_required => {
                    return Err(CgroupError::io("enable controllers in", file, cause));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

impl Hierarchies {
    /// Makes the group that containers are put under, once for all of them. The kernel is told to
    /// set up its children: it copies processors and memory nodes (version 1), and they have the
    /// common controllers (version 2). It must hold no process itself.
    ///
    /// # Errors
    /// Names the directory that cannot be made or written to.
    pub fn prepare_parent(&self, path: &Path) -> Result<(), CgroupError> {
        let group = super::Cgroup::new(self, path)?;
        for (hierarchy, directory) in group.directories() {
            make_all(self.version, hierarchy, group.path())?;
            if self.version == Version::V2 {
                let wanted = always_enabled().and(hierarchy.controllers);
                enable(hierarchy, group.path(), wanted, Controllers::default())?;
            } else if hierarchy.controllers.has(Controller::Cpuset) {
                let path = directory.join("cgroup.clone_children");
                write(&path, "1").map_err(|cause| CgroupError::io("write", path, cause))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_needs_no_processors_in_a_new_group() {
        let mount = std::env::temp_dir().join(format!("lcr-make-all-{}", std::process::id()));
        fs::create_dir_all(&mount).unwrap();
        let controllers = Controllers::from_names(["cpuset"]);
        let hierarchy = Hierarchy { mount: mount.clone(), controllers };
        // An ordinary directory has none of the files that version 1 would fill.
        let v1 = make_all(Version::V1, &hierarchy, Path::new("a/b"));
        let v2 = make_all(Version::V2, &hierarchy, Path::new("a/b"));
        let made = mount.join("a/b").is_dir();
        fs::remove_dir_all(&mount).unwrap();
        assert!(v1.is_err() && v2.is_ok() && made);
    }
}
