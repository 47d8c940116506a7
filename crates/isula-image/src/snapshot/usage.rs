//! What a writable layer uses.

use std::io;

use isula_core::{id::ContainerId, ports::Result, sandbox::FilesystemUsage};
use isula_sys::beneath::{Beneath, tree};

use super::no_snapshot;
use crate::store::{Shared, files};

impl Shared {
    pub(super) fn usage(&self, id: &ContainerId) -> Result<FilesystemUsage> {
        let upper = self.layout.snapshot(id).join("diff");
        let mountpoint = self.layout.root().to_string_lossy().into_owned();
        // The container changes it meanwhile: links are not followed, what is gone not counted.
        match Beneath::open(&upper).and_then(|root| tree::measure(&root)) {
            Ok(size) => Ok(FilesystemUsage { mountpoint, bytes: size.bytes, inodes: size.entries }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(no_snapshot(id)),
            Err(error) => Err(files::cannot("measure", &upper, error)),
        }
    }
}
