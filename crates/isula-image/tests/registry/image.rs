//! Images to pull, made in memory.

use std::{collections::HashMap, io::Write, sync::Arc};

use isula_core::{image::Digest, ports::ProgressSink};
use isula_image::{Settings, Store, registry};

use crate::server::{Reply, Seen, blob, digest, reply};

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const ARCHITECTURE: &str = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };

/// A layer, compressed and not.
#[derive(Clone)]
pub struct Layer {
    pub blob: Vec<u8>,
    pub diff_id: Digest,
}

impl Layer {
    /// A tar.gz of files with contents.
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, path, *content).unwrap();
        }
        let tar = archive.into_inner().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        Self { blob: gzip.finish().unwrap(), diff_id: digest(&tar) }
    }
}

/// An image as a registry keeps it.
#[derive(Clone)]
pub struct TestImage {
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    pub layers: Vec<Layer>,
}

impl TestImage {
    pub fn new(layers: &[Layer]) -> Self {
        Self::with_config(layers, &config(ARCHITECTURE, layers))
    }

    pub fn with_config(layers: &[Layer], config: &str) -> Self {
        let entries: Vec<_> = layers
            .iter()
            .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer.blob))
            .collect();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{},"layers":[{}]}}"#,
            descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
            entries.join(",")
        );
        Self { manifest: manifest.into(), config: config.into(), layers: layers.to_vec() }
    }

    /// Puts all of it on a shelf, the manifest under `tag` too.
    pub fn shelve(&self, shelf: &mut Shelf, tag: &str) {
        shelf.manifest(tag, OCI_MANIFEST, &self.manifest);
        shelf.blob(&self.config);
        for layer in &self.layers {
            shelf.blob(&layer.blob);
        }
    }
}

pub fn config(architecture: &str, layers: &[Layer]) -> String {
    let diff_ids: Vec<_> = layers.iter().map(|layer| format!("\"{}\"", layer.diff_id)).collect();
    format!(
        r#"{{"os":"linux","architecture":"{architecture}","config":{{"Cmd":["sh"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diff_ids.join(",")
    )
}

pub fn descriptor(media_type: &str, bytes: &[u8]) -> String {
    let digest = digest(bytes);
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#, bytes.len())
}

pub fn index(entries: &[(&str, &[u8], &str)]) -> Vec<u8> {
    let entries: Vec<_> = entries
        .iter()
        .map(|(media_type, bytes, platform)| {
            let descriptor = descriptor(media_type, bytes);
            let open = descriptor.strip_suffix('}').unwrap();
            match platform.split_once('/') {
                Some((os, architecture)) => format!(
                    r#"{open},"platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#
                ),
                None => descriptor,
            }
        })
        .collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#,
        entries.join(",")
    )
    .into()
}

/// What a good registry has; repositories are not told apart.
#[derive(Clone, Default)]
pub struct Shelf {
    manifests: HashMap<String, (String, Vec<u8>)>,
    pub blobs: HashMap<String, Vec<u8>>,
}

impl Shelf {
    /// Under its digest and `tag`.
    pub fn manifest(&mut self, tag: &str, media_type: &str, bytes: &[u8]) {
        for name in [tag.to_owned(), digest(bytes).to_string()] {
            self.manifests.insert(name, (media_type.to_owned(), bytes.to_vec()));
        }
    }

    pub fn blob(&mut self, bytes: &[u8]) {
        self.blobs.insert(digest(bytes).to_string(), bytes.to_vec());
    }

    pub fn answer(&self, seen: &Seen) -> Reply {
        let (rest, name) = seen.target.rsplit_once('/').unwrap();
        if rest.ends_with("/manifests")
            && let Some((media_type, bytes)) = self.manifests.get(name)
        {
            return reply(200, bytes.clone()).header("Content-Type", media_type);
        }
        match self.blobs.get(name).filter(|_| rest.ends_with("/blobs")) {
            Some(bytes) => blob(seen, bytes),
            None => reply(404, ""),
        }
    }
}

/// A store in a directory that goes with it.
pub struct TestStore {
    pub store: Store,
    pub dir: tempfile::TempDir,
}

impl TestStore {
    pub fn new(registry: registry::Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("storage");
        let store = Store::open(Settings { root, registry, unpacked_limit: None }).unwrap();
        Self { store, dir }
    }

    /// The files of a layer.
    pub fn layer(&self, layer: &Layer) -> std::path::PathBuf {
        self.dir.path().join("storage/layers").join(layer.diff_id.hex()).join("diff")
    }

    /// The names of what lies in one of its directories.
    pub fn entries(&self, name: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("storage").join(name)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// Nobody looks.
pub fn unseen() -> ProgressSink {
    Arc::new(|_| {})
}
