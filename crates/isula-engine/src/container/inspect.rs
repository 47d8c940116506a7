//! `inspect`: the facts of one container.

use std::{path::PathBuf, sync::Arc};

use isula_core::{
    container::{Container, MountKind, Source},
    id::Name,
    image::Image,
    ports::Rootfs,
};

use crate::{Engine, Result};

/// The facts of one container; how they are written is the edge's business.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The record.
    pub container: Arc<Container>,
    /// Docker's name of the state, `restarting` among them.
    pub state: &'static str,
    /// `DATA/engines/<runtime>/<id>`.
    pub directory: PathBuf,
    /// Its image, if it still is in the store.
    pub image: Option<Arc<Image>>,
    /// Where its root file system comes from, if that is intact.
    pub rootfs: Option<Rootfs>,
    /// Volumes it uses: name and directory on the host.
    pub volumes: Vec<(String, PathBuf)>,
}

impl Engine {
    /// Everything about one container.
    ///
    /// # Errors
    /// There is no such container.
    pub async fn inspect(&self, query: &str) -> Result<Inspection> {
        let seen = self.index.find(query)?.seen();
        let state = seen.state_name();
        let container = seen.container;
        let Container { id, host, source, .. } = &*container;
        let directory = self.ports.records.directory(id, &host.runtime);
        let (image, rootfs) = match source {
            Source::Image { id: image, .. } => (
                self.ports.images.get(image),
                self.ports.snapshots.rootfs(id, image, host.auto_remove).ok(),
            ),
            Source::Directory(path) => (None, Some(Rootfs::Directory(PathBuf::from(path)))),
        };
        let volumes = host
            .mounts
            .iter()
            .filter_map(|mount| match &mount.kind {
                MountKind::Volume { name, .. } => {
                    let path = self.ports.volumes.path(&Name::try_from(name.clone()).ok()?);
                    Some((name.clone(), path))
                }
                MountKind::Bind { .. } => None,
            })
            .collect();
        Ok(Inspection { container, state, directory, image, rootfs, volumes })
    }
}
