//! Images to pull, made from numbers: the same bytes on every machine.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use flate2::{Compression, write::GzEncoder};
use isula_tests::programs::repository;
use serde_json::json;
use sha2::{Digest, Sha256};

/// What an image looks like.
#[derive(Clone, Copy, Debug)]
pub struct Picture {
    /// Its name.
    pub name: &'static str,
    /// How a row names it.
    pub about: &'static str,
    layers: u64,
    files: u64,
    size: u64,
}

/// Few large files: what a registry, a disk and two hashes can do.
pub const LARGE: Picture =
    Picture { name: "large", about: "300 MiB in 5 layers", layers: 5, files: 20, size: 3 << 20 };
/// Many small files: what a file system can do.
pub const MANY: Picture = Picture {
    name: "many",
    about: "50,000 files in 50 layers",
    layers: 50,
    files: 1000,
    size: 2 << 10,
};

impl Picture {
    /// An OCI layout of it, tag `latest`; made once.
    pub fn layout(&self) -> Result<PathBuf> {
        let directory = store()?.join(format!("bench-{}", self.name));
        if !directory.join("index.json").exists() {
            let fresh = directory.with_extension("part");
            drop(fs::remove_dir_all(&fresh));
            self.make(&fresh)?;
            fs::rename(&fresh, &directory)?;
        }
        Ok(directory)
    }

    /// It as an archive of `docker save`, named `docker.io/bench/NAME:latest`; made once.
    pub fn archive(&self) -> Result<PathBuf> {
        let file = store()?.join(format!("bench-{}.tar", self.name));
        if !file.exists() {
            let source = format!("oci:{}:latest", self.layout()?.display());
            let target = format!("docker-archive:{}:bench/{}:latest", file.display(), self.name);
            let status =
                Command::new("skopeo").args(["copy", "--quiet", &source, &target]).status()?;
            ensure!(status.success(), "skopeo: {status}");
        }
        Ok(file)
    }

    fn make(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory.join("blobs/sha256"))?;
        let mut layers = Vec::new();
        let mut differences = Vec::new();
        for number in 0..self.layers {
            let (packed, plain) = self.layer(number)?;
            differences.push(format!("sha256:{plain}"));
            let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
            layers.push(blob(directory, kind, &packed)?);
        }
        let config = json!({
            "created": "2026-01-01T00:00:00Z", "architecture": "amd64", "os": "linux",
            "config": { "Cmd": ["/bin/true"] },
            "rootfs": { "type": "layers", "diff_ids": differences }
        });
        let kind = "application/vnd.oci.image.config.v1+json";
        let config = blob(directory, kind, config.to_string().as_bytes())?;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers
        });
        let mut manifest = blob(directory, kind, manifest.to_string().as_bytes())?;
        if let Some(fields) = manifest.as_object_mut() {
            let name = json!({ "org.opencontainers.image.ref.name": "latest" });
            fields.insert("annotations".to_owned(), name);
        }
        fs::write(directory.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}")?;
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        Ok(fs::write(directory.join("index.json"), index.to_string())?)
    }

    /// A compressed layer and the digest of what is in it.
    fn layer(&self, number: u64) -> Result<(Vec<u8>, String)> {
        let packer = Hashing::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut archive = tar::Builder::new(packer);
        for file in 0..self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(self.size);
            header.set_mode(0o644);
            header.set_cksum();
            let path = format!("data/{number}/{}/file{file}", file % 10);
            let seed = number * self.files + file + 1;
            archive.append_data(&mut header, path, io::Cursor::new(text(seed, self.size)))?;
        }
        let packer = archive.into_inner()?;
        let plain = hex(&packer.hash.finalize());
        Ok((packer.inner.finish()?, plain))
    }
}

fn store() -> Result<PathBuf> {
    let store = repository().join("target/test-images");
    fs::create_dir_all(&store)?;
    Ok(store.canonicalize()?)
}

/// Numbers in hexadecimal, which shrink to about half of their size, as programs do.
fn text(seed: u64, size: u64) -> Vec<u8> {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < size {
        // xorshift64 (Marsaglia, 2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        for shift in (0..64).step_by(4) {
            let digit = usize::try_from(state >> shift & 15).unwrap_or_default();
            bytes.extend(DIGITS.get(digit));
        }
    }
    bytes.truncate(usize::try_from(size).unwrap_or_default());
    bytes
}

fn blob(directory: &Path, kind: &str, bytes: &[u8]) -> Result<serde_json::Value> {
    let digest = hex(&Sha256::digest(bytes));
    File::create(directory.join("blobs/sha256").join(&digest))?.write_all(bytes)?;
    Ok(json!({ "mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len() }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hashes what passes through.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new() }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{MANY, text};

    #[test]
    fn the_bytes_are_the_same_on_every_machine() {
        assert_eq!(text(1, 20), b"dad43fb0ea77b1cd6706");
        let (packed, plain) = MANY.layer(3).unwrap();
        let again = MANY.layer(3).unwrap();
        assert_eq!((packed.len(), &plain), (again.0.len(), &again.1));
    }
}
