//! Images and writable layers in memory.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::{Failures, locked};
use crate::{
    error::{ErrorKind, PortError},
    id::ContainerId,
    image::{Digest, Image, ImageConfig, ImageId, Reference},
    ports::{
        ByteStream, Images, ImportOptions, ProgressSink, PullOptions, Removal, RemovedImage,
        Result, Rootfs, Snapshots,
    },
    sandbox::FilesystemUsage,
};

/// Images and writable layers in memory.
pub struct FakeStore {
    failures: Arc<Failures>,
    content: Arc<Mutex<Content>>,
}

#[derive(Default)]
struct Content {
    images: Vec<Arc<Image>>,
    /// What a pull finds.
    registry: BTreeMap<Reference, ImageConfig>,
    layers: BTreeMap<ContainerId, ImageId>,
    files: BTreeMap<String, Vec<u8>>,
    copied: Vec<(String, PathBuf)>,
}

impl FakeStore {
    pub(super) fn new(failures: Arc<Failures>) -> Self {
        Self { failures, content: Arc::default() }
    }

    /// Adds an image; its id is made of its number.
    ///
    /// # Panics
    /// The reference is malformed.
    #[expect(clippy::expect_used, reason = "a test that names its image wrongly must fail")]
    pub fn add_image(&self, reference: &str, config: ImageConfig) -> ImageId {
        let reference: Reference = reference.parse().expect("a reference");
        self.put(Some(reference), config).id.clone()
    }

    /// Lets a pull of this reference find an image.
    ///
    /// # Panics
    /// The reference is malformed.
    #[expect(clippy::expect_used, reason = "a test that names its image wrongly must fail")]
    pub fn publish(&self, reference: &str, config: ImageConfig) {
        let reference = reference.parse().expect("a reference");
        locked(&self.content).registry.insert(reference, config);
    }

    /// Puts a file into every root file system.
    pub fn set_file(&self, path: &str, bytes: &[u8]) {
        locked(&self.content).files.insert(path.to_owned(), bytes.to_vec());
    }

    /// Puts a writable layer there, as a former daemon left it.
    pub fn put_layer(&self, id: &ContainerId, image: &ImageId) {
        locked(&self.content).layers.insert(id.clone(), image.clone());
    }

    /// The containers that have a writable layer.
    #[must_use]
    pub fn layers(&self) -> Vec<ContainerId> {
        locked(&self.content).layers.keys().cloned().collect()
    }

    /// What was copied into volumes: path in the image, directory of the volume.
    #[must_use]
    pub fn copied(&self) -> Vec<(String, PathBuf)> {
        locked(&self.content).copied.clone()
    }

    fn put(&self, reference: Option<Reference>, config: ImageConfig) -> Arc<Image> {
        let mut content = locked(&self.content);
        let mut sum = [0; 32];
        let number = content.images.len() as u64 + 1;
        sum.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
        sum.iter_mut().skip(8).for_each(|byte| *byte = 0xfe);
        let image = Arc::new(Image {
            id: ImageId(Digest::from_sha256(sum)),
            tags: reference.into_iter().collect(),
            digests: Vec::new(),
            created: Some(Timestamp::UNIX_EPOCH),
            layers: vec![Digest::from_sha256(sum)],
            size: 1,
            config,
            raw_config: Arc::from(&b"{}"[..]),
        });
        content.images.push(Arc::clone(&image));
        image
    }
}

fn no_image(query: &str) -> PortError {
    PortError::new(ErrorKind::ImageNotFound, format!("no such image: {query}"))
}

fn no_archives() -> PortError {
    PortError::new(ErrorKind::Unsupported, "this store reads no archives")
}

#[async_trait]
impl Images for FakeStore {
    fn list(&self) -> Vec<Arc<Image>> {
        locked(&self.content).images.iter().rev().cloned().collect()
    }

    fn get(&self, id: &ImageId) -> Option<Arc<Image>> {
        locked(&self.content).images.iter().find(|image| image.id == *id).cloned()
    }

    fn find(&self, query: &str) -> Result<Arc<Image>> {
        let content = locked(&self.content);
        let digits = query.strip_prefix("sha256:").unwrap_or(query);
        if let Ok(reference) = query.parse::<Reference>() {
            let named = content.images.iter().find(|image| image.tags.contains(&reference));
            if let Some(image) = named {
                return Ok(Arc::clone(image));
            }
        }
        let fits = |image: &&Arc<Image>| !digits.is_empty() && image.id.hex().starts_with(digits);
        let mut fitting = content.images.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(image), None) => Ok(Arc::clone(image)),
            (Some(_), Some(_)) => {
                let message = format!("several images begin with {query}");
                Err(PortError::new(ErrorKind::InvalidInput, message))
            }
            (None, _) => Err(no_image(query)),
        }
    }

    async fn pull(
        &self,
        reference: &Reference,
        _: PullOptions,
        _: ProgressSink,
    ) -> Result<Arc<Image>> {
        self.failures.pass("images.pull").await?;
        let found = locked(&self.content).registry.get(reference).cloned();
        let config = found.ok_or_else(|| {
            PortError::new(ErrorKind::NotFound, format!("{reference}: manifest unknown"))
        })?;
        Ok(self.put(Some(reference.clone()), config))
    }

    async fn load(
        &self,
        _: ByteStream,
        _: Option<Reference>,
        _: ProgressSink,
    ) -> Result<Vec<Arc<Image>>> {
        Err(no_archives())
    }

    async fn import(&self, _: ByteStream, _: ImportOptions) -> Result<Arc<Image>> {
        Err(no_archives())
    }

    async fn tag(&self, id: &ImageId, reference: &Reference) -> Result<()> {
        self.failures.pass("images.tag").await?;
        let mut content = locked(&self.content);
        for image in &mut content.images {
            let mut tags = image.tags.clone();
            tags.retain(|tag| tag != reference);
            if image.id == *id {
                tags.push(reference.clone());
                tags.sort();
            }
            if tags != image.tags {
                *image = Arc::new(Image { tags, ..Image::clone(image) });
            }
        }
        match content.images.iter().any(|image| image.id == *id) {
            true => Ok(()),
            false => Err(no_image(id.hex())),
        }
    }

    async fn remove(&self, query: &str, force: bool) -> Result<Vec<RemovedImage>> {
        self.failures.pass("images.remove").await?;
        let image = self.find(query)?;
        let mut content = locked(&self.content);
        let named = query.parse::<Reference>().ok().filter(|name| image.tags.contains(name));
        let mut removed = Vec::new();
        let left: Vec<Reference> = match &named {
            Some(name) => image.tags.iter().filter(|tag| *tag != name).cloned().collect(),
            None if image.tags.len() > 1 && !force => {
                let message = format!("image {query} has several names");
                return Err(PortError::new(ErrorKind::InUse, message));
            }
            None => Vec::new(),
        };
        let used = content.layers.values().any(|used| *used == image.id);
        if left.is_empty() && used && !force {
            let message = format!("image {query} is used by a container");
            return Err(PortError::new(ErrorKind::InUse, message));
        }
        let gone = image.tags.iter().filter(|tag| !left.contains(tag));
        removed.extend(gone.map(|tag| RemovedImage::Untagged(tag.familiar())));
        content.images.retain(|other| other.id != image.id);
        if left.is_empty() && !used {
            removed.push(RemovedImage::Deleted(image.id.clone()));
        } else {
            content.images.push(Arc::new(Image { tags: left, ..Image::clone(&image) }));
        }
        Ok(removed)
    }

    fn usage(&self) -> FilesystemUsage {
        let content = locked(&self.content);
        let bytes = content.images.iter().map(|image| image.size).sum();
        FilesystemUsage { mountpoint: "/fake".to_owned(), bytes, inodes: 1 }
    }

    fn damage(&self) -> Vec<String> {
        Vec::new()
    }
}

#[async_trait]
impl Snapshots for FakeStore {
    async fn prepare(&self, id: &ContainerId, image: &ImageId) -> Result<()> {
        self.failures.pass("snapshots.prepare").await?;
        if self.get(image).is_none() {
            return Err(no_image(image.hex()));
        }
        self.put_layer(id, image);
        Ok(())
    }

    fn rootfs(&self, id: &ContainerId, image: &ImageId, volatile: bool) -> Result<Rootfs> {
        if locked(&self.content).layers.get(id) != Some(image) {
            let message = format!("container {id} has no writable layer");
            return Err(PortError::new(ErrorKind::NotFound, message));
        }
        self.rootfs_of_new(id, image, volatile)
    }

    fn rootfs_of_new(&self, id: &ContainerId, _: &ImageId, volatile: bool) -> Result<Rootfs> {
        Ok(Rootfs::Overlay {
            lower: vec![PathBuf::from("/store/layer")],
            upper: PathBuf::from(format!("/store/{id}/diff")),
            work: PathBuf::from(format!("/store/{id}/work")),
            volatile,
        })
    }

    async fn read(
        &self,
        _: &ContainerId,
        _: &ImageId,
        path: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>> {
        self.failures.pass("snapshots.read").await?;
        let found = locked(&self.content).files.get(path).cloned();
        Ok(found.filter(|bytes| bytes.len() as u64 <= limit))
    }

    async fn read_image(&self, _: &ImageId, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        self.failures.pass("snapshots.read_image").await?;
        let found = locked(&self.content).files.get(path).cloned();
        Ok(found.filter(|bytes| bytes.len() as u64 <= limit))
    }

    async fn copy_up(&self, _: &ContainerId, _: &ImageId, path: &str, into: &Path) -> Result<()> {
        self.failures.pass("snapshots.copy_up").await?;
        locked(&self.content).copied.push((path.to_owned(), into.to_owned()));
        Ok(())
    }

    fn pack(&self, directory: &Path) -> Result<ByteStream> {
        self.failures.pass_now("snapshots.pack")?;
        let bytes = Bytes::from(directory.display().to_string());
        Ok(super::once(bytes))
    }

    async fn unpack(&self, _: &Path, _: &Path) -> Result<()> {
        self.failures.pass("snapshots.unpack").await
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        self.failures.pass("snapshots.remove").await?;
        locked(&self.content).layers.remove(id);
        Ok(())
    }

    fn removal(&self, id: &ContainerId) -> Removal {
        let (failures, content) = (Arc::clone(&self.failures), Arc::clone(&self.content));
        let id = id.clone();
        Box::new(move || {
            failures.pass_now("snapshots.removal")?;
            locked(&content).layers.remove(&id);
            Ok(())
        })
    }

    async fn list(&self) -> Result<Vec<ContainerId>> {
        self.failures.pass("snapshots.list").await?;
        Ok(self.layers())
    }
}
