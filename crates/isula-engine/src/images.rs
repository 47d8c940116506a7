//! Images, passed on to the store; the engine adds events and who uses what.

use std::sync::Arc;

use isula_core::{
    container::Source,
    error::{ErrorKind, PortError},
    event::ImageAction,
    image::{Image, ImageId, Reference},
    ports::{ByteStream, ImportOptions, ProgressSink, PullOptions, RemovedImage},
    sandbox::{PodMount, PodMountSource},
};

use crate::{Engine, Result};

impl Engine {
    /// Fetches an image. Dropping the future cancels the pull.
    ///
    /// # Errors
    /// Those of [`isula_core::ports::Images::pull`].
    pub async fn pull(
        &self,
        reference: &Reference,
        options: PullOptions,
        progress: ProgressSink,
    ) -> Result<Arc<Image>> {
        let image = self.ports.images.pull(reference, options, progress).await?;
        self.publish_image(reference.familiar(), ImageAction::Pull);
        Ok(image)
    }

    /// Reads the images of an archive. Dropping the future cancels it.
    ///
    /// # Errors
    /// Those of [`isula_core::ports::Images::load`].
    pub async fn load(
        &self,
        archive: ByteStream,
        tag: Option<Reference>,
        progress: ProgressSink,
    ) -> Result<Vec<Arc<Image>>> {
        let images = self.ports.images.load(archive, tag, progress).await?;
        for image in &images {
            self.publish_image(image.id.to_string(), ImageAction::Load);
        }
        Ok(images)
    }

    /// Makes an image from the tar of a root file system. Dropping the future cancels it.
    ///
    /// # Errors
    /// Those of [`isula_core::ports::Images::import`].
    pub async fn import(&self, archive: ByteStream, options: ImportOptions) -> Result<Arc<Image>> {
        let image = self.ports.images.import(archive, options).await?;
        self.publish_image(image.id.to_string(), ImageAction::Import);
        Ok(image)
    }

    /// Every image, newest first.
    #[must_use]
    pub fn images(&self) -> Vec<Arc<Image>> {
        self.ports.images.list()
    }

    /// The image that a user means.
    ///
    /// # Errors
    /// Those of [`isula_core::ports::Images::find`].
    pub fn find_image(&self, query: &str) -> Result<Arc<Image>> {
        Ok(self.ports.images.find(query)?)
    }

    /// Gives the image that `query` means a further name.
    ///
    /// # Errors
    /// Those of [`isula_core::ports::Images::find`] and `tag`.
    pub async fn tag(&self, query: &str, reference: &Reference) -> Result<()> {
        let image = self.ports.images.find(query)?;
        self.ports.images.tag(&image.id, reference).await?;
        self.publish_image(reference.familiar(), ImageAction::Tag);
        Ok(())
    }

    /// Takes a name from an image, and removes it with its last name.
    ///
    /// # Errors
    /// Those of [`isula_core::ports::Images::remove`]; `InUse` while a container needs it.
    pub async fn remove_image(&self, query: &str, force: bool) -> Result<Vec<RemovedImage>> {
        self.refuse_mounted(query)?;
        let removed = self.ports.images.remove(query, force).await?;
        for step in &removed {
            match step {
                RemovedImage::Untagged(name) => {
                    self.publish_image(name.clone(), ImageAction::Untag);
                }
                RemovedImage::Deleted(id) => {
                    self.publish_image(id.to_string(), ImageAction::Delete);
                }
            }
        }
        Ok(removed)
    }

    /// An image that a container has mounted is needed, though nothing was made from it.
    fn refuse_mounted(&self, query: &str) -> Result<()> {
        // What can't be found is refused by the store, in its own words.
        let Ok(image) = self.ports.images.find(query) else { return Ok(()) };
        let mounts = |mount: &PodMount| matches!(&mount.source, PodMountSource::Image { id: Some(id), .. } if *id == image.id);
        let user = self.index.slots().into_iter().map(|slot| slot.container()).find(|container| {
            container.pod.as_ref().is_some_and(|pod| pod.mounts.iter().any(mounts))
        });
        match user {
            Some(container) if image.tags.len() <= 1 => {
                let text = format!("image {query} is mounted in container {}", container.name);
                Err(PortError::new(ErrorKind::InUse, text).into())
            }
            _ => Ok(()),
        }
    }

    /// How many containers, in any state, were made from an image.
    #[must_use]
    pub fn containers_of(&self, image: &ImageId) -> usize {
        let made_from = |source: &Source| matches!(source, Source::Image { id, .. } if id == image);
        self.index.slots().iter().filter(|slot| made_from(&slot.container().source)).count()
    }
}
