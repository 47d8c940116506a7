//! The image service of the Container Runtime Interface.

use std::{collections::HashMap, sync::Arc};

use isula_api::runtime::v1::{self, image_service_server::ImageService};
use isula_core::{error::ErrorKind, image::Image};
use tonic::{Request, Response, Status, async_trait};

use super::{Answer, Cri, Pages, convert, pages};
use crate::api::status::{self, invalid};

#[async_trait]
impl ImageService for Cri {
    type StreamImagesStream = Pages<v1::StreamImagesResponse>;

    async fn list_images(
        &self,
        request: Request<v1::ListImagesRequest>,
    ) -> Answer<v1::ListImagesResponse> {
        let images = self.chosen_images(request.into_inner().filter)?;
        Ok(Response::new(v1::ListImagesResponse { images }))
    }

    async fn stream_images(
        &self,
        request: Request<v1::StreamImagesRequest>,
    ) -> Answer<Self::StreamImagesStream> {
        let images = self.chosen_images(request.into_inner().filter)?;
        Ok(Response::new(pages(images, |images| v1::StreamImagesResponse { images })))
    }

    async fn image_status(
        &self,
        request: Request<v1::ImageStatusRequest>,
    ) -> Answer<v1::ImageStatusResponse> {
        let v1::ImageStatusRequest { image, verbose } = request.into_inner();
        let found = self.image_of(&named(image)?)?;
        let info = match &found {
            Some(image) if verbose => convert::image::info(image),
            _ => HashMap::new(),
        };
        let image = found.map(|image| self.image(&image));
        Ok(Response::new(v1::ImageStatusResponse { image, info }))
    }

    /// Dropping the request cancels the pull: nothing of it is visible then.
    async fn pull_image(
        &self,
        request: Request<v1::PullImageRequest>,
    ) -> Answer<v1::PullImageResponse> {
        let v1::PullImageRequest { image, auth, .. } = request.into_inner();
        let spec = image.unwrap_or_default();
        self.check_handler(&spec.runtime_handler)?;
        let reference = convert::image::reference(&named(Some(spec))?)?;
        let options = convert::image::pull_options(auth, &reference)?;
        let quiet = Arc::new(|_| {});
        let image = self.engine.pull(&reference, options, quiet).await;
        let image = image.map_err(|error| status::of(&error))?;
        Ok(Response::new(v1::PullImageResponse { image_ref: image.id.to_string() }))
    }

    async fn remove_image(
        &self,
        request: Request<v1::RemoveImageRequest>,
    ) -> Answer<v1::RemoveImageResponse> {
        // All names of the image go with it; what is not there is removed already.
        if let Some(image) = self.image_of(&named(request.into_inner().image)?)? {
            let id = image.id.to_string();
            let work = |engine: Arc<isula_engine::Engine>| async move {
                match engine.remove_image(&id, true).await {
                    Err(error) if error.kind() == ErrorKind::ImageNotFound => Ok(()),
                    done => done.map(drop),
                }
            };
            self.carry_out(work).await?;
        }
        Ok(Response::new(v1::RemoveImageResponse {}))
    }

    async fn image_fs_info(
        &self,
        _: Request<v1::ImageFsInfoRequest>,
    ) -> Answer<v1::ImageFsInfoResponse> {
        let storage = self.engine.storage().await;
        let usage = |usage| convert::stats::filesystem(self.now(), usage);
        Ok(Response::new(v1::ImageFsInfoResponse {
            image_filesystems: vec![usage(&storage.images)],
            container_filesystems: vec![usage(&storage.containers)],
        }))
    }
}

impl Cri {
    /// The image that is meant, if it is in the store.
    pub(super) fn image_of(&self, query: &str) -> Result<Option<Arc<Image>>, Status> {
        match self.engine.find_image(query) {
            Ok(image) => Ok(Some(image)),
            Err(error) if error.kind() == ErrorKind::ImageNotFound => Ok(None),
            Err(error) => Err(status::of(&error)),
        }
    }

    fn chosen_images(&self, filter: Option<v1::ImageFilter>) -> Result<Vec<v1::Image>, Status> {
        let wanted = filter.and_then(|filter| filter.image).map(|spec| spec.image);
        let chosen = match wanted.filter(|name| !name.is_empty()) {
            Some(name) => self.image_of(&name)?.into_iter().collect(),
            None => self.engine.images(),
        };
        Ok(chosen.iter().map(|image| self.image(image)).collect())
    }

    fn image(&self, image: &Image) -> v1::Image {
        v1::Image {
            pinned: self.is_pinned(image),
            ..v1::Image::from(convert::image::Stored(image))
        }
    }
}

/// The image that a request names.
fn named(spec: Option<v1::ImageSpec>) -> Result<String, Status> {
    let name = spec.map(|spec| spec.image).unwrap_or_default();
    if name.is_empty() { Err(invalid("the request names no image")) } else { Ok(name) }
}
