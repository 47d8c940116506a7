//! The start of the store: reads every record, and finishes or undoes what a crash cut short.
//!
//! | found                                     | meaning                      | done            |
//! |-------------------------------------------|------------------------------|-----------------|
//! | anything in `tmp/`                        | an operation was interrupted | discarded       |
//! | a pending name whose image is there       | the image was committed      | takes effect    |
//! | a pending name whose image is not there   | the image was not committed  | removed         |
//! | a name whose image is not there           | the image was removed        | removed         |
//! | a layer or blob that no image needs       | either of these              | discarded       |
//! | anything that can't be what it should be  | damage                       | to quarantine/  |
//!
//! A damaged record takes nothing else with it: the layers that it may have named are kept.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use isula_core::{
    error::{ErrorKind, PortError, chain},
    id::ContainerId,
    image::{Digest, ImageId, Reference},
};

use super::{
    Layers, Layout, StoredImage, Tables,
    commit::{ImageRecord, needed_blobs},
    files,
    names::{NameRecord, PENDING},
};
use crate::{
    config,
    error::corrupt,
    hash, json,
    layer::LayerRecord,
    manifest::DOCUMENT_LIMIT,
    snapshot::{self, Uses},
    trash,
};

/// The largest record that this crate writes, with room to spare.
const RECORD_LIMIT: usize = 1 << 20;

/// The store as it was found.
pub(super) struct Found {
    pub(super) tables: Tables,
    pub(super) layers: Layers,
    pub(super) uses: Uses,
    pub(super) damage: Vec<String>,
}

/// Reads the store.
///
/// # Errors
/// A directory can't be read. (A file in it that can't be is damage.)
pub(super) fn recover(layout: &Layout) -> Result<Found, PortError> {
    let mut recovery = Recovery { layout, damage: Vec::new(), serial: AtomicU64::new(0) };
    for (path, _) in entries(&layout.tmp())? {
        recovery.discard(&path)?;
    }
    let mut layers = recovery.layers()?;
    let mut tables = Tables { images: recovery.images(&layers)?, names: BTreeMap::new() };
    let images_damaged = !recovery.damage.is_empty();
    recovery.names(&mut tables, images_damaged)?;
    let uses = recovery.uses()?;
    let is_unknown = |image: &Option<ImageId>| {
        image.as_ref().is_none_or(|image| !tables.images.contains_key(image))
    };
    if images_damaged || uses.values().any(is_unknown) {
        layers.keep_all();
    } else {
        recovery.blobs(&tables)?;
    }
    Ok(Found { tables, layers, uses, damage: recovery.damage })
}

struct Recovery<'a> {
    layout: &'a Layout,
    damage: Vec<String>,
    serial: AtomicU64,
}

impl Recovery<'_> {
    fn layers(&mut self) -> Result<Layers, PortError> {
        let mut layers = Layers::default();
        for (path, name) in entries(&self.layout.layers())? {
            match read_layer(&path, &name) {
                Ok(record) => layers.insert(record),
                Err(error) => self.quarantine(&path, "layer", &error)?,
            }
        }
        Ok(layers)
    }

    fn images(
        &mut self,
        layers: &Layers,
    ) -> Result<BTreeMap<ImageId, Arc<StoredImage>>, PortError> {
        let mut images = BTreeMap::new();
        for (path, name) in entries(&self.layout.images())? {
            match self.image(&path, &name, layers) {
                Ok((id, image)) => drop(images.insert(id, Arc::new(image))),
                Err(error) => self.quarantine(&path, "image", &error)?,
            }
        }
        Ok(images)
    }

    /// The image of a record. What the record itself says is worth little: if it is damaged and
    /// all the rest is sound, the image stays and gets a new record.
    fn image(
        &mut self,
        path: &Path,
        name: &str,
        layers: &Layers,
    ) -> Result<(ImageId, StoredImage), PortError> {
        let id = name.strip_suffix(".json").and_then(digest_of).map(ImageId);
        let id = id.ok_or_else(|| corrupt("it is no record of an image"))?;
        let raw = files::read(&self.layout.blob(&id.0), DOCUMENT_LIMIT)?;
        if hash::digest(&raw) != id.0 {
            return Err(corrupt(format!("the configuration {id} is damaged")));
        }
        let parsed = config::parse(&raw)?;
        if let Some(missing) = parsed.diff_ids.iter().find(|layer| !layers.has(layer)) {
            return Err(corrupt(format!("its layer {missing} is missing")));
        }
        let record = match read_json::<ImageRecord>(path) {
            Ok(record) => record,
            // All that is known of the layers of an embedded image was in it.
            Err(error) if is_embedded(&raw) => return Err(error),
            Err(error) => {
                self.quarantine(path, "image record (made anew)", &error)?;
                files::write_new(path, &files::json(&ImageRecord::default())?)?;
                files::sync_dir(&self.layout.images())?;
                ImageRecord::default()
            }
        };
        Ok((
            id,
            StoredImage {
                created: parsed.created,
                layers: parsed.diff_ids,
                config: parsed.config,
                raw_config: raw.into(),
                manifests: record.manifests,
                embedded: record.embedded,
            },
        ))
    }

    fn names(&mut self, tables: &mut Tables, images_damaged: bool) -> Result<(), PortError> {
        let (mut pending, mut settled) = (Vec::new(), Vec::new());
        for (path, name) in entries(&self.layout.names())? {
            match name.strip_suffix(PENDING) {
                Some(settled) => pending.push((path, settled.to_owned())),
                None => settled.push((path, name)),
            }
        }
        for (path, name) in settled {
            match read_name(&path, &name) {
                Ok((reference, image)) if tables.images.contains_key(&image) => {
                    tables.names.insert(reference, image);
                }
                Ok((reference, image)) if images_damaged => {
                    let error = corrupt(format!("{reference} names {image}, which is not there"));
                    self.quarantine(&path, "name", &error)?;
                }
                Ok(_) => files::remove(&path)?,
                Err(error) => self.quarantine(&path, "name", &error)?,
            }
        }
        for (path, name) in pending {
            match read_name(&path, &name) {
                Ok((reference, image)) if tables.images.contains_key(&image) => {
                    files::rename(&path, &self.layout.name(&reference))?;
                    tables.names.insert(reference, image);
                }
                // Not yet synced when it was cut off, so the image never came to be.
                _ => files::remove(&path)?,
            }
        }
        files::sync_dir(&self.layout.names())
    }

    fn uses(&mut self) -> Result<Uses, PortError> {
        let mut found = Vec::new();
        for (path, name) in entries(&self.layout.snapshots())? {
            match ContainerId::try_from(name) {
                Ok(id) => found.push((id, path)),
                Err(error) => {
                    let error = corrupt(error.to_string());
                    self.quarantine(&path, "snapshot", &error)?;
                }
            }
        }
        Ok(images_of(found))
    }

    fn blobs(&mut self, tables: &Tables) -> Result<(), PortError> {
        let needed = needed_blobs(tables);
        for (path, name) in entries(&self.layout.blobs())? {
            if !digest_of(&name).is_some_and(|digest| needed.contains(&digest)) {
                self.discard(&path)?;
            }
        }
        Ok(())
    }

    fn discard(&self, path: &Path) -> Result<(), PortError> {
        trash::discard(&self.layout.trash(), &self.serial, path)
            .map_err(|error| files::cannot("remove", path, error))
    }

    /// Moves what is damaged aside, and says so.
    fn quarantine(&mut self, path: &Path, kind: &str, why: &PortError) -> Result<(), PortError> {
        let (name, why) = (path.file_name().unwrap_or_default(), chain(why));
        let mut target = self.layout.quarantine().join(name);
        let mut number = 1;
        while target.symlink_metadata().is_ok() {
            number += 1;
            target = self.layout.quarantine().join(name);
            target.as_mut_os_string().push(format!(".{number}"));
        }
        let text = format!("damaged {kind} {}: {why}", path.display());
        tracing::warn!(quarantine = %target.display(), "{text}");
        self.damage.push(format!("{text} (moved to {})", target.display()));
        files::rename(path, &target)
    }
}

pub(crate) fn read_layer(path: &Path, name: &str) -> Result<LayerRecord, PortError> {
    let record: LayerRecord = read_json(&path.join("layer.json"))?;
    if Some(&record.diff_id) != digest_of(name).as_ref() {
        return Err(corrupt(format!("its record says that it is {}", record.diff_id)));
    }
    match fs::symlink_metadata(path.join("diff")) {
        Ok(diff) if diff.is_dir() => Ok(record),
        Ok(_) => Err(corrupt("its tree is no directory")),
        Err(error) => Err(files::cannot("read", &path.join("diff"), error)),
    }
}

fn read_name(path: &Path, name: &str) -> Result<(Reference, ImageId), PortError> {
    let NameRecord { reference, image } = read_json(path)?;
    let reference: Reference = reference
        .parse()
        .map_err(|error: isula_core::image::ReferenceError| corrupt(error.to_string()))?;
    match Layout::name_file(&reference) == name {
        true => Ok((reference, image)),
        false => Err(corrupt(format!("it is the record of {reference}, under another name"))),
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, PortError> {
    let bytes = files::read(path, RECORD_LIMIT)?;
    match bytes.is_empty() {
        true => Err(PortError::new(ErrorKind::Corrupt, "the file is empty")),
        false => json::parse("the file", &bytes, RECORD_LIMIT),
    }
}

/// Whether a configuration may be that of an embedded image.
fn is_embedded(config: &[u8]) -> bool {
    let mark = b"\"created_by\":\"embedded sha256:";
    config.windows(mark.len()).any(|part| part == mark)
}

fn digest_of(name: &str) -> Option<Digest> {
    format!("sha256:{name}").parse().ok()
}

/// The entries of a directory, sorted, so that a restart does the same again.
/// Below this number a further thread costs more than it gains.
const WORTH_A_THREAD: usize = 512;

/// Which image each container needs, with all processors where there are many.
fn images_of(snapshots: Vec<(ContainerId, PathBuf)>) -> Uses {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let share = snapshots.len().div_ceil(processors.max(1)).max(WORTH_A_THREAD);
    let look = |part: &[(ContainerId, PathBuf)]| -> Vec<Option<ImageId>> {
        part.iter().map(|(_, path)| snapshot::image_of(path)).collect()
    };
    let images: Vec<_> = std::thread::scope(|scope| {
        let (here, others) = snapshots.split_at(share.min(snapshots.len()));
        let others: Vec<_> =
            others.chunks(share).map(|part| (part, scope.spawn(move || look(part)))).collect();
        let mut images = look(here);
        for (part, thread) in others {
            images.extend(thread.join().unwrap_or_else(|_| look(part)));
        }
        images
    });
    snapshots.into_iter().map(|(id, _)| id).zip(images).collect()
}

fn entries(dir: &Path) -> Result<Vec<(PathBuf, String)>, PortError> {
    let list = || -> io::Result<Vec<_>> {
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            Ok((entry.path(), entry.file_name().to_string_lossy().into_owned()))
        };
        let mut all = fs::read_dir(dir)?.map(entry).collect::<io::Result<Vec<_>>>()?;
        all.sort_unstable();
        Ok(all)
    };
    list().map_err(|error| files::cannot("read", dir, error))
}
