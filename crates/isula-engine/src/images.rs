//! Images, passed on to the store; the engine adds events.
use std::sync::Arc;
use isula_core::{image::{Image, Reference}, ports::{ByteStream, ImportOptions, ProgressSink, PullOptions, RemovedImage}};
use crate::{Engine, Result};
impl Engine {
    /// Fetches an image. Dropping the future cancels the pull.
    pub async fn pull(&self, reference: &Reference, options: PullOptions, progress: ProgressSink) -> Result<Arc<Image>> { todo!() }
    /// Reads the images of an archive. Dropping the future cancels it.
    pub async fn load(&self, archive: ByteStream, tag: Option<Reference>, progress: ProgressSink) -> Result<Vec<Arc<Image>>> { todo!() }
    /// Makes an image from the tar of a root file system. Dropping the future cancels it.
    pub async fn import(&self, archive: ByteStream, options: ImportOptions) -> Result<Arc<Image>> { todo!() }
    /// Every image, newest first.
    #[must_use]
    pub fn images(&self) -> Vec<Arc<Image>> { todo!() }
    /// The image that a user means.
    pub fn find_image(&self, query: &str) -> Result<Arc<Image>> { todo!() }
    /// Gives the image that `query` means a further name.
    pub async fn tag(&self, query: &str, reference: &Reference) -> Result<()> { todo!() }
    /// Takes a name from an image, and removes it with its last name.
    pub async fn remove_image(&self, query: &str, force: bool) -> Result<Vec<RemovedImage>> { todo!() }
    /// How many containers (in any state) were made from each image is for `images`: ids with counts.
    #[must_use]
    pub fn containers_of(&self, image: &isula_core::image::ImageId) -> usize { todo!() }
}
