//! The records of containers: plain files that a person can read, made durable by a journal.
//!
//! ```text
//!   create:  append ─┬─ fdatasync (shared) ─┬─ rename .new-ID → ID ─ acknowledge
//!                    └─ make .new-ID ───────┘       ┄┄ LAG, or a start ┄┄ write plain files
//!   save:    append ─── fdatasync (shared) ─── acknowledge ┄┄ LAG ┄┄ replace plain files
//!   remove:  append ─── rename into the trash ─── fdatasync (shared) unless the intent to remove
//!            is on disk already ─── what is to follow ─── acknowledge
//! ```
//!
//! - A change is acknowledged when the journal has it on disk. Everything that waits at the same
//!   time shares one `fdatasync` (group commit).
//! - A plain file of an acknowledged container is replaced only after the journal has its new
//!   content on disk, never the other way round: whatever a file system does with an unsynced
//!   rename, either the file is good or the journal mends it. States that follow each other quickly
//!   are written once.
//! - A half of the journal is used again only after its records were *settled*: compared with the
//!   plain files, written where they differ, then one syncfs(2), some thousand changes after the
//!   last and off every request's path. What can't be written then (a full disk) is carried over
//!   into the other half.
//! - [`Records::load`] finds the plain files already mended; what is damaged all the same goes to
//!   `quarantine/` with the reason beside it.
//!
//! `docs/adr/0001-state-journal.md` has the measurements.

mod change;
mod commit;
mod document;
mod journal;
mod plain;
mod replay;
mod sandboxes;
mod trash;
mod twins;

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use isula_core::{
    container::Container,
    error::{ErrorKind, PortError},
    id::ContainerId,
    ports::{ContainerFiles, Durability, LaterFiles, Records, Restored, Result, Then},
};
use tokio::sync::{Mutex as AsyncMutex, RwLock};

use document::Documents;
use journal::{Journal, Record};
use plain::Places;
use replay::What;
use twins::Twins;

pub(crate) use plain::{make_directory, sync_directory};
pub(crate) use trash::Trash;

/// The steps between which the crash tests stop the daemon.
pub const FAULT_POINTS: [&str; 8] = [
    "records.placed",
    "records.journalled",
    "records.created",
    "records.files_written",
    "records.saved",
    "records.gone",
    "records.removed",
    "records.settled",
];

/// Bytes of each half of the journal: some 1,000 changes.
const HALF: usize = 2 << 20;

/// How long the plain files may lag behind an acknowledged change. Most states last shorter than
/// that, and are never written anywhere but to the journal.
const LAG: Duration = Duration::from_millis(500);

/// How many new containers may wait for their files at the same time: what those are made of is in
/// memory, some 10 KiB each.
const WAITING: usize = 128;

/// The records of containers below a data root.
///
/// Cheap to clone. Its methods must be called within a tokio runtime.
#[derive(Clone)]
pub struct JournaledRecords {
    shared: Arc<Shared>,
}

struct Shared {
    places: Places,
    quarantine: PathBuf,
    journal: Arc<Journal>,
    trash: Trash,
    twins: Twins,
    /// Held while the plain files of one container that exists are replaced or renamed.
    files: Mutex<()>,
    stale: Mutex<Stale>,
    /// Read by each change from its record until its directory has its name; settling waits for
    /// those that are under way.
    changing: RwLock<()>,
    /// Held while lagging files are written.
    catching_up: AsyncMutex<()>,
    /// Held while the missing files of one container are written.
    providing: Mutex<()>,
    /// Held while the journal goes on to its other half, and while a half is settled.
    settling: AsyncMutex<()>,
    /// Read from the journal at the start, but not writable to plain files then.
    carried: Mutex<Vec<(ContainerId, Documents)>>,
}

/// Plain files that are older than the journal.
#[derive(Default)]
struct Stale {
    documents: HashMap<ContainerId, Lagging>,
    /// Those that no container had yet.
    files: HashMap<ContainerId, Missing>,
    /// Whose files are being written.
    writing: Option<ContainerId>,
    scheduled: bool,
}

struct Lagging {
    number: u64,
    directory: PathBuf,
    documents: Documents,
}

/// The files of a container that has none yet, and where they belong.
#[derive(Clone)]
struct Missing {
    directory: PathBuf,
    files: LaterFiles,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl JournaledRecords {
    /// Opens the records below `root`, which exists, and mends them from the journal. It blocks.
    ///
    /// # Errors
    /// A directory or the journal can't be made or read; the data root is not usable then.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_sized(root, HALF)
    }

    fn open_sized(root: &Path, half: usize) -> Result<Self> {
        let cannot = |action: &'static str| {
            move |error| PortError::io(format!("{}: cannot {action}", root.display()), error)
        };
        let places = Places::below(root);
        let quarantine = root.join("quarantine");
        make_directory(places.engines(), 0o750).map_err(cannot("make engines/"))?;
        make_directory(&quarantine, 0o700).map_err(cannot("make quarantine/"))?;
        let trash = Trash::open(root.join("trash")).map_err(cannot("make trash/"))?;
        let (journal, [older, newer]) =
            Journal::open(&root.join("journal"), half).map_err(cannot("open the journal"))?;
        let shared = Shared {
            places,
            quarantine,
            journal: Arc::new(journal),
            trash,
            twins: Twins::default(),
            files: Mutex::new(()),
            stale: Mutex::default(),
            changing: RwLock::new(()),
            catching_up: AsyncMutex::new(()),
            providing: Mutex::new(()),
            settling: AsyncMutex::new(()),
            carried: Mutex::default(),
        };
        // The last records may be in the kernel's memory alone, written just before a kill.
        shared.journal.sync_now().map_err(cannot("sync the journal"))?;
        shared.mend(older.payloads.iter().chain(&newer.payloads));
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Makes everything durable and brings the plain files up to date. For a clean end; nothing
    /// that was acknowledged is lost without it.
    pub async fn close(&self) {
        self.shared.catch_up().await;
        if let Err(error) = self.shared.synced().await {
            tracing::warn!(error = %isula_core::error::chain(&error), "cannot close the records");
        }
    }

    /// Where things are moved to be deleted in the background.
    pub(crate) fn trash(&self) -> &Trash {
        &self.shared.trash
    }
}

/// Runs what may block where blocking is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        PortError::with_source(ErrorKind::Cancelled, "the daemon is shutting down", error)
    })
}

/// The payload of a record.
fn payload(id: &ContainerId, runtime: &str, what: &What) -> io::Result<Vec<u8>> {
    let id = id.as_str();
    match what {
        What::Put(Documents { config, host }) => Record::Put { id, runtime, config, host },
        What::Gone => Record::Gone { id, runtime },
        What::Direct => Record::Direct { id, runtime },
    }
    .encode()
}

impl Shared {
    /// At the start: makes the plain files say what the journal says. Nothing has to be synced, for
    /// the journal keeps it.
    fn mend<'a>(&self, payloads: impl Iterator<Item = &'a Vec<u8>>) {
        let (changes, reasons) = replay::fold(payloads);
        for reason in reasons {
            tracing::warn!(%reason, "passed over in the journal");
        }
        for (id, change) in changes {
            let Err(error) = replay::apply(&self.places, &self.trash, &id, &change) else {
                continue;
            };
            tracing::warn!(%id, %error, "cannot mend the files of a record");
            if let What::Put(documents) = change.what {
                locked(&self.carried).push((id, documents));
            }
        }
    }

    /// Whose plain files are older than the journal, or missing.
    fn carried(&self) -> BTreeSet<ContainerId> {
        locked(&self.carried).iter().map(|(id, _)| id.clone()).collect()
    }

    /// Adds what could not be written to plain files to what was read from the others'.
    fn add_carried(&self, restored: &mut Restored) {
        let carried = std::mem::take(&mut *locked(&self.carried));
        let (sandboxes, containers) =
            carried.into_iter().partition(|(_, documents)| documents.is_sandbox());
        *locked(&self.carried) = sandboxes;
        let containers: Vec<(ContainerId, Documents)> = containers;
        for (id, documents) in containers {
            match document::decode(documents.config.as_bytes(), documents.host.as_bytes()) {
                Ok(container) => restored.containers.push(Arc::new(container)),
                Err(error) => tracing::warn!(%id, %error, "a record of the journal is unreadable"),
            }
        }
    }
}

#[async_trait]
impl Records for JournaledRecords {
    async fn load(&self) -> Result<Restored> {
        let shared = Arc::clone(&self.shared);
        let restored = blocking(move || {
            let (places, carried) = (&shared.places, shared.carried());
            let mut restored = replay::scan(places, &shared.trash, &shared.quarantine, &carried)?;
            shared.add_carried(&mut restored);
            Ok(restored)
        });
        let restored = restored.await?.map_err(|error| {
            let path = self.shared.places.engines().display();
            PortError::io(format!("{path}: cannot read the records"), error)
        })?;
        self.shared.trash.empty();
        Ok(restored)
    }

    async fn create(&self, container: &Container, files: LaterFiles) -> Result<()> {
        let creation = self.shared.clone().create(container.clone(), files);
        // A task of its own: a caller that goes away must not leave half of it.
        tokio::spawn(creation).await.map_err(|error| {
            PortError::with_source(ErrorKind::Cancelled, "the daemon is shutting down", error)
        })?
    }

    async fn provide(&self, id: &ContainerId) -> Result<()> {
        self.shared.provide(id).await
    }

    async fn save(&self, container: &Container, durability: Durability) -> Result<()> {
        self.shared.save(container, durability).await
    }

    async fn refresh(&self, id: &ContainerId, runtime: &str, files: &ContainerFiles) -> Result<()> {
        self.shared.refresh(id, runtime, files.clone()).await
    }

    async fn remove_then(
        &self,
        id: &ContainerId,
        runtime: &str,
        durability: Durability,
        then: Then,
    ) -> Result<()> {
        self.shared.remove_then(id, runtime, durability, then).await
    }

    fn directory(&self, id: &ContainerId, runtime: &str) -> PathBuf {
        self.shared.places.engines().join(runtime).join(id.as_str())
    }
}

#[cfg(test)]
mod tests;
