//! Saving images: archives that `docker load`, `podman load`, skopeo and umoci read.
//!
//! Layers are written uncompressed, byte for byte as their diff ids say, where there is a recipe for
//! that. A layer without one gets a tar of a fixed form, and the image's configuration the digest of
//! that: the archive is then sound in itself, but its image has another id, and that is said.

mod documents;
mod layer;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::Arc,
};

use isula_core::{
    error::{ErrorKind, PortError},
    image::{Digest, Image, Reference},
    ports::{ByteStream, ImageFormat, Progress, ProgressSink, Result},
};

use crate::{
    archive::{Entry, Kind},
    error::from_io,
    hash,
    layer::LayerHold,
    pack::header::{self, ZEROS, padding},
    store::{Meant, Store},
    stream,
};
use layer::Written;

/// An image that is wanted, and the names it is to have in the archive.
struct Wanted {
    image: Arc<Image>,
    names: Vec<Reference>,
}

/// An image ready to be described.
struct Ready {
    config: Vec<u8>,
    config_digest: Digest,
    names: Vec<Reference>,
    layers: Vec<Digest>,
    platform: crate::platform::Platform,
}

/// See [`isula_core::ports::Images::save`].
pub(crate) fn save(
    store: &Store,
    queries: &[String],
    format: ImageFormat,
    progress: ProgressSink,
) -> Result<ByteStream> {
    let wanted = wanted(store, queries)?;
    // Held from here on, so that nobody removes what is still to be written.
    let hold = |layer: &Digest| LayerHold::new(&store.shared, layer.clone());
    let holds: Vec<LayerHold> =
        wanted.iter().flat_map(|wanted| wanted.image.layers.iter().map(hold)).collect();
    let store = store.clone();
    stream::write_blocking(move |output| {
        let saved = write(&store, wanted, format, (&progress, output));
        drop(holds);
        saved
    })
}

/// Each image once, with every name it was asked for by. An id alone names nothing.
fn wanted(store: &Store, queries: &[String]) -> Result<Vec<Wanted>> {
    if queries.is_empty() {
        return Err(PortError::new(ErrorKind::InvalidInput, "no image is named"));
    }
    let index = store.shared.index();
    let mut all: Vec<Wanted> = Vec::new();
    for query in queries {
        let meant = index.find(query)?;
        let image = Arc::clone(meant.image());
        if index.embedded(&image.id).is_some() {
            let text =
                format!("cannot save {query}: it is embedded in the file system of the host");
            return Err(PortError::new(ErrorKind::Unsupported, text));
        }
        let at = all.iter().position(|wanted| wanted.image.id == image.id).unwrap_or(all.len());
        if at == all.len() {
            all.push(Wanted { image, names: Vec::new() });
        }
        if let Meant::Name(name, _) = meant
            && name.tag().is_some()
            && let Some(wanted) = all.get_mut(at)
            && !wanted.names.contains(&name)
        {
            wanted.names.push(name);
        }
    }
    Ok(all)
}

/// Whether a layer is what its diff id says: true if it is, false if that can't be told.
///
/// # Errors
/// `Corrupt` when it is not.
pub(crate) fn verify(store: &Store, diff_id: &Digest) -> Result<bool> {
    Written::verify(store, diff_id)
}

fn write(
    store: &Store,
    wanted: Vec<Wanted>,
    format: ImageFormat,
    (progress, output): (&ProgressSink, &mut impl Write),
) -> Result<()> {
    let mut layers: BTreeMap<Digest, Written> = BTreeMap::new();
    for diff_id in wanted.iter().flat_map(|wanted| &wanted.image.layers) {
        if !layers.contains_key(diff_id) {
            layers.insert(diff_id.clone(), Written::plan(store, diff_id)?);
        }
    }
    let images = wanted
        .into_iter()
        .map(|wanted| documents::ready(wanted, &layers, progress))
        .collect::<Result<Vec<_>>>()?;
    let mut archive = Archive { output, written: Vec::new() };
    let oci = format == ImageFormat::OciArchive;
    let description = match oci {
        true => documents::oci(&images, &layers)?,
        false => documents::docker(&images, &layers)?,
    };
    if oci {
        archive.dir("blobs/")?;
        archive.dir("blobs/sha256/")?;
    }
    for (name, bytes) in description {
        archive.file(&name, &bytes)?;
    }
    for layer in layers.values() {
        let name = documents::layer_name(oci, layer);
        archive.begin(&name, layer.size())?;
        layer.write(archive.output)?;
        archive.sent(padding(layer.size()))?;
        let id: String = layer.diff_id().hex().chars().take(12).collect();
        let (step, current) = ("Saved".to_owned(), layer.size());
        progress(Progress::Layer { id, step, current, total: Some(current) });
    }
    archive.sent(&ZEROS)
}

/// The archive under construction. Its members have no time, so that equal images make equal
/// archives.
struct Archive<'a, W> {
    output: &'a mut W,
    written: Vec<String>,
}

impl<W: Write> Archive<'_, W> {
    fn dir(&mut self, name: &str) -> Result<()> {
        self.header(name, Kind::Directory, 0o755)
    }

    fn begin(&mut self, name: &str, size: u64) -> Result<()> {
        self.header(name, Kind::File { size, sparse: None }, 0o644)
    }

    /// A member that is there already is not written again.
    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        if self.written.iter().any(|written| written == name) {
            return Ok(());
        }
        self.written.push(name.to_owned());
        self.begin(name, bytes.len() as u64)?;
        self.sent(bytes)?;
        self.sent(padding(bytes.len() as u64))
    }

    fn header(&mut self, name: &str, kind: Kind, mode: u32) -> Result<()> {
        let path = name.as_bytes().to_vec();
        let (modified, xattrs) = ((0, 0), Vec::new());
        let entry = Entry { path, kind, mode, uid: 0, gid: 0, modified, xattrs };
        header::write(&entry, self.output).map_err(unsent)
    }

    fn sent(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write_all(bytes).map_err(unsent)
    }
}

fn unsent(error: io::Error) -> PortError {
    from_io("cannot write the archive", error)
}

/// Passes bytes on, hashes and counts them.
struct Counting<W> {
    output: W,
    hash: hash::Hasher,
    count: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.output.write(bytes)?;
        self.hash.update(bytes.get(..length).unwrap_or_default());
        self.count += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
