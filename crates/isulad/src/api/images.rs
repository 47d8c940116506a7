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
    Api, convert, inspect_image,
    status::{self, invalid},
};

type Answer<T> = Result<Response<T>, Status>;
type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Sender<T> = mpsc::Sender<Result<T, Status>>;

/// Steps that wait for the client; when it is slower than that, it misses some.
const STEPS: usize = 64;

/// A sink that passes each step on to a client, rendered.
fn sink<T: Send + 'static>(sender: &Sender<T>, render: fn(Progress) -> T) -> ProgressSink {
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

fn tags(image: &Image) -> Vec<String> {
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
        let chosen = all.iter().filter(|image| filters.iter().all(|filter| filter.passes(image)));
        let images = chosen.map(|image| summary(image)).collect();
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

fn summary(image: &Image) -> v1::ImageSummary {
    v1::ImageSummary {
        id: image.id.hex().to_owned(),
        tags: tags(image),
        digests: image.digests.iter().map(Reference::familiar).collect(),
        created_ns: image.created.map_or(0, convert::nanoseconds),
        size: image.size,
        labels: image.config.labels.clone().into_iter().collect(),
    }
}

/// What a listed image must be.
enum ImageFilter {
    Dangling(bool),
    Label(String, Option<String>),
    /// Position in the list, newest first: after (older) or before (newer) it.
    Before(Vec<isula_core::image::ImageId>),
    Since(Vec<isula_core::image::ImageId>),
    Reference(String),
}

impl ImageFilter {
    fn parse(
        texts: &[String],
        all: &[Arc<Image>],
        engine: &isula_engine::Engine,
    ) -> Result<Vec<Self>, Status> {
        texts.iter().map(|text| Self::parse_one(text, all, engine)).collect()
    }

    fn parse_one(
        text: &str,
        all: &[Arc<Image>],
        engine: &isula_engine::Engine,
    ) -> Result<Self, Status> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| invalid(format!("invalid filter {text:?}: it must be KEY=VALUE")))?;
        let position = || {
            let image = engine.find_image(value).map_err(|error| status::of(&error))?;
            let position = all.iter().position(|other| other.id == image.id);
            Ok::<_, Status>(position.unwrap_or(all.len()))
        };
        let ids = |part: &[Arc<Image>]| part.iter().map(|image| image.id.clone()).collect();
        match key {
            "dangling" => match value {
                "true" | "1" => Ok(Self::Dangling(true)),
                "false" | "0" => Ok(Self::Dangling(false)),
                _ => Err(invalid(format!("invalid filter {text:?}: it must be true or false"))),
            },
            "label" => Ok(match value.split_once('=') {
                Some((name, value)) => Self::Label(name.to_owned(), Some(value.to_owned())),
                None => Self::Label(value.to_owned(), None),
            }),
            "before" => {
                let older = all.get(position()?.saturating_add(1)..).unwrap_or_default();
                Ok(Self::Before(ids(older)))
            }
            "since" => Ok(Self::Since(ids(all.get(..position()?).unwrap_or_default()))),
            "reference" => Ok(Self::Reference(value.to_owned())),
            _ => Err(invalid(format!("invalid filter {text:?}: there is no such key"))),
        }
    }

    fn passes(&self, image: &Image) -> bool {
        match self {
            Self::Dangling(wanted) => image.tags.is_empty() == *wanted,
            Self::Label(name, value) => image
                .config
                .labels
                .get(name)
                .is_some_and(|found| value.as_ref().is_none_or(|value| value == found)),
            Self::Before(ids) | Self::Since(ids) => ids.contains(&image.id),
            Self::Reference(pattern) => image.tags.iter().any(|tag| {
                matches(pattern, &tag.familiar()) || matches(pattern, &tag.familiar_name())
            }),
        }
    }
}

/// Shell patterns, `*` and `?`, neither of which crosses a `/` (Go's path.Match).
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut here) = (0, 0);
    let mut star = None;
    while let Some(character) = text.get(here) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, here));
                at += 1;
            }
            Some(wanted) if wanted == character || (*wanted == '?' && *character != '/') => {
                at += 1;
                here += 1;
            }
            _ => match star {
                Some((after, from)) if text.get(from) != Some(&'/') => {
                    star = Some((after, from + 1));
                    (at, here) = (after, from + 1);
                }
                _ => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|left| *left == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_of_references_are_those_of_a_shell() {
        for (pattern, text, wanted) in [
            ("busybox", "busybox", true),
            ("busybox", "busybox:latest", false),
            ("busy*", "busybox", true),
            ("*box*", "busybox:1.36", true),
            ("b?sybox", "busybox", true),
            ("*", "library/busybox", false),
            ("*/*", "library/busybox", true),
            ("*:latest", "busybox:latest", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b", "acd", false),
            ("", "", true),
            ("*", "", true),
            ("?", "/", false),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }
}
