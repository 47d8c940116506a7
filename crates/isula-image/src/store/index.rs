//! What readers see: every image, its names, and the answer to "which image is meant?".

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
};

use isula_core::{
    error::{ErrorKind, PortError},
    image::{Digest, Image, ImageConfig, ImageId, Reference},
};
use jiff::Timestamp;

use super::{Layers, Tables};

/// An image without its names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredImage {
    pub(crate) created: Option<Timestamp>,
    pub(crate) layers: Vec<Digest>,
    pub(crate) config: ImageConfig,
    pub(crate) raw_config: Arc<[u8]>,
    /// Manifests and indexes that led to it.
    pub(crate) manifests: Vec<Digest>,
    /// Directories of the host that are its layers, base first.
    pub(crate) embedded: Vec<PathBuf>,
}

/// A state of the store, never changed once it is shown.
#[derive(Debug, Default)]
pub(crate) struct Index {
    images: BTreeMap<ImageId, Arc<Image>>,
    names: BTreeMap<Reference, ImageId>,
    newest_first: Vec<Arc<Image>>,
    embedded: BTreeMap<ImageId, Vec<PathBuf>>,
}

impl Index {
    /// The index of these tables; images that did not change are shared with the index `before`.
    pub(super) fn new(tables: &Tables, layers: &Layers, before: Option<&Self>) -> Self {
        let mut names: HashMap<&ImageId, (Vec<Reference>, Vec<Reference>)> = HashMap::new();
        for (reference, id) in &tables.names {
            let (tags, digests) = names.entry(id).or_default();
            match reference.tag() {
                Some(_) => tags.push(reference.clone()),
                None => digests.push(reference.clone()),
            }
        }
        let image = |(id, stored): (&ImageId, &Arc<StoredImage>)| {
            let (tags, digests) = names.remove(id).unwrap_or_default();
            let known = before.and_then(|before| before.images.get(id));
            let image = match known {
                Some(known) if known.tags == tags && known.digests == digests => Arc::clone(known),
                _ => {
                    let sizes = stored.layers.iter().filter_map(|layer| layers.contents(layer));
                    Arc::new(Image {
                        id: id.clone(),
                        tags,
                        digests,
                        created: stored.created,
                        layers: stored.layers.clone(),
                        size: sizes.map(|contents| contents.size).sum(),
                        config: stored.config.clone(),
                        raw_config: Arc::clone(&stored.raw_config),
                    })
                }
            };
            (id.clone(), image)
        };
        let images: BTreeMap<_, _> = tables.images.iter().map(image).collect();
        let mut newest_first: Vec<_> = images.values().cloned().collect();
        newest_first.sort_by_key(|image| std::cmp::Reverse(image.created));
        let embedded = tables.images.iter().filter(|(_, stored)| !stored.embedded.is_empty());
        let embedded = embedded.map(|(id, stored)| (id.clone(), stored.embedded.clone())).collect();
        Self { images, names: tables.names.clone(), newest_first, embedded }
    }

    /// The directories of the host that are the layers of an embedded image, base first.
    pub(crate) fn embedded(&self, id: &ImageId) -> Option<&[PathBuf]> {
        self.embedded.get(id).map(Vec::as_slice)
    }

    pub(crate) fn list(&self) -> Vec<Arc<Image>> {
        self.newest_first.clone()
    }

    pub(crate) fn get(&self, id: &ImageId) -> Option<&Arc<Image>> {
        self.images.get(id)
    }

    /// The image that `query` means, as [`isula_core::ports::Images::find`] says: the whole id
    /// before a name, a name before a prefix of an id (as Docker has it).
    pub(crate) fn find(&self, query: &str) -> Result<Meant<'_>, PortError> {
        let missing =
            || PortError::new(ErrorKind::ImageNotFound, format!("no such image: {query}"));
        let hex = query.strip_prefix("sha256:").unwrap_or(query);
        let is_hex = !hex.is_empty() && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let by_id = hex.len() == 64 || query.len() != hex.len();
        if is_hex && by_id {
            return self.by_prefix(hex, query)?.ok_or_else(missing);
        }
        let reference = query.parse::<Reference>();
        if let Ok(reference) = &reference
            && let Some((name, image)) = self.by_name(reference)
        {
            return Ok(Meant::Name(name, image));
        }
        if is_hex && let Some(meant) = self.by_prefix(hex, query)? {
            return Ok(meant);
        }
        match reference {
            Ok(_) => Err(missing()),
            Err(error) => Err(PortError::new(ErrorKind::InvalidInput, error.to_string())),
        }
    }

    /// A reference with a digest is looked up by that; its tag is then only a remark.
    fn by_name(&self, reference: &Reference) -> Option<(Reference, &Arc<Image>)> {
        let name = match reference.digest() {
            Some(digest) => reference.with_digest(digest.clone()),
            None => reference.clone(),
        };
        let image = self.images.get(self.names.get(&name)?)?;
        Some((name, image))
    }

    fn by_prefix(&self, hex: &str, query: &str) -> Result<Option<Meant<'_>>, PortError> {
        let mut matches = self.images.values().filter(|image| image.id.hex().starts_with(hex));
        match (matches.next(), matches.next()) {
            (Some(image), None) => Ok(Some(Meant::Id(image))),
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(PortError::new(
                ErrorKind::InvalidInput,
                format!("several images have ids that begin with {query}"),
            )),
        }
    }
}

/// How an image was named.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Meant<'a> {
    /// By this name of it.
    Name(Reference, &'a Arc<Image>),
    /// By its id.
    Id(&'a Arc<Image>),
}

impl<'a> Meant<'a> {
    pub(crate) fn image(&self) -> &'a Arc<Image> {
        match self {
            Self::Name(_, image) | Self::Id(image) => image,
        }
    }
}
