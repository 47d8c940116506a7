//! The service of images.
//!
//! Pull, load and import end when their client goes away; the store leaves nothing visible then.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt};
use isula_api::v1::{self, images_server::Images};
use isula_core::{
    image::{Image, Reference},
    ports::{ByteStream, ImportOptions, Progress, ProgressSink, RemovedImage},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    Api, convert,
    image_filter::ImageFilter,
    inspect_image,
    status::{self, invalid},
};

pub(super) type Answer<T> = Result<Response<T>, Status>;
pub(super) type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
pub(super) type Sender<T> = mpsc::Sender<Result<T, Status>>;

/// Steps that wait for the client; when it is slower than that, it misses some.
const STEPS: usize = 64;

/// The largest manifest of an embedded image, in bytes.
const LARGEST_MANIFEST: usize = 4 << 20;

/// A sink that passes each step on to a client, rendered.
pub(super) fn sink<T: Send + 'static>(
    sender: &Sender<T>,
    render: fn(Progress) -> T,
) -> ProgressSink {
    // Weak: the channel ends with the operation, whoever keeps the sink.
    let sender = sender.downgrade();
    Arc::new(move |progress| {
        if let Some(sender) = sender.upgrade() {
            // A full channel is a slow display: the next step says more anyway.
            let _ = sender.try_send(Ok(render(progress)));
        }
    })
}

/// Runs an operation until it is done or its client has gone, and sends its result.
fn work_for_client<T: Send + 'static>(
    sender: Sender<T>,
    work: impl Future<Output = Result<T, Status>> + Send + 'static,
    receiver: mpsc::Receiver<Result<T, Status>>,
) -> Items<T> {
    tokio::spawn(async move {
        tokio::select! {
            result = work => {
                // A client that has gone needs no result.
                let _ = sender.send(result).await;
            }
            () = sender.closed() => tracing::debug!("the client has gone: the operation is cancelled"),
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}

fn layer(id: String, step: String, (current, total): (u64, Option<u64>)) -> v1::LayerProgress {
    v1::LayerProgress { id, step, current, total: total.unwrap_or(0) }
}

fn pull_step(progress: Progress) -> v1::PullProgress {
    use v1::pull_progress::Progress as Wire;
    let progress = Some(match progress {
        Progress::Line(line) => Wire::Line(line),
        Progress::Layer { id, step, current, total } => {
            Wire::Layer(layer(id, step, (current, total)))
        }
    });
    v1::PullProgress { progress }
}

fn load_step(progress: Progress) -> v1::LoadProgress {
    use v1::load_progress::Progress as Wire;
    let progress = Some(match progress {
        Progress::Line(line) => Wire::Line(line),
        Progress::Layer { id, step, current, total } => {
            Wire::Layer(layer(id, step, (current, total)))
        }
    });
    v1::LoadProgress { progress }
}

fn pulled(image: &Image, reference: String) -> v1::PulledImage {
    v1::PulledImage { id: image.id.hex().to_owned(), reference }
}

pub(super) fn tags(image: &Image) -> Vec<String> {
    image.tags.iter().map(Reference::familiar).collect()
}

/// The archive that a client sends, as bytes. A connection that breaks off is an error in it.
fn archive<T: Send + 'static>(
    input: Streaming<T>,
    data: fn(T) -> Option<bytes::Bytes>,
) -> ByteStream {
    Box::pin(input.filter_map(move |message| async move {
        match message {
            Ok(message) => data(message).map(Ok),
            Err(status) => Some(Err(std::io::Error::other(status.message().to_owned()))),
        }
    }))
}

#[async_trait]
impl Images for Api {
    type PullStream = Items<v1::PullProgress>;
    type LoadStream = Items<v1::LoadProgress>;

    async fn pull(&self, request: Request<v1::PullRequest>) -> Answer<Self::PullStream> {
        let (reference, options) = convert::pull(request.into_inner())?;
        let (sender, receiver) = mpsc::channel(STEPS);
        let (engine, progress) = (Arc::clone(&self.engine), sink(&sender, pull_step));
        let work = async move {
            let image = engine.pull(&reference, options, progress).await;
            let image = image.map_err(|error| status::of(&error))?;
            let done = pulled(&image, reference.familiar());
            Ok(v1::PullProgress { progress: Some(v1::pull_progress::Progress::Pulled(done)) })
        };
        Ok(Response::new(work_for_client(sender, work, receiver)))
    }

    async fn load(&self, request: Request<Streaming<v1::LoadInput>>) -> Answer<Self::LoadStream> {
        let mut input = request.into_inner();
        let first = input.message().await?.and_then(|message| message.input);
        let Some(v1::load_input::Input::Open(open)) = first else {
            return Err(invalid("the first message of a load must open it"));
        };
        if open.embedded {
            return self.embed(input).await;
        }
        let tag = convert::some(open.tag).map(|tag| convert::reference(&tag)).transpose()?;
        let archive = archive(input, |message| match message.input {
            Some(v1::load_input::Input::Data(data)) => Some(data),
            _ => None,
        });
        let (sender, receiver) = mpsc::channel(STEPS);
        let (engine, progress) = (Arc::clone(&self.engine), sink(&sender, load_step));
        let work = async move {
            let images = engine.load(archive, tag, progress).await;
            let images = images.map_err(|error| status::of(&error))?;
            let images = images
                .iter()
                .map(|image| pulled(image, tags(image).into_iter().next().unwrap_or_default()))
                .collect();
            let done = v1::LoadedImages { images };
            Ok(v1::LoadProgress { progress: Some(v1::load_progress::Progress::Loaded(done)) })
        };
        Ok(Response::new(work_for_client(sender, work, receiver)))
    }

    async fn import(
        &self,
        request: Request<Streaming<v1::ImportInput>>,
    ) -> Answer<v1::ImportResponse> {
        let mut input = request.into_inner();
        let first = input.message().await?.and_then(|message| message.input);
        let Some(v1::import_input::Input::Open(open)) = first else {
            return Err(invalid("the first message of an import must open it"));
        };
        let named = convert::some(open.reference).map(|text| convert::reference(&text));
        let options = ImportOptions {
            reference: named.transpose()?,
            changes: open.changes,
            message: open.message,
        };
        let archive = archive(input, |message| match message.input {
            Some(v1::import_input::Input::Data(data)) => Some(data),
            _ => None,
        });
        let image = self.engine.import(archive, options).await;
        let image = image.map_err(|error| status::of(&error))?;
        Ok(Response::new(v1::ImportResponse { id: image.id.hex().to_owned() }))
    }

    async fn list_images(
        &self,
        request: Request<v1::ListImagesRequest>,
    ) -> Answer<v1::ListImagesResponse> {
        let v1::ListImagesRequest { filters } = request.into_inner();
        let all = self.engine.images();
        let filters = ImageFilter::parse(&filters, &all, &self.engine)?;
        let named = |image: &Arc<Image>| Some(summary(image, ImageFilter::names(&filters, image)?));
        let images = all.iter().filter_map(named).collect();
        Ok(Response::new(v1::ListImagesResponse { images }))
    }

    async fn inspect_image(
        &self,
        request: Request<v1::InspectImageRequest>,
    ) -> Answer<v1::InspectImageResponse> {
        let v1::InspectImageRequest { image } = request.into_inner();
        let image = self.engine.find_image(&image).map_err(|error| status::of(&error))?;
        let json = inspect_image::render(&image).to_string().into();
        Ok(Response::new(v1::InspectImageResponse { json }))
    }

    async fn remove_image(
        &self,
        request: Request<v1::RemoveImageRequest>,
    ) -> Answer<v1::RemoveImageResponse> {
        let v1::RemoveImageRequest { image, force } = request.into_inner();
        let removed = self
            .carry_out(|engine| async move { engine.remove_image(&image, force).await })
            .await?;
        let mut answer = v1::RemoveImageResponse::default();
        for step in removed {
            match step {
                RemovedImage::Untagged(name) => answer.untagged.push(name),
                RemovedImage::Deleted(id) => answer.deleted.push(id.to_string()),
            }
        }
        Ok(Response::new(answer))
    }

    async fn tag_image(
        &self,
        request: Request<v1::TagImageRequest>,
    ) -> Answer<v1::TagImageResponse> {
        let v1::TagImageRequest { image, reference } = request.into_inner();
        let reference = convert::reference(&reference)?;
        self.carry_out(|engine| async move { engine.tag(&image, &reference).await }).await?;
        Ok(Response::new(v1::TagImageResponse {}))
    }
}

impl Api {
    /// A load of an embedded image: what comes is its manifest.
    async fn embed(&self, mut input: Streaming<v1::LoadInput>) -> Answer<Items<v1::LoadProgress>> {
        let mut manifest = Vec::new();
        while let Some(message) = input.message().await? {
            if let Some(v1::load_input::Input::Data(data)) = message.input {
                manifest.extend_from_slice(&data);
            }
            if manifest.len() > LARGEST_MANIFEST {
                return Err(invalid("the manifest is larger than 4 MiB"));
            }
        }
        let image = self.carry_out(|engine| async move { engine.embed(manifest).await }).await?;
        let name = tags(&image).into_iter().next().unwrap_or_default();
        let done = v1::LoadedImages { images: vec![pulled(&image, name)] };
        let progress = Some(v1::load_progress::Progress::Loaded(done));
        let last = futures_util::stream::iter([Ok(v1::LoadProgress { progress })]);
        Ok(Response::new(Box::pin(last)))
    }
}

fn summary(image: &Image, names: Vec<&Reference>) -> v1::ImageSummary {
    v1::ImageSummary {
        id: image.id.hex().to_owned(),
        tags: names.into_iter().map(Reference::familiar).collect(),
        digests: image.digests.iter().map(Reference::familiar).collect(),
        created_ns: image.created.map_or(0, convert::nanoseconds),
        size: image.size,
        labels: image.config.labels.clone().into_iter().collect(),
    }
}
