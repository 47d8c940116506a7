//! Mounts, volumes and memory file systems.

use std::collections::BTreeSet;

use super::super::{HostConfig, Invalid, MountKind, path};
use crate::id::Name;

/// Options of tmpfs that take a value (tmpfs(5)).
const VALUES: [&str; 7] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "huge"];
/// Mount flags that make sense for tmpfs (mount(8)).
const FLAGS: [&str; 21] = [
    "rw",
    "ro",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "sync",
    "async",
    "dirsync",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "noswap",
    "defaults",
];

/// Cleans the targets and checks everything else.
pub(super) fn verify(host: &mut HostConfig) -> Result<(), Invalid> {
    let mut targets = BTreeSet::new();
    for mount in &mut host.mounts {
        mount.target = path::mount_target("volume", &mount.target)?;
        match &mut mount.kind {
            MountKind::Bind { source, .. } => *source = path::clean("volume", source)?,
            MountKind::Volume { name, .. } => {
                Name::try_from(name.clone())
                    .map_err(|error| Invalid::value("volume", &*name, error.to_string()))?;
            }
        }
        if !targets.insert(mount.target.clone()) {
            return Err(Invalid::value("volume", &mount.target, "duplicate mount point"));
        }
    }
    for tmpfs in &mut host.tmpfs {
        tmpfs.target = path::mount_target("tmpfs", &tmpfs.target)?;
        options(&tmpfs.options)?;
        if !targets.insert(tmpfs.target.clone()) {
            return Err(Invalid::value("tmpfs", &tmpfs.target, "duplicate mount point"));
        }
    }
    Ok(())
}

fn options(options: &str) -> Result<(), Invalid> {
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let known = match option.split_once('=') {
            Some((key, value)) => VALUES.contains(&key) && is_value(value),
            None => FLAGS.contains(&option),
        };
        if !known {
            return Err(Invalid::value("tmpfs", option, "there is no such option"));
        }
    }
    Ok(())
}

fn is_value(value: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'%' || byte == b'_';
    !value.is_empty() && value.bytes().all(fits)
}
