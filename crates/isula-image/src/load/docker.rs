//! docker-archive: `manifest.json` names a configuration, layers and tags for each image
//! (moby, image/spec v1.2, "Combined Image JSON + Filesystem Changeset Format").

use isula_core::{error::PortError, image::Digest, ports::Result};
use serde::Deserialize;

use super::{Members, Planned, PlannedLayer, pair, verify};
use crate::{
    config,
    error::corrupt,
    json,
    manifest::{DOCUMENT_LIMIT, check_layer_count},
};

const MANIFEST: &str = "manifest.json";
/// The most images of one archive.
const IMAGE_LIMIT: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

pub(super) fn plan(members: &Members) -> Result<Vec<Planned>> {
    let bytes = members.document(MANIFEST, DOCUMENT_LIMIT)?;
    let items: Vec<Item> = json::parse("manifest.json", &bytes, DOCUMENT_LIMIT)?;
    match items.len() {
        0 => Err(corrupt("the archive's manifest.json names no image")),
        1..=IMAGE_LIMIT => items.into_iter().map(|item| image(members, item)).collect(),
        count => Err(corrupt(format!("the archive has {count} images, more than {IMAGE_LIMIT}"))),
    }
}

fn image(members: &Members, item: Item) -> Result<Planned> {
    let config = members.document(&item.config, DOCUMENT_LIMIT)?;
    if let Some(digest) = digest_in_name(&item.config) {
        verify("the configuration", &config, &digest)?;
    }
    let layers = item.layers.unwrap_or_default();
    check_layer_count(layers.len())?;
    let layer = |(diff_id, name): (Digest, String)| {
        Ok(PlannedLayer { diff_id, part: members.part(&name)?, blob: None })
    };
    let layers =
        pair(config::parse(&config)?.diff_ids, layers)?.map(layer).collect::<Result<_>>()?;
    let names = item.repo_tags.unwrap_or_default().into_iter().map(|tag| {
        tag.parse().map_err(|error: isula_core::image::ReferenceError| corrupt(error.to_string()))
    });
    let names = names.collect::<Result<_, PortError>>()?;
    Ok(Planned { config, manifests: Vec::new(), names, layers })
}

/// A configuration is mostly named by its digest (`<hex>.json`, `blobs/sha256/<hex>`); some tools
/// call it otherwise, and promise nothing.
fn digest_in_name(name: &str) -> Option<Digest> {
    let file = name.rsplit('/').next()?;
    format!("sha256:{}", file.strip_suffix(".json").unwrap_or(file)).parse().ok()
}
