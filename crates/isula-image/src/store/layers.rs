//! The layers that are unpacked, and who needs them now.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
};

use isula_core::{image::Digest, ports::StoredLayer};
use tokio::sync::Mutex;

use super::Tables;
use crate::{layer::LayerRecord, unpack::Contents};

/// The layers of the store. Counts of holds live here and nowhere else: a restart has none.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    present: HashMap<Digest, Contents>,
    holds: HashMap<Digest, usize>,
    turns: HashMap<Digest, Weak<Mutex<()>>>,
    keep_all: bool,
}

impl Layers {
    /// Keeps every layer, as long as this process lives: an image that was damaged, or that a
    /// container needs and nobody knows, may need them.
    pub(super) fn keep_all(&mut self) {
        self.keep_all = true;
    }

    pub(super) fn all_are_needed(&self) -> bool {
        self.keep_all
    }

    pub(crate) fn has(&self, diff_id: &Digest) -> bool {
        self.present.contains_key(diff_id)
    }

    pub(crate) fn contents(&self, diff_id: &Digest) -> Option<&Contents> {
        self.present.get(diff_id)
    }

    /// Bytes and inodes of all layers.
    pub(super) fn usage(&self) -> (u64, u64) {
        self.present.values().fold((0, 0), |(bytes, inodes), layer| {
            (bytes.saturating_add(layer.size), inodes.saturating_add(layer.entries))
        })
    }

    /// Every layer and its size.
    pub(crate) fn sizes(&self) -> Vec<StoredLayer> {
        let layer = |(diff_id, contents): (&Digest, &Contents)| StoredLayer {
            diff_id: diff_id.clone(),
            size: contents.size,
        };
        self.present.iter().map(layer).collect()
    }

    pub(crate) fn insert(&mut self, record: LayerRecord) {
        self.present.insert(record.diff_id, record.contents);
    }

    pub(crate) fn forget(&mut self, diff_id: &Digest) {
        self.present.remove(diff_id);
    }

    pub(crate) fn hold(&mut self, diff_id: &Digest) {
        *self.holds.entry(diff_id.clone()).or_default() += 1;
    }

    /// Ends a hold; says whether it was the last one.
    pub(crate) fn release(&mut self, diff_id: &Digest) -> bool {
        let Some(count) = self.holds.get_mut(diff_id) else { return false };
        *count -= 1;
        if *count > 0 {
            return false;
        }
        self.holds.remove(diff_id);
        self.turns.retain(|_, turn| turn.strong_count() > 0);
        true
    }

    /// The lock of whoever unpacks this layer.
    pub(crate) fn turn(&mut self, diff_id: &Digest) -> Arc<Mutex<()>> {
        let turn = self.turns.entry(diff_id.clone()).or_default();
        turn.upgrade().unwrap_or_else(|| {
            let new = Arc::default();
            *turn = Arc::downgrade(&new);
            new
        })
    }

    /// The layers that no image and no hold needs.
    pub(super) fn unneeded(&self, tables: &Tables) -> Vec<Digest> {
        let images = tables.images.values();
        let needed: HashSet<&Digest> = images.flat_map(|image| &image.layers).collect();
        let is_unneeded =
            |diff_id: &&Digest| !needed.contains(diff_id) && !self.holds.contains_key(*diff_id);
        self.present.keys().filter(is_unneeded).cloned().collect()
    }
}
