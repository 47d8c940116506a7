//! Embedded images: what the device's own file system holds becomes an image by a manifest. Nothing is
//! copied: its directories are lower layers of the containers' overlays, which never write to them.
//!
//! The manifest comes from the administrator, by a request of its own. No image that is pulled or
//! loaded can name a directory of the host.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use isula_core::{
    error::{ErrorKind, PortError},
    image::{Image, Reference},
    ports::Result,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    hash, json,
    layer::Origin,
    manifest::{DOCUMENT_LIMIT, LAYER_LIMIT},
    platform::Platform,
    store::{NewImage, Shared},
};

/// `mediaType` of a manifest.
const MEDIA_TYPE: &str = "application/vnd.isula.embedded.manifest.v1+json";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Manifest {
    schema_version: u32,
    media_type: String,
    name: String,
    #[serde(default)]
    created: Option<jiff::Timestamp>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    variant: Option<String>,
    layers: Vec<Layer>,
    #[serde(default)]
    config: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Layer {
    path: PathBuf,
}

/// See [`isula_core::ports::Images::embed`].
pub(crate) fn embed(store: &Shared, bytes: &[u8]) -> Result<Arc<Image>> {
    let manifest: Manifest = json::parse("the manifest", bytes, DOCUMENT_LIMIT)
        .map_err(|error| invalid(error.to_string()))?;
    if manifest.schema_version != 1 || manifest.media_type != MEDIA_TYPE {
        return Err(invalid(format!("the manifest is not of version 1 of the type {MEDIA_TYPE}")));
    }
    let name: Reference = manifest
        .name
        .parse()
        .map_err(|error: isula_core::image::ReferenceError| invalid(error.to_string()))?;
    let name = name.without_digest().ok_or_else(|| {
        invalid(format!("cannot name an image {}: it has a digest", manifest.name))
    })?;
    if manifest.layers.is_empty() || manifest.layers.len() > LAYER_LIMIT {
        return Err(invalid(format!("an image has 1 to {LAYER_LIMIT} layers")));
    }
    let mut layers = Vec::new();
    for Layer { path } in &manifest.layers {
        check_layer(path)?;
        if layers.contains(path) {
            return Err(invalid(format!("layer {} is there twice", path.display())));
        }
        layers.push(path.clone());
    }
    let config = configuration(&manifest, bytes, &layers)?;
    let (names, origin) = (vec![name], Origin::Load);
    let new = NewImage { config, manifests: Vec::new(), layers: Vec::new(), names, origin };
    store.commit_embedded(&new, &layers)
}

fn check_layer(path: &Path) -> Result<()> {
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() || !path.components().all(plain) {
        return Err(invalid(format!("layer {} is no absolute path", path.display())));
    }
    // What a mount option would take apart.
    if path.as_os_str().as_encoded_bytes().iter().any(|byte| b":,\\\0".contains(byte)) {
        return Err(invalid(format!("layer {} has one of : , \\ in its path", path.display())));
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(invalid(format!("layer {} is no directory", path.display()))),
        Err(error) => Err(invalid(format!("layer {}: {error}", path.display()))),
    }
}

/// The configuration, from which the image has its id: it names the manifest it is of.
fn configuration(manifest: &Manifest, bytes: &[u8], layers: &[PathBuf]) -> Result<Vec<u8>> {
    let host = Platform::host();
    let mut config = json!({
        "architecture": manifest.architecture.as_ref().unwrap_or(&host.architecture),
        "os": manifest.os.as_ref().unwrap_or(&host.os),
        "config": manifest.config.clone().unwrap_or_else(|| json!({})),
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [{
            "created_by": format!("embedded {}", hash::digest(bytes)),
            "comment": format!("{} directories of the host", layers.len()),
        }],
    });
    let members = config.as_object_mut().into_iter();
    for members in members {
        let optional = [
            ("created", manifest.created.map(|created| created.to_string())),
            ("variant", manifest.variant.clone()),
        ];
        for (key, value) in optional {
            members.extend(value.map(|value| (key.to_owned(), Value::String(value))));
        }
    }
    serde_json::to_vec(&config).map_err(|error| {
        PortError::with_source(ErrorKind::Internal, "cannot write a configuration", error)
    })
}

fn invalid(message: impl Into<String>) -> PortError {
    PortError::new(ErrorKind::InvalidInput, message)
}
