//! Manifests and indexes, OCI's and Docker's (image-spec manifest.md and image-index.md,
//! distribution's manifest-v2-2): parsed strictly, because a document that two parsers read
//! differently carries different bytes under one trusted digest.

use std::collections::{BTreeMap, HashSet};

use isula_core::{
    error::{ErrorKind, PortError},
    image::Digest,
};
use serde::Deserialize;

use crate::{error::corrupt, json, platform::Platform};

/// The largest manifest, index or image configuration that is read, in bytes.
pub const DOCUMENT_LIMIT: usize = 4 << 20;
/// The most layers of an image: overlayfs takes no more with all its mount interfaces.
pub const LAYER_LIMIT: usize = 127;
/// The most descriptors of an index.
pub const DESCRIPTOR_LIMIT: usize = 1000;

/// OCI's manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI's index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// A reference to a blob.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is; empty where an index leaves it out.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What it was built for.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// Names and remarks.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub annotations: BTreeMap<String, String>,
}

fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// What an image consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// [`OCI_MANIFEST`] or [`DOCKER_MANIFEST`].
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
}

/// A choice of manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// [`OCI_INDEX`] or [`DOCKER_LIST`].
    pub media_type: String,
    /// What there is to choose from: manifests and further indexes.
    pub manifests: Vec<Descriptor>,
}

/// What a manifest's digest or tag leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// An image.
    Manifest(Manifest),
    /// A choice of images.
    Index(Index),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads a manifest or an index. `media_type` is what the descriptor or the `Content-Type`
    /// says, and must agree with the document; `None` where nothing is said.
    ///
    /// # Errors
    /// `Corrupt`: malformed, ambiguous (both a manifest and an index, a key twice or in two
    /// spellings), of another type than announced, or beyond a limit. `Unsupported`: a schema 1
    /// manifest, or something that is no container image.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, PortError> {
        let raw: Raw = json::parse("the manifest", bytes, DOCUMENT_LIMIT)?;
        refuse_spellings(bytes)?;
        let announced = media_type.map(essence).filter(|announced| !announced.is_empty());
        let own = raw.media_type.as_deref().filter(|own| !own.is_empty());
        if let (Some(announced), Some(own)) = (&announced, own)
            && announced != own
        {
            return Err(corrupt(format!(
                "the manifest was announced as {announced} but says it is {own}"
            )));
        }
        if raw.schema_version == Some(1) || raw.fs_layers.is_some() {
            return Err(unsupported("the image has a schema 1 manifest, which is obsolete"));
        }
        let media_type = own.map(str::to_owned).or(announced);
        match (raw.manifests, raw.layers, raw.config, media_type.as_deref()) {
            (Some(_), Some(_), ..) | (Some(_), _, Some(_), _) => {
                Err(corrupt("the manifest is both a manifest and an index"))
            }
            (Some(manifests), None, None, None | Some(OCI_INDEX | DOCKER_LIST)) => {
                Index::new(media_type, manifests).map(Self::Index)
            }
            (None, layers, Some(config), None | Some(OCI_MANIFEST | DOCKER_MANIFEST)) => {
                Manifest::new(media_type, config, layers.unwrap_or_default()).map(Self::Manifest)
            }
            (.., None | Some(OCI_MANIFEST | DOCKER_MANIFEST | OCI_INDEX | DOCKER_LIST)) => {
                Err(corrupt("the manifest lacks the members of its type"))
            }
            (.., Some(other)) => {
                Err(unsupported(format!("the manifest is of the unknown type {other}")))
            }
        }
    }
}

impl Manifest {
    fn new(
        media_type: Option<String>,
        config: Descriptor,
        layers: Vec<Descriptor>,
    ) -> Result<Self, PortError> {
        if !CONFIGS.contains(&config.media_type.as_str()) {
            let kind = &config.media_type;
            return Err(unsupported(format!("it is no container image, but of type {kind}")));
        }
        if config.size > DOCUMENT_LIMIT as u64 {
            return Err(corrupt(format!(
                "the configuration is larger than {DOCUMENT_LIMIT} bytes"
            )));
        }
        check_layer_count(layers.len())?;
        layers.iter().try_for_each(|layer| check_layer_type(&layer.media_type))?;
        let media_type = media_type.unwrap_or_else(|| OCI_MANIFEST.to_owned());
        Ok(Self { media_type, config, layers })
    }
}

impl Index {
    fn new(media_type: Option<String>, manifests: Vec<Descriptor>) -> Result<Self, PortError> {
        if manifests.len() > DESCRIPTOR_LIMIT {
            return Err(corrupt(format!(
                "the index has {} entries, more than {DESCRIPTOR_LIMIT}",
                manifests.len()
            )));
        }
        let media_type = media_type.unwrap_or_else(|| OCI_INDEX.to_owned());
        Ok(Self { media_type, manifests })
    }
}

/// Refuses more than [`LAYER_LIMIT`] layers.
///
/// # Errors
/// `Corrupt`.
pub fn check_layer_count(count: usize) -> Result<(), PortError> {
    match count <= LAYER_LIMIT {
        true => Ok(()),
        false => Err(corrupt(format!("the image has {count} layers, more than {LAYER_LIMIT}"))),
    }
}

/// The compression is found out from the bytes; the media type only has to be one of a tar.
fn check_layer_type(media_type: &str) -> Result<(), PortError> {
    let (base, suffix) = media_type.split_once('+').unwrap_or((media_type, ""));
    let known = match base {
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar" => {
            matches!(suffix, "" | "gzip" | "zstd" | "xz")
        }
        "application/vnd.docker.image.rootfs.diff.tar"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => suffix.is_empty(),
        _ => false,
    };
    match known {
        true => Ok(()),
        false => Err(unsupported(format!("a layer is of the unknown type {media_type}"))),
    }
}

/// Go's JSON reader, and with it most other engines, takes `Layers` for `layers`.
fn refuse_spellings(bytes: &[u8]) -> Result<(), PortError> {
    let keys: BTreeMap<String, serde::de::IgnoredAny> =
        json::parse("the manifest", bytes, DOCUMENT_LIMIT)?;
    let mut seen = HashSet::new();
    match keys.keys().find(|key| !seen.insert(key.to_ascii_lowercase())) {
        Some(key) => Err(corrupt(format!("the manifest has the key {key:?} in two spellings"))),
        None => Ok(()),
    }
}

/// A media type without its parameters.
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn unsupported(message: impl Into<String>) -> PortError {
    PortError::new(ErrorKind::Unsupported, message)
}

#[cfg(test)]
mod tests {
    use super::{DOCKER_MANIFEST, Document, OCI_INDEX, OCI_MANIFEST};

    const CONFIG: &str = r#""config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","size":2}"#;

    fn layer(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"sha256:{}","size":2}}"#, "b".repeat(64))
    }

    #[test]
    fn manifests_are_parsed_strictly() {
        let tar = layer("application/vnd.oci.image.layer.v1.tar+gzip");
        let odd = layer("application/x-squashfs");
        let many = vec![tar.as_str(); 128].join(",");
        let huge = CONFIG.replace("\"size\":2", "\"size\":5000000");
        let artifact = CONFIG.replace("image.config", "helm.config");
        for (body, announced, outcome) in [
            (format!(r#"{CONFIG},"layers":[{tar}]"#), Some(OCI_MANIFEST), "manifest"),
            (format!(r#"{CONFIG},"layers":[{tar}]"#), None, "manifest"),
            (
                format!(r#"{CONFIG},"layers":null"#),
                Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
                "manifest",
            ),
            (r#""manifests":[]"#.into(), Some(OCI_INDEX), "index"),
            (r#""manifests":[]"#.into(), None, "index"),
            (
                format!(r#""mediaType":"{DOCKER_MANIFEST}",{CONFIG},"layers":[{tar}]"#),
                Some(OCI_MANIFEST),
                "was announced as",
            ),
            (format!(r#""manifests":[],{CONFIG},"layers":[{tar}]"#), None, "both"),
            (r#""manifests":[],"layers":[]"#.into(), None, "both"),
            (format!(r#"{CONFIG},"layers":[{tar}]"#), Some(OCI_INDEX), "lacks the members"),
            (format!(r#"{CONFIG},"layers":[],"layers":[]"#), None, "twice"),
            (format!(r#"{CONFIG},"layers":[],"Layers":[]"#), None, "two spellings"),
            (format!(r#"{CONFIG},"layers":[{odd}]"#), None, "unknown type application/x-squashfs"),
            (format!(r#"{CONFIG},"layers":[{many}]"#), None, "128 layers"),
            (format!(r#"{huge},"layers":[]"#), None, "configuration is larger"),
            (format!(r#"{artifact},"layers":[]"#), None, "no container image"),
            (r#""schemaVersion":1,"fsLayers":[]"#.into(), None, "schema 1"),
            (r#""mediaType":"text/plain""#.into(), None, "unknown type text/plain"),
            (r#""x":1"#.into(), None, "lacks the members"),
            (
                format!(r#"{},"layers":[]"#, CONFIG.replace("sha256:", "sha256:../")),
                None,
                "invalid digest",
            ),
        ] {
            let text = format!("{{{body}}}");
            let got = match Document::parse(text.as_bytes(), announced) {
                Ok(Document::Manifest(_)) => "manifest".to_owned(),
                Ok(Document::Index(_)) => "index".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(got.contains(outcome), "{text}: {got}");
        }
    }
}
