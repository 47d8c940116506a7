//! Paths that are hidden from the container, or made read-only.

use std::os::fd::{AsFd, OwnedFd};

use isula_sys::mount::{self, Depth, Filesystem};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::sources;
use crate::error::{OrFail as _, StartError, Step};
use crate::plan::{Attributes, Plan};
use crate::root::Root;

/// Hides what `linux.maskedPaths` names: a file behind the host's `/dev/null`, a directory behind
/// an empty read-only tmpfs. One mount of each is attached first and copied for the other paths.
pub(crate) fn mask(plan: &Plan, root: &Root, null: &OwnedFd) -> Result<(), StartError> {
    let mut null_attached = false;
    let mut empty: Option<OwnedFd> = None;
    for path in &plan.masked_paths {
        let Some(target) = existing(root, path, Step::Mask)? else { continue };
        let found = rustix::fs::fstat(&target).or_fail(Step::Mask, path)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            let cover = match &empty {
                Some(first) => mount::clone_of(first.as_fd(), Depth::One),
                None => empty_directory(plan),
            }
            .or_fail(Step::Mask, path)?;
            mount::attach(cover.as_fd(), target.as_fd()).or_fail(Step::Mask, path)?;
            empty.get_or_insert(cover);
        } else if null_attached {
            let cover = mount::clone_of(null.as_fd(), Depth::One).or_fail(Step::Mask, path)?;
            mount::attach(cover.as_fd(), target.as_fd()).or_fail(Step::Mask, path)?;
        } else {
            mount::attach(null.as_fd(), target.as_fd()).or_fail(Step::Mask, path)?;
            null_attached = true;
        }
    }
    Ok(())
}

fn empty_directory(plan: &Plan) -> std::io::Result<OwnedFd> {
    let tmpfs = Filesystem::open("tmpfs")?;
    tmpfs.set("source", "tmpfs")?;
    tmpfs.set("mode", "755")?;
    tmpfs.set("nr_inodes", "1")?;
    tmpfs.set("nr_blocks", "1")?;
    if let Some(label) = &plan.mount_label {
        tmpfs.set("context", label)?;
    }
    tmpfs.set_flag("ro")?;
    tmpfs.mount(mount::RDONLY | mount::NOSUID | mount::NODEV | mount::NOEXEC)
}

/// Makes what `linux.readonlyPaths` names read-only, with all mounts below it as they are.
pub(crate) fn readonly(plan: &Plan, root: &Root) -> Result<(), StartError> {
    for path in &plan.readonly_paths {
        let Some(target) = existing(root, path, Step::ReadonlyPath)? else { continue };
        let set = || {
            let tree = mount::clone_of(target.as_fd(), Depth::Tree)?;
            let readonly = Attributes { set: mount::RDONLY, ..Attributes::default() };
            sources::set_attributes(tree.as_fd(), readonly)?;
            mount::attach(tree.as_fd(), target.as_fd())?;
            sources::late_attributes(|| root.open(path, OFlags::PATH), readonly)
        };
        set().or_fail(Step::ReadonlyPath, path)?;
    }
    Ok(())
}

/// What is there; a path that does not exist needs no protection.
fn existing(root: &Root, path: &str, step: Step) -> Result<Option<OwnedFd>, StartError> {
    match root.open(path, OFlags::PATH) {
        Ok(target) => Ok(Some(target)),
        Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            _ => Err(StartError::new(step, error, path)),
        },
    }
}
