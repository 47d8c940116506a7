//! Idmapped mounts: files seen with other owners (`mount_setattr(2)`, `MOUNT_ATTR_IDMAP`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use isula_sys::mount::{self, Depth};
use isula_sys::{namespace, process, signal::Signal};
use rustix::fs::{Mode, OFlags};

use crate::channel::Channel;
use crate::plan::{IdMap, IdMapping, NamespaceKind, Plan};

/// Maps the owners of a detached tree.
pub(crate) fn apply(plan: &Plan, map: &IdMap, tree: BorrowedFd<'_>) -> io::Result<()> {
    let userns = if map.uid_mappings.is_empty() {
        of_container(plan)?
    } else {
        user_namespace(&map.uid_mappings, &map.gid_mappings)?
    };
    let depth = if map.recursive { Depth::Tree } else { Depth::One };
    mount::set_idmap(tree, depth, userns.as_fd())
}

fn of_container(plan: &Plan) -> io::Result<OwnedFd> {
    if let Some(path) = plan.namespaces.joined(NamespaceKind::User) {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        return Ok(rustix::fs::open(path, flags, Mode::empty())?);
    }
    user_namespace(&plan.namespaces.uid_mappings, &plan.namespaces.gid_mappings)
}

/// A user namespace with these mappings, held by its descriptor alone.
fn user_namespace(uids: &[IdMapping], gids: &[IdMapping]) -> io::Result<OwnedFd> {
    let (child, parent) = Channel::pair()?;
    let request =
        process::Spawn { namespaces: NamespaceKind::User.bit(), ..process::Spawn::default() };
    let holder = process::spawn(request, || {
        let _ = child.wait();
        0
    })?;
    let opened = namespace::map_ids(holder.pid, &lines(uids), &lines(gids)).and_then(|()| {
        let path = format!("/proc/{}/ns/user", holder.pid);
        Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    });
    drop(parent);
    process::send_signal(holder.pidfd.as_fd(), Signal::KILL.number())?;
    process::wait(holder.pidfd.as_fd())?;
    opened
}

/// Mappings as `/proc/PID/uid_map` takes them.
pub(crate) fn lines(mappings: &[IdMapping]) -> String {
    mappings.iter().map(|one| format!("{} {} {}\n", one.container, one.host, one.size)).collect()
}
