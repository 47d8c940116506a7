//! The image store: registries, blobs, layers, snapshots and archives.
//!
//! Everything lies below one directory:
//!
//! ```text
//! blobs/sha256/<hex>       manifests and configurations, byte for byte
//! layers/<diff id>/        diff/ (the unpacked tree), recipe (of its tar) and layer.json; appears by
//!                          one rename
//! images/<image id>.json   an image; appears by one rename, after all it names is durable
//! refs/<sha256>.json       one name of one image (`.new`: takes effect with its image)
//! snapshots/<container>/   diff/ and work/ of overlay, and an empty file that names the image
//! empty/                   below containers of images without layers
//! tmp/  trash/             half-made and half-removed things; emptied at start
//! quarantine/              what was found damaged at start
//! ```
//!
//! What adds layers goes through [`layer`]: claim a layer, unpack it, hold it until
//! [`Store::commit_image`] has made it part of an image. What nothing holds is removed.

#![forbid(unsafe_code)]

pub mod json;
pub mod layer;
pub mod manifest;
pub mod platform;
#[cfg(any(test, feature = "testing"))]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "it is a test")]
pub mod probe;
pub mod pull;
pub mod registry;

mod archive;
mod check;
mod compression;
mod config;
mod embed;
mod error;
mod hash;
mod import;
mod load;
mod merged;
mod pack;
mod recipe;
mod reserve;
mod save;
mod snapshot;
mod store;
mod stream;
#[cfg(test)]
mod testing;
mod trash;
mod unpack;

pub use error::from_io;
pub use store::{NewImage, Settings, Store};
