//! What images and the writable layers of containers use.

use isula_core::{container::Source, error::chain, sandbox::FilesystemUsage};

use crate::Engine;

/// What the storage holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The layers of images.
    pub images: FilesystemUsage,
    /// The writable layers of all containers together.
    pub containers: FilesystemUsage,
}

impl Engine {
    /// What images and containers use now. A layer that can't be measured counts nothing.
    pub async fn storage(&self) -> Storage {
        let images = self.ports.images.usage();
        let mountpoint = images.mountpoint.clone();
        let mut containers = FilesystemUsage { mountpoint, ..FilesystemUsage::default() };
        for slot in self.index.slots() {
            let container = slot.container();
            let Source::Image { .. } = container.source else { continue };
            let work = self.ports.snapshots.usage(&slot.id);
            match self.port(&container, "measure its writable layer", work).await {
                Ok(usage) => {
                    containers.bytes = containers.bytes.saturating_add(usage.bytes);
                    containers.inodes = containers.inodes.saturating_add(usage.inodes);
                }
                // It may have been removed just now.
                Err(error) => tracing::debug!("{}", chain(&error)),
            }
        }
        Storage { images, containers }
    }
}
