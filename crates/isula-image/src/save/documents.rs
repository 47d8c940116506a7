//! What describes the images of an archive: configurations, manifests, indexes.

use std::collections::{BTreeMap, BTreeSet};

use isula_core::{
    error::{ErrorKind, PortError},
    image::Digest,
    ports::{Progress, ProgressSink, Result},
};
use serde_json::{Value, json};

use super::{Ready, Wanted, layer::Written};
use crate::{
    hash,
    manifest::{OCI_INDEX, OCI_MANIFEST},
    platform::Platform,
};

type Layers = BTreeMap<Digest, Written>;
/// Small members, by name.
type Members = Vec<(String, Vec<u8>)>;

/// The image with its configuration as it will be in the archive.
pub(super) fn ready(wanted: Wanted, layers: &Layers, progress: &ProgressSink) -> Result<Ready> {
    let Wanted { image, names } = wanted;
    let written = |diff_id: &Digest| layers.get(diff_id).map(|layer| layer.digest().clone());
    let digests: Vec<Digest> = image.layers.iter().filter_map(written).collect();
    let config = match digests == image.layers {
        true => image.raw_config.to_vec(),
        false => {
            let config = with_diff_ids(&image.raw_config, &digests)?;
            let (old, new) = (&image.id, hash::digest(&config));
            progress(Progress::Line(format!(
                "image {old}: a layer can't be written byte for byte as it came: \
                 in the archive the image has the id {new}"
            )));
            config
        }
    };
    let isula_core::image::ImageConfig { os, architecture, variant, .. } = image.config.clone();
    let platform = Platform { os, architecture, variant };
    let config_digest = hash::digest(&config);
    Ok(Ready { config, config_digest, names, layers: image.layers.clone(), platform })
}

fn with_diff_ids(config: &[u8], digests: &[Digest]) -> Result<Vec<u8>> {
    let broken = |error: serde_json::Error| {
        PortError::with_source(ErrorKind::Internal, "cannot rewrite a configuration", error)
    };
    let mut config: Value = serde_json::from_slice(config).map_err(broken)?;
    if let Some(rootfs) = config.get_mut("rootfs").and_then(Value::as_object_mut) {
        rootfs.insert("diff_ids".to_owned(), json!(digests));
    }
    serde_json::to_vec(&config).map_err(broken)
}

/// The name of a layer in the archive.
pub(super) fn layer_name(oci: bool, layer: &Written) -> String {
    match oci {
        true => format!("blobs/sha256/{}", layer.digest().hex()),
        false => format!("{}.tar", layer.digest().hex()),
    }
}

/// docker-archive: `manifest.json` and the configurations.
pub(super) fn docker(images: &[Ready], layers: &Layers) -> Result<Members> {
    let mut members = Vec::new();
    let mut items = Vec::new();
    for image in images {
        let config = format!("{}.json", image.config_digest.hex());
        // In full: Podman would take a short name for one of `localhost/`.
        let names: Vec<String> = image.names.iter().map(ToString::to_string).collect();
        let paths: Vec<String> = image
            .layers
            .iter()
            .filter_map(|layer| Some(layer_name(false, layers.get(layer)?)))
            .collect();
        // Docker writes null and not an empty list.
        let names = if names.is_empty() { Value::Null } else { json!(names) };
        items.push(json!({"Config": config, "RepoTags": names, "Layers": paths}));
        members.push((config, image.config.clone()));
    }
    members.insert(0, ("manifest.json".to_owned(), text(&items)?));
    Ok(members)
}

/// OCI image layout: `oci-layout`, `index.json`, manifests and configurations.
pub(super) fn oci(images: &[Ready], layers: &Layers) -> Result<Members> {
    let mut blobs = Vec::new();
    let mut descriptors = Vec::new();
    let mut tags = BTreeSet::new();
    for image in images {
        let layer = |diff_id: &Digest| {
            let layer = layers.get(diff_id)?;
            Some(json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": layer.digest(),
                "size": layer.size(),
            }))
        };
        let manifest = text(&json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": image.config_digest,
                "size": image.config.len(),
            },
            "layers": image.layers.iter().filter_map(layer).collect::<Vec<_>>(),
        }))?;
        let digest = hash::digest(&manifest);
        let descriptor = json!({
            "mediaType": OCI_MANIFEST,
            "digest": digest,
            "size": manifest.len(),
            "platform": image.platform,
        });
        let named = image.names.iter().map(|name| {
            let tag = name.tag().unwrap_or_default();
            // The specification wants a name only once; the second one has it in full.
            let short = match tags.insert(tag.to_owned()) {
                true => tag.to_owned(),
                false => name.to_string(),
            };
            let mut named = descriptor.clone();
            let annotations = json!({
                "io.containerd.image.name": name.to_string(),
                "org.opencontainers.image.ref.name": short,
            });
            if let Some(members) = named.as_object_mut() {
                members.insert("annotations".to_owned(), annotations);
            }
            named
        });
        descriptors.extend(named);
        if image.names.is_empty() {
            descriptors.push(descriptor);
        }
        blobs.push((blob_name(&digest), manifest));
        blobs.push((blob_name(&image.config_digest), image.config.clone()));
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors});
    let mut members = vec![
        ("oci-layout".to_owned(), text(&json!({"imageLayoutVersion": "1.0.0"}))?),
        ("index.json".to_owned(), text(&index)?),
    ];
    members.append(&mut blobs);
    Ok(members)
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn text(document: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(document).map_err(|error| {
        PortError::with_source(ErrorKind::Internal, "cannot write a document", error)
    })
}
