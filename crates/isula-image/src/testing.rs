//! What the tests build with: archives byte by byte, images, stores.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use isula_core::{
    error::PortError,
    id::ContainerId,
    image::{Digest, Reference},
    ports::{ByteStream, ProgressSink},
};

use crate::{Settings, Store, hash, registry};

/// An archive under construction; nothing is checked.
#[derive(Default, Clone)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    /// A raw header and its data.
    pub(crate) fn raw(mut self, name: &[u8], kind: u8, link: &[u8], data: &[u8]) -> Self {
        self.header((kind, name), link, (0o644, data.len() as u64), |_| {});
        self.data(data)
    }

    pub(crate) fn header(
        &mut self,
        (kind, name): (u8, &[u8]),
        link: &[u8],
        (mode, size): (u32, u64),
        change: impl FnOnce(&mut [u8; 512]),
    ) {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &name[..name.len().min(100)]);
        put(100, format!("{mode:07o}").as_bytes());
        put(108, b"0000000\x000000000\0");
        put(124, format!("{size:011o}").as_bytes());
        put(136, b"14000000000\0");
        put(156, &[kind]);
        put(157, &link[..link.len().min(100)]);
        put(257, b"ustar\x0000");
        change(&mut block);
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend(block);
    }

    pub(crate) fn data(mut self, data: &[u8]) -> Self {
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.raw(name.as_bytes(), b'0', b"", data)
    }

    pub(crate) fn dir(mut self, name: &str) -> Self {
        self.header((b'5', name.as_bytes()), b"", (0o755, 0), |_| {});
        self
    }

    pub(crate) fn symlink(self, name: &str, text: &str) -> Self {
        self.raw(name.as_bytes(), b'2', text.as_bytes(), b"")
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.raw(name.as_bytes(), b'1', target.as_bytes(), b"")
    }

    /// An extended header for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut all = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            all.extend(format!("{length} {key}=").bytes());
            all.extend(*value);
            all.push(b'\n');
        }
        self.raw(b"PaxHeaders/x", b'x', b"", &all)
    }

    /// The archive without its end mark.
    pub(crate) fn open(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A configuration of these (uncompressed) layers; `extra` makes images differ.
pub(crate) fn config(layers: &[&[u8]], extra: &str) -> Vec<u8> {
    let ids: Vec<String> =
        layers.iter().map(|layer| format!("\"{}\"", hash::digest(layer))).collect();
    format!(
        r#"{{"architecture":"amd64","os":"linux","created":"2024-01-02T03:04:05Z","author":"{extra}",
        "config":{{"Cmd":["sh"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        ids.join(",")
    )
    .into_bytes()
}

/// Configuration, tags, layers.
pub(crate) type ArchiveImage<'a> = (Vec<u8>, &'a [&'a str], &'a [&'a [u8]]);

/// What `docker save` writes of images.
pub(crate) fn docker_archive(images: &[ArchiveImage<'_>]) -> Tar {
    let mut tar = Tar::default();
    let mut items = Vec::new();
    for (config, tags, layers) in images {
        let id = hash::digest(config).hex().to_owned();
        tar = tar.file(&format!("{id}.json"), config);
        let mut names = Vec::new();
        for layer in *layers {
            let name = format!("{}/layer.tar", hash::digest(layer).hex());
            tar = tar.file(&name, layer);
            names.push(name);
        }
        items.push(
            serde_json::json!({"Config": format!("{id}.json"), "RepoTags": tags, "Layers": names}),
        );
    }
    tar.file("manifest.json", &serde_json::to_vec(&items).unwrap())
}

/// A store in a directory of its own.
pub(crate) struct Scratch {
    pub(crate) dir: tempfile::TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("storage")
    }

    pub(crate) fn settings(&self) -> Settings {
        let (root, registry) = (self.root(), registry::Settings::default());
        Settings { root, registry, unpacked_limit: None }
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(self.settings()).unwrap()
    }

    /// All files below a directory of the store, but not within `diff` directories.
    pub(crate) fn files(&self, below: &str) -> Vec<String> {
        let mut all = Vec::new();
        list(&self.root().join(below), &mut all);
        all.sort();
        all
    }
}

fn list(dir: &Path, all: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        all.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() && entry.file_name() != "diff" {
            list(&entry.path(), all);
        }
    }
}

/// Waits until what nothing needs has been removed.
pub(crate) fn settle(store: &Store) {
    store.shared.trash().wait();
}

pub(crate) fn stream(bytes: &[u8]) -> ByteStream {
    let pieces: Vec<_> =
        bytes.chunks(10_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Box::pin(futures_util::stream::iter(pieces))
}

pub(crate) fn silent() -> ProgressSink {
    Arc::new(|_| {})
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

pub(crate) fn digest(text: &str) -> Digest {
    hash::digest(text.as_bytes())
}

pub(crate) fn container(number: u8) -> ContainerId {
    ContainerId::from_random([number; 32])
}

/// The text of an error with all its causes.
pub(crate) fn text(error: &PortError) -> String {
    isula_core::error::chain(error)
}
