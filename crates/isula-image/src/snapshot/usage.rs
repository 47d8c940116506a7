//! What a writable layer uses: a walk that follows no link and enters no other file system.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use isula_core::{id::ContainerId, ports::Result, sandbox::FilesystemUsage};

use super::no_snapshot;
use crate::store::{Shared, files};

/// Unit of `st_blocks` (stat(2)).
const BLOCK: u64 = 512;

impl Shared {
    pub(super) fn usage(&self, id: &ContainerId) -> Result<FilesystemUsage> {
        let upper = self.layout.snapshot(id).join("diff");
        let mountpoint = self.layout.snapshots().to_string_lossy().into_owned();
        let mut usage = FilesystemUsage { mountpoint, bytes: 0, inodes: 0 };
        match add(&upper, &mut usage) {
            Ok(()) => Ok(usage),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(no_snapshot(id)),
            Err(error) => Err(files::cannot("measure", &upper, error)),
        }
    }
}

fn add(top: &Path, usage: &mut FilesystemUsage) -> io::Result<()> {
    let root = fs::symlink_metadata(top)?;
    let mut count = |metadata: &fs::Metadata| {
        usage.bytes += metadata.blocks() * BLOCK;
        usage.inodes += 1;
    };
    count(&root);
    // The container changes it meanwhile: what is gone is not counted.
    let mut directories = vec![top.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            count(&metadata);
            if metadata.is_dir() && metadata.dev() == root.dev() {
                directories.push(entry.path());
            }
        }
    }
    Ok(())
}
