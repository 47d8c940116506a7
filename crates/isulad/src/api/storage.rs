//! The service of what is stored: archives, usage, soundness, logins.

use std::{collections::HashMap, path::Path, sync::Arc};

use futures_util::StreamExt;
use isula_api::v1::{self, storage_server::Storage};
use isula_core::{
    container::{Container, Source},
    error::PortError,
    image::Image,
    ports::{ByteStream, ChangeKind, Checked, Credentials, ImageFormat, Progress, RemovedImage},
};
use isula_engine::{ContainerUsage, DiskUsage, ImageUsage, VolumeUsage};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::{
    Api, convert,
    image_filter::ImageFilter,
    images::{Answer, Items, Sender, sink, tags},
    status::{self, invalid},
};

/// Pieces of an archive that wait for the client.
const PIECES: usize = 4;
/// Findings of a check that wait for the client.
const FINDINGS: usize = 64;

fn piece(piece: v1::archive_piece::Piece) -> v1::ArchivePiece {
    v1::ArchivePiece { piece: Some(piece) }
}

fn remark(progress: Progress) -> v1::ArchivePiece {
    let line = match progress {
        Progress::Line(line) => line,
        // The bytes themselves show how far it is.
        Progress::Layer { .. } => String::new(),
    };
    piece(v1::archive_piece::Piece::Line(line))
}

/// Sends an archive to its end, or until the client has gone.
async fn send(mut archive: ByteStream, sender: Sender<v1::ArchivePiece>) {
    loop {
        let item = tokio::select! {
            item = archive.next() => item,
            () = sender.closed() => return,
        };
        let message = match item {
            Some(Ok(data)) => Ok(piece(v1::archive_piece::Piece::Data(data))),
            Some(Err(error)) => Err(broken(error)),
            None => Ok(piece(v1::archive_piece::Piece::End(true))),
        };
        let is_last = !matches!(&message, Ok(message) if !is_end(message));
        if sender.send(message).await.is_err() || is_last {
            return;
        }
    }
}

fn is_end(message: &v1::ArchivePiece) -> bool {
    matches!(message.piece, Some(v1::archive_piece::Piece::End(_)))
}

fn broken(error: std::io::Error) -> Status {
    let error = error
        .downcast::<PortError>()
        .unwrap_or_else(|error| PortError::io("cannot read the archive", error));
    status::of(&error.into())
}

#[async_trait]
impl Storage for Api {
    type SaveImagesStream = Items<v1::ArchivePiece>;
    type ExportStream = Items<v1::ArchivePiece>;
    type CheckStream = Items<v1::CheckProgress>;

    async fn save_images(
        &self,
        request: Request<v1::SaveImagesRequest>,
    ) -> Answer<Self::SaveImagesStream> {
        let request = request.into_inner();
        let format = match request.format() {
            v1::ArchiveFormat::DockerArchive => ImageFormat::DockerArchive,
            v1::ArchiveFormat::OciArchive => ImageFormat::OciArchive,
        };
        let (sender, receiver) = mpsc::channel(PIECES);
        let archive = self.engine.save(&request.images, format, sink(&sender, remark));
        let archive = archive.map_err(|error| status::of(&error))?;
        tokio::spawn(send(archive, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn export(&self, request: Request<v1::ExportRequest>) -> Answer<Self::ExportStream> {
        let archive = self.engine.export(&request.into_inner().id);
        let archive = archive.map_err(|error| status::of(&error))?;
        let (sender, receiver) = mpsc::channel(PIECES);
        tokio::spawn(send(archive, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn image_history(
        &self,
        request: Request<v1::ImageHistoryRequest>,
    ) -> Answer<v1::ImageHistoryResponse> {
        let image = self.engine.find_image(&request.into_inner().image);
        let image = image.map_err(|error| status::of(&error))?;
        let layers = self.engine.layers();
        let sizes = layers.iter().map(|layer| (layer.diff_id.as_str(), layer.size)).collect();
        Ok(Response::new(v1::ImageHistoryResponse { steps: history(&image, &sizes) }))
    }

    async fn prune_images(
        &self,
        request: Request<v1::PruneImagesRequest>,
    ) -> Answer<v1::PruneImagesResponse> {
        let v1::PruneImagesRequest { all, filters } = request.into_inner();
        let known = |filter: &&String| {
            let key = filter.split('=').next().unwrap_or_default();
            !["until", "label", "label!"].contains(&key)
        };
        if let Some(other) = filters.iter().find(known) {
            return Err(invalid(format!("invalid filter {other:?}: there is no such key")));
        }
        let filters = ImageFilter::parse(&filters, &[], &self.engine)?;
        let wanted = move |image: &Image| {
            let is_dangling = image.tags.is_empty() && image.digests.is_empty();
            (all || is_dangling) && filters.iter().all(|filter| filter.passes(image))
        };
        let pruned =
            self.carry_out(|engine| async move { engine.prune_images(wanted).await }).await?;
        let mut answer =
            v1::PruneImagesResponse { reclaimed: pruned.reclaimed, ..Default::default() };
        for step in pruned.steps {
            match step {
                RemovedImage::Untagged(name) => answer.untagged.push(name),
                RemovedImage::Deleted(id) => answer.deleted.push(id.to_string()),
            }
        }
        Ok(Response::new(answer))
    }

    async fn disk_usage(&self, _: Request<v1::DiskUsageRequest>) -> Answer<v1::DiskUsageResponse> {
        let usage = self.engine.disk_usage().await.map_err(|error| status::of(&error))?;
        let DiskUsage { images, containers, volumes, layers, reclaimable } = usage;
        Ok(Response::new(v1::DiskUsageResponse {
            images: images.iter().map(image_usage).collect(),
            containers: containers.iter().map(container_usage).collect(),
            volumes: volumes.iter().map(volume_usage).collect(),
            layers_size: layers,
            reclaimable,
        }))
    }

    async fn check(&self, _: Request<v1::CheckRequest>) -> Answer<Self::CheckStream> {
        let (sender, receiver) = mpsc::channel(FINDINGS);
        let engine = Arc::clone(&self.engine);
        tokio::spawn(async move {
            // Damage is never left out, so it waits for the end.
            let damage = Arc::new(std::sync::Mutex::new(Vec::new()));
            let (into, layers) = (Arc::clone(&damage), sender.downgrade());
            let check = engine.check(Arc::new(move |found| match (found, layers.upgrade()) {
                (Checked::Layer(digest, current, total), Some(sender)) => {
                    let layer = v1::LayerCheck {
                        id: digest.hex().to_owned(),
                        current: count(current),
                        total: count(total),
                    };
                    // A full channel is a slow display: the next step says more anyway.
                    let _ =
                        sender.try_send(Ok(finding(v1::check_progress::Progress::Layer(layer))));
                }
                (Checked::Damage(text), _) => {
                    if let Ok(mut damage) = into.lock() {
                        damage.push(text);
                    }
                }
                (Checked::Layer(..), None) => {}
            }));
            let result = tokio::select! {
                result = check => result,
                () = sender.closed() => return,
            };
            let damage = damage.lock().map(|mut found| std::mem::take(&mut *found));
            for text in damage.unwrap_or_default() {
                let _ = sender.send(Ok(finding(v1::check_progress::Progress::Damage(text)))).await;
            }
            let last = result.map_err(|error| status::of(&error)).map(|result| {
                finding(v1::check_progress::Progress::Result(v1::CheckResult {
                    layers: count(result.layers),
                    images: count(result.images),
                    unverifiable: count(result.unverifiable),
                    damaged: count(result.damaged),
                }))
            });
            let _ = sender.send(last).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn login(&self, request: Request<v1::LoginRequest>) -> Answer<v1::LoginResponse> {
        let v1::LoginRequest { registry, credentials } = request.into_inner();
        let Some(v1::RegistryCredentials { username, password }) = credentials else {
            return Err(invalid("a login needs credentials"));
        };
        let credentials = Credentials { username, password };
        let token = self.engine.log_in(&registry, credentials).await;
        let token = token.map_err(|error| status::of(&error))?;
        Ok(Response::new(v1::LoginResponse { identity_token: token.unwrap_or_default() }))
    }

    async fn changes(&self, request: Request<v1::ChangesRequest>) -> Answer<v1::ChangesResponse> {
        let changes = self.engine.changes(&request.into_inner().id).await;
        let changes = changes.map_err(|error| status::of(&error))?.into_iter().map(|change| {
            let kind = match change.kind {
                ChangeKind::Changed => v1::ChangeKind::Changed,
                ChangeKind::Added => v1::ChangeKind::Added,
                ChangeKind::Deleted => v1::ChangeKind::Deleted,
            };
            v1::PathChange { path: change.path.into(), kind: kind.into() }
        });
        Ok(Response::new(v1::ChangesResponse { changes: changes.collect() }))
    }
}

fn finding(progress: v1::check_progress::Progress) -> v1::CheckProgress {
    v1::CheckProgress { progress: Some(progress) }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The steps of an image's configuration, newest first, each with the size of its layer.
fn history(image: &Image, sizes: &HashMap<&str, u64>) -> Vec<v1::HistoryStep> {
    // The store has read this configuration before.
    let raw: Value = serde_json::from_slice(&image.raw_config).unwrap_or_default();
    let recorded = raw.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut layers = image.layers.iter();
    let mut size_of_next =
        || layers.next().and_then(|layer| sizes.get(layer.as_str())).copied().unwrap_or(0);
    let mut steps: Vec<v1::HistoryStep> = Vec::with_capacity(recorded.len());
    for step in &recorded {
        let text = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let is_empty = step.get("empty_layer").and_then(Value::as_bool).unwrap_or(false);
        let created = text("created").parse().ok().or(image.created);
        steps.push(v1::HistoryStep {
            created_ns: created.map_or(0, convert::nanoseconds),
            created_by: text("created_by"),
            size: if is_empty { 0 } else { size_of_next() },
            comment: text("comment"),
            ..v1::HistoryStep::default()
        });
    }
    // A configuration need not tell how each layer came to be.
    let rest: u64 = layers.filter_map(|layer| sizes.get(layer.as_str())).sum();
    if rest > 0 || steps.is_empty() {
        let created_ns = image.created.map_or(0, convert::nanoseconds);
        steps.push(v1::HistoryStep { created_ns, size: rest, ..v1::HistoryStep::default() });
    }
    steps.reverse();
    if let Some(newest) = steps.first_mut() {
        image.id.hex().clone_into(&mut newest.id);
        newest.tags = tags(image);
    }
    steps
}

fn image_usage(usage: &ImageUsage) -> v1::ImageUsage {
    let ImageUsage { image, shared, containers } = usage;
    v1::ImageUsage {
        id: image.id.hex().to_owned(),
        tags: tags(image),
        created_ns: image.created.map_or(0, convert::nanoseconds),
        size: image.size,
        shared: *shared,
        containers: count(*containers),
    }
}

fn container_usage(usage: &ContainerUsage) -> v1::ContainerUsage {
    let ContainerUsage { container, state, size } = usage;
    let Container { id, name, source, config, .. } = &**container;
    let image = match source {
        Source::Image { reference, .. } => reference.clone(),
        Source::Directory(path) => Path::new(path).display().to_string(),
    };
    v1::ContainerUsage {
        id: id.to_string(),
        name: name.to_string(),
        image,
        command: config.args().join(" "),
        state: (*state).to_owned(),
        created_ns: convert::nanoseconds(container.created),
        size: *size,
        volumes: count(container.host.mounts.len()),
    }
}

fn volume_usage(usage: &VolumeUsage) -> v1::VolumeUsage {
    v1::VolumeUsage {
        name: usage.volume.name.to_string(),
        size: usage.size,
        containers: count(usage.containers),
    }
}
