//! What an image is: a configuration and the layers of its root file system, named by digests.

mod digest;
mod reference;

pub use digest::{Digest, DigestError};
pub use reference::{Reference, ReferenceError};

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::health::Healthcheck;

/// The id of an image: the digest of its configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub Digest);

impl ImageId {
    /// The 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        self.0.hex()
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// An image of the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// Names with tags, sorted; empty for a dangling image.
    pub tags: Vec<Reference>,
    /// Names with manifest digests, sorted.
    pub digests: Vec<Reference>,
    /// When it was built, as its configuration says.
    pub created: Option<Timestamp>,
    /// Digests of the uncompressed layers, base first.
    pub layers: Vec<Digest>,
    /// Bytes of all its layers, unpacked.
    pub size: u64,
    /// What it asks to be run.
    pub config: ImageConfig,
    /// The configuration's own bytes, for `inspect`, `history` and export.
    pub raw_config: std::sync::Arc<[u8]>,
}

/// The part of an image configuration that a container takes over (image-spec config.md).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageConfig {
    /// Operating system, `linux`.
    pub os: String,
    /// Architecture as Go names it, `amd64`.
    pub architecture: String,
    /// `v8` and the like.
    pub variant: Option<String>,
    /// `user[:group]`.
    pub user: String,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// What runs the command.
    pub entrypoint: Vec<String>,
    /// Default command.
    pub cmd: Vec<String>,
    /// Working directory.
    pub working_dir: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Mount points of volumes.
    pub volumes: Vec<String>,
    /// Signal that stops it.
    pub stop_signal: Option<String>,
    /// Docker's extension.
    pub healthcheck: Option<Healthcheck>,
}
