//! What is stored: archives of images and of root file systems, usage, soundness.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use isula_core::{
    container::{Container, MountKind, Source},
    error::ErrorKind,
    event::ImageAction,
    image::{Digest, Image, ImageId},
    ports::{
        ByteStream, Change, CheckResult, CheckSink, Credentials, ImageFormat, ProgressSink,
        RemovedImage, Rootfs, StoredLayer, Volume,
    },
};

use crate::{Engine, Result, launch::cannot};

/// How much room an image takes.
#[derive(Debug, Clone)]
pub struct ImageUsage {
    /// The image.
    pub image: Arc<Image>,
    /// Bytes of layers that other images have too.
    pub shared: u64,
    /// Containers made from it.
    pub containers: usize,
}

/// How much room a container takes.
#[derive(Debug, Clone)]
pub struct ContainerUsage {
    /// The container.
    pub container: Arc<Container>,
    /// Docker's name of its state.
    pub state: &'static str,
    /// Bytes of its writable layer.
    pub size: u64,
}

/// How much room a volume takes.
#[derive(Debug, Clone)]
pub struct VolumeUsage {
    /// The volume.
    pub volume: Volume,
    /// Bytes of its files.
    pub size: u64,
    /// Containers that mount it.
    pub containers: usize,
}

/// How much room everything takes.
#[derive(Debug, Clone, Default)]
pub struct DiskUsage {
    /// Images, newest first.
    pub images: Vec<ImageUsage>,
    /// Containers.
    pub containers: Vec<ContainerUsage>,
    /// Volumes, by name.
    pub volumes: Vec<VolumeUsage>,
    /// Bytes of all layers, each once.
    pub layers: u64,
    /// Bytes of layers that no image needs that a container was made from.
    pub reclaimable: u64,
}

/// What a removal of unused images came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// What was done, in order.
    pub steps: Vec<RemovedImage>,
    /// Bytes of the layers that nothing needs any more.
    pub reclaimed: u64,
}

impl Engine {
    /// An archive of images. Dropping the stream ends it.
    ///
    /// # Errors
    /// Those of [`isula_core::ports::Images::save`].
    pub fn save(
        &self,
        queries: &[String],
        format: ImageFormat,
        progress: ProgressSink,
    ) -> Result<ByteStream> {
        let archive = self.ports.images.save(queries, format, progress)?;
        queries.iter().for_each(|query| self.publish_image(query.clone(), ImageAction::Save));
        Ok(archive)
    }

    /// The root file system of a container as a tar. Dropping the stream ends it.
    ///
    /// # Errors
    /// There is no such container, or its root file system can't be read.
    pub fn export(&self, query: &str) -> Result<ByteStream> {
        let (container, rootfs) = self.rootfs_of(query)?;
        let archive = self.ports.snapshots.export(&rootfs);
        archive.map_err(|source| cannot(&container, "be exported", source))
    }

    /// What a container changed of its image.
    ///
    /// # Errors
    /// As [`Engine::export`].
    pub async fn changes(&self, query: &str) -> Result<Vec<Change>> {
        let (container, rootfs) = self.rootfs_of(query)?;
        let changes = self.ports.snapshots.changes(&rootfs).await;
        changes.map_err(|source| cannot(&container, "be compared with its image", source))
    }

    fn rootfs_of(&self, query: &str) -> Result<(Arc<Container>, Rootfs)> {
        let container = self.index.find(query)?.container();
        let rootfs = self.rootfs(&container)?;
        Ok((container, rootfs))
    }

    /// Asks a registry whether it takes these credentials.
    ///
    /// # Errors
    /// Those of [`isula_core::ports::Images::log_in`].
    pub async fn log_in(&self, registry: &str, credentials: Credentials) -> Result<Option<String>> {
        Ok(self.ports.images.log_in(registry, credentials).await?)
    }

    /// Makes an image of what the device's own file system holds.
    ///
    /// # Errors
    /// Those of [`isula_core::ports::Images::embed`].
    pub async fn embed(&self, manifest: Vec<u8>) -> Result<Arc<Image>> {
        let image = self.ports.images.embed(manifest).await?;
        self.publish_image(image.id.to_string(), ImageAction::Load);
        Ok(image)
    }

    /// Reads everything that images are made of, and moves aside what is damaged.
    ///
    /// # Errors
    /// Those of [`isula_core::ports::Images::check`].
    pub async fn check(&self, found: CheckSink) -> Result<CheckResult> {
        Ok(self.ports.images.check(found).await?)
    }

    /// Every layer and its size.
    #[must_use]
    pub fn layers(&self) -> Vec<StoredLayer> {
        self.ports.images.layers()
    }

    /// Removes the images that `wanted` says, if no container was made from them.
    ///
    /// # Errors
    /// The disk failed; what was removed before stays removed.
    pub async fn prune_images(&self, wanted: impl Fn(&Image) -> bool) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        for image in self.ports.images.list() {
            if !wanted(&image) || self.containers_of(&image.id) > 0 {
                continue;
            }
            match self.remove_image(&image.id.to_string(), true).await {
                Ok(steps) => {
                    if steps.contains(&RemovedImage::Deleted(image.id.clone())) {
                        pruned.reclaimed += self.only_of(&image);
                    }
                    pruned.steps.extend(steps);
                }
                // Somebody else was faster, or has made a container of it.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::InUse | ErrorKind::ImageNotFound | ErrorKind::NotFound
                    ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(pruned)
    }

    /// Bytes of the layers of an image that is gone which no other image needs.
    fn only_of(&self, image: &Image) -> u64 {
        let left = self.ports.images.list();
        let needed: HashSet<&Digest> = left.iter().flat_map(|image| &image.layers).collect();
        let layers: HashSet<&Digest> = image.layers.iter().collect();
        let sizes = self.ports.images.layers();
        let gone = |layer: &&StoredLayer| {
            layers.contains(&layer.diff_id) && !needed.contains(&layer.diff_id)
        };
        sizes.iter().filter(gone).map(|layer| layer.size).sum()
    }

    /// How much room everything takes.
    ///
    /// # Errors
    /// The disk failed.
    pub async fn disk_usage(&self) -> Result<DiskUsage> {
        let mut usage = self.usage_of_images();
        for slot in self.index.slots() {
            let seen = slot.seen();
            let state = seen.state_name();
            let container = seen.container;
            let size = match self.rootfs(&container) {
                Ok(Rootfs::Overlay { upper, .. }) => self.measure(upper).await?,
                _ => 0,
            };
            usage.containers.push(ContainerUsage { container, state, size });
        }
        for volume in self.ports.volumes.list().await? {
            let mounts = |container: &Container| {
                container.host.mounts.iter().any(|mount| match &mount.kind {
                    MountKind::Volume { name, .. } => *name == volume.name.to_string(),
                    MountKind::Bind { .. } => false,
                })
            };
            let containers =
                self.index.slots().iter().filter(|slot| mounts(&slot.container())).count();
            let size = self.measure(volume.path.clone()).await?;
            usage.volumes.push(VolumeUsage { volume, size, containers });
        }
        Ok(usage)
    }

    fn usage_of_images(&self) -> DiskUsage {
        let sizes = self.ports.images.layers();
        let images = self.ports.images.list();
        let slots = self.index.slots();
        let used: HashSet<ImageId> = slots
            .iter()
            .filter_map(|slot| match &slot.container().source {
                Source::Image { id, .. } => Some(id.clone()),
                Source::Directory(_) => None,
            })
            .collect();
        let needed: HashSet<&Digest> = images
            .iter()
            .filter(|image| used.contains(&image.id))
            .flat_map(|image| &image.layers)
            .collect();
        let owners = |digest: &Digest| images.iter().filter(|i| i.layers.contains(digest)).count();
        let shared: HashSet<&Digest> = sizes
            .iter()
            .map(|layer| &layer.diff_id)
            .filter(|diff_id| owners(diff_id) > 1)
            .collect();
        let sum = |wanted: &dyn Fn(&Digest) -> bool| -> u64 {
            let wanted = sizes.iter().filter(|layer| wanted(&layer.diff_id));
            wanted.map(|layer| layer.size).sum()
        };
        let of_image = |image: &Arc<Image>| ImageUsage {
            shared: sum(&|layer| shared.contains(layer) && image.layers.contains(layer)),
            containers: self.containers_of(&image.id),
            image: Arc::clone(image),
        };
        DiskUsage {
            images: images.iter().map(of_image).collect(),
            layers: sum(&|_| true),
            reclaimable: sum(&|layer| !needed.contains(layer)),
            ..DiskUsage::default()
        }
    }

    async fn measure(&self, dir: PathBuf) -> Result<u64> {
        Ok(self.ports.snapshots.disk_usage(&dir).await?)
    }
}
