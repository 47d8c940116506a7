//! OCI image layout in a tar (image-spec image-layout.md).

use std::collections::BTreeMap;

use isula_core::{
    error::{ErrorKind, PortError},
    image::{Digest, Reference},
    ports::Result,
};
use serde::Deserialize;

use super::{Members, Planned, PlannedLayer, pair, verify};
use crate::{
    config,
    error::corrupt,
    json,
    manifest::{DOCUMENT_LIMIT, Descriptor, Document, Manifest},
    platform::{Platform, choose},
};

/// Indexes within indexes.
const DEPTH: usize = 4;
/// The whole name, as containerd and BuildKit write it.
const NAME: &str = "io.containerd.image.name";
/// The specification's: a whole name by some tools, a mere tag by others.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// BuildKit's mark of what is no image, but says something of one.
const ATTESTATION: &str = "vnd.docker.reference.type";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

pub(super) fn plan(members: &Members) -> Result<Vec<Planned>> {
    let bytes = members.document("oci-layout", DOCUMENT_LIMIT)?;
    let layout: Layout = json::parse("oci-layout", &bytes, DOCUMENT_LIMIT)?;
    if layout.image_layout_version.split('.').next() != Some("1") {
        return Err(PortError::new(
            ErrorKind::Unsupported,
            format!("the archive has the unknown layout version {:?}", layout.image_layout_version),
        ));
    }
    let bytes = members.document("index.json", DOCUMENT_LIMIT)?;
    let Document::Index(index) = Document::parse(&bytes, None)? else {
        return Err(corrupt("the archive's index.json is no index"));
    };
    let mut images = Vec::new();
    for (name, group) in by_name(index.manifests)? {
        let names: Vec<Reference> = name.into_iter().collect();
        for descriptor in select(group)? {
            images.push(image(members, &descriptor, names.clone())?);
        }
    }
    match images.is_empty() {
        true => Err(corrupt("the archive's index.json names no image")),
        false => Ok(images),
    }
}

/// Images of one name are one image for several platforms.
fn by_name(descriptors: Vec<Descriptor>) -> Result<BTreeMap<Option<Reference>, Vec<Descriptor>>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for descriptor in descriptors.into_iter().filter(is_image) {
        let name = name_of(&descriptor)?;
        let group = groups.entry(name).or_default();
        // `docker save` lists an image once for each of its tags.
        if !group.contains(&descriptor) {
            group.push(descriptor);
        }
    }
    Ok(groups)
}

fn name_of(descriptor: &Descriptor) -> Result<Option<Reference>> {
    let annotation = |key| descriptor.annotations.get(key);
    let text = match (annotation(NAME), annotation(REF_NAME)) {
        (Some(name), _) => name,
        // A lone word is a tag of nobody knows what.
        (None, Some(name)) if name.contains(['/', ':']) => name,
        _ => return Ok(None),
    };
    let reference: Reference = text.parse().map_err(|error| {
        PortError::with_source(
            ErrorKind::Corrupt,
            "an image of the archive has no valid name",
            error,
        )
    })?;
    // The digest in a name is checked by way of the descriptor, if at all; the tag is the name.
    Ok(reference.without_digest())
}

fn is_image(descriptor: &Descriptor) -> bool {
    let unknown = |platform: &Platform| platform.os == "unknown";
    !descriptor.annotations.contains_key(ATTESTATION)
        && !descriptor.platform.as_ref().is_some_and(unknown)
}

/// Of several descriptors for different platforms, ours; those without a platform each are an
/// image of their own.
fn select(group: Vec<Descriptor>) -> Result<Vec<Descriptor>> {
    if group.len() == 1 || group.iter().any(|descriptor| descriptor.platform.is_none()) {
        return Ok(group);
    }
    ours(&group).map(|descriptor| vec![descriptor.clone()])
}

fn ours(descriptors: &[Descriptor]) -> Result<&Descriptor> {
    let host = Platform::host();
    choose(&host, descriptors, |descriptor| descriptor.platform.as_ref()).ok_or_else(|| {
        PortError::new(ErrorKind::NotFound, format!("the archive has no image for {host}"))
    })
}

fn image(members: &Members, descriptor: &Descriptor, names: Vec<Reference>) -> Result<Planned> {
    let (bytes, manifest) = manifest(members, descriptor)?;
    let config = blob(members, "the configuration", &manifest.config)?;
    let diff_ids = config::parse(&config)?.diff_ids;
    let layer = |(diff_id, layer): (Digest, Descriptor)| {
        let part = members.part(&path(&layer.digest))?;
        Ok(PlannedLayer { diff_id, part, blob: Some((layer.digest, layer.size)) })
    };
    let layers = pair(diff_ids, manifest.layers)?.map(layer).collect::<Result<_>>()?;
    Ok(Planned { config, manifests: vec![bytes], names, layers })
}

/// Follows indexes to a manifest for this machine.
fn manifest(members: &Members, descriptor: &Descriptor) -> Result<(Vec<u8>, Manifest)> {
    let mut descriptor = descriptor.clone();
    for _ in 0..=DEPTH {
        let bytes = blob(members, "the manifest", &descriptor)?;
        match Document::parse(&bytes, Some(&descriptor.media_type))? {
            Document::Manifest(manifest) => return Ok((bytes, manifest)),
            Document::Index(index) => {
                let images: Vec<_> = index.manifests.into_iter().filter(is_image).collect();
                descriptor = match images.as_slice() {
                    [only] => only.clone(),
                    several => ours(several)?.clone(),
                };
            }
        }
    }
    Err(corrupt(format!("the archive has indexes nested deeper than {DEPTH}")))
}

/// A document of the archive, verified by size and digest.
fn blob(members: &Members, what: &str, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let bytes = members.document(&path(&descriptor.digest), DOCUMENT_LIMIT)?;
    if bytes.len() as u64 != descriptor.size {
        return Err(corrupt(format!(
            "{what} {} has {} bytes and not {} as its descriptor says",
            descriptor.digest,
            bytes.len(),
            descriptor.size
        )));
    }
    verify(what, &bytes, &descriptor.digest)?;
    Ok(bytes)
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
