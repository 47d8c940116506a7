//! The store: what is on disk, what of it is in memory, and the operations on both.
//!
//! Readers take the current [`Index`] by one clone of an `Arc` and wait for nobody. Changes are
//! made one at a time: first on disk, in an order that a crash may cut anywhere (see [`recover`]),
//! then in a new index.

mod commit;
pub(crate) mod files;
mod images;
mod index;
pub(crate) mod layers;
mod layout;
mod names;
mod recover;
mod remove;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use isula_core::{
    error::PortError,
    image::{ImageId, Reference},
};
use tokio::sync::Semaphore;

pub use commit::NewImage;
pub(crate) use index::{Index, Meant, StoredImage};
pub(crate) use layers::Layers;
pub(crate) use layout::Layout;
pub(crate) use recover::read_layer;

use crate::{
    registry,
    snapshot::{Uses, remembered::Remembered},
    trash::Trash,
};

/// What the store needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory of everything (`DATA/storage`); made if it is missing, mode 0700.
    pub root: PathBuf,
    /// The registry client's.
    pub registry: registry::Settings,
    /// The most bytes that one layer may unpack to; no limit when absent.
    pub unpacked_limit: Option<u64>,
}

/// The image store; clones are the same store.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
}

/// What all clones of a store share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) layout: Layout,
    client: registry::Client,
    downloads: Arc<Semaphore>,
    index: RwLock<Arc<Index>>,
    tables: Mutex<Tables>,
    layers: Mutex<Layers>,
    uses: Mutex<Uses>,
    /// The layer of mount points, once it is made.
    pub(crate) mount_points: Mutex<Option<PathBuf>>,
    pub(crate) remembered: Remembered,
    trash: Trash,
    damage: Vec<String>,
    serial: AtomicU64,
}

/// What the records on disk say. Held while they change.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) images: BTreeMap<ImageId, Arc<StoredImage>>,
    pub(crate) names: BTreeMap<Reference, ImageId>,
}

impl Store {
    /// Opens the store below `settings.root`: reads every record, moves what is damaged to
    /// `quarantine/`, finishes or undoes what a crash interrupted. Blocks. That nobody else uses
    /// the directory is the caller's to ensure.
    ///
    /// # Errors
    /// The directory can't be made or read, or the registry settings are invalid.
    pub fn open(settings: Settings) -> Result<Self, PortError> {
        let client = registry::Client::new(settings.registry.clone())?;
        let downloads = settings.registry.max_concurrent_downloads.max(1);
        let layout = Layout::new(&settings.root)?;
        let found = recover::recover(&layout)?;
        let index = Index::new(&found.tables, &found.layers, None);
        let shared = Arc::new(Shared {
            trash: Trash::new(layout.trash()),
            settings,
            layout,
            client,
            downloads: Arc::new(Semaphore::new(downloads)),
            index: RwLock::new(Arc::new(index)),
            tables: Mutex::new(found.tables),
            layers: Mutex::new(found.layers),
            uses: Mutex::new(found.uses),
            mount_points: Mutex::new(None),
            remembered: Remembered::default(),
            damage: found.damage,
            serial: AtomicU64::new(0),
        });
        shared.collect_later();
        Ok(Self { shared })
    }

    /// The registry client.
    #[must_use]
    pub fn client(&self) -> &registry::Client {
        &self.shared.client
    }

    /// One permit for each layer that may be fetched at once, by all pulls together.
    #[must_use]
    pub fn downloads(&self) -> Arc<Semaphore> {
        Arc::clone(&self.shared.downloads)
    }
}

impl Shared {
    /// The current index.
    pub(crate) fn index(&self) -> Arc<Index> {
        Arc::clone(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn layers(&self) -> MutexGuard<'_, Layers> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn uses(&self) -> MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn trash(&self) -> &Trash {
        &self.trash
    }

    pub(crate) fn damage(&self) -> &[String] {
        &self.damage
    }

    /// Shows readers what the tables say now.
    pub(crate) fn publish(&self, tables: &Tables) {
        let before = self.index();
        let next = Arc::new(Index::new(tables, &self.layers(), Some(&before)));
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    /// A new directory in `tmp/`, gone when dropped unless it was renamed.
    pub(crate) fn scratch(self: &Arc<Self>) -> Result<files::Scratch, PortError> {
        files::Scratch::new(self)
    }

    /// A name that no other call of this process gives.
    pub(crate) fn serial(&self) -> String {
        let number = self.serial.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{number:x}", std::process::id())
    }

    /// Has layers that nothing needs removed, and the trash emptied, on a thread of its own.
    pub(crate) fn collect_later(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        self.trash.sweep_after(move || shared.collect());
    }

    /// Removes the layers that no image and no hold needs.
    fn collect(&self) {
        // In this order everywhere: tables, layers.
        let tables = self.tables();
        let mut layers = self.layers();
        if layers.all_are_needed() {
            return;
        }
        for diff_id in layers.unneeded(&tables) {
            match self.trash.discard(&self.layout.layer(&diff_id)) {
                Ok(()) => layers.forget(&diff_id),
                Err(error) => tracing::warn!(%diff_id, %error, "cannot remove a layer"),
            }
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").field("root", &self.settings.root).finish_non_exhaustive()
    }
}
