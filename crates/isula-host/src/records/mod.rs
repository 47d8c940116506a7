//! The records of containers: plain files that a person can read, made durable by a journal.
//!
//! ```text
//!   create:  append ─┬─ fdatasync (shared) ─┬─ rename .new-ID → ID ─ acknowledge
//!                    └─ write plain files ──┘
//!   save:    append ─── fdatasync (shared) ─── acknowledge ┄┄ LAG ┄┄ replace plain files
//!   remove:  append ─── rename into the trash ─── fdatasync (shared) ─── acknowledge
//! ```
//!
//! - A change is acknowledged when the journal has it on disk. Everything that waits at the same
//!   time shares one `fdatasync` (group commit).
//! - A plain file of an acknowledged container is replaced only after the journal has its new
//!   content on disk, never the other way round: whatever a file system does with an unsynced
//!   rename, either the file is good or the journal mends it. States that follow each other quickly
//!   are written once.
//! - A half of the journal is used again only after its records were *settled*: compared with the
//!   plain files, written where they differ, synced. What can't be written then (a full disk) is
//!   carried over into the other half.
//! - [`Records::load`] finds the plain files already mended; what is damaged all the same goes to
//!   `quarantine/` with the reason beside it.
//!
//! `docs/adr/0001-state-journal.md` has the measurements.

mod document;
mod journal;
mod plain;
mod replay;
mod trash;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use isula_core::{
    container::Container,
    error::{ErrorKind, PortError},
    fault,
    id::ContainerId,
    ports::{ContainerFiles, Durability, Records, Restored, Result},
};
use tokio::sync::{Mutex as AsyncMutex, RwLock};

use document::Documents;
use journal::{Appended, Half, Journal, Record};
use plain::Places;
use replay::{Change, What};

pub(crate) use plain::{make_directory, sync_directory};
pub(crate) use trash::Trash;

/// The steps between which the crash tests stop the daemon.
pub const FAULT_POINTS: [&str; 7] = [
    "records.files_written",
    "records.journalled",
    "records.created",
    "records.saved",
    "records.gone",
    "records.removed",
    "records.settled",
];

/// Bytes of each half of the journal: some 1,000 changes.
const HALF: usize = 2 << 20;

/// How long the plain files may lag behind an acknowledged change.
const LAG: Duration = Duration::from_millis(10);

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
    /// Held while the plain files of one container that exists are replaced or renamed.
    files: Mutex<()>,
    stale: Mutex<Stale>,
    /// Read by each creation from its record until its directory has its name; settling waits for
    /// those that are under way.
    creating: RwLock<()>,
    /// Held while the journal goes on to its other half, and while a half is settled.
    settling: AsyncMutex<()>,
    /// Read from the journal at the start, but not writable to plain files then.
    carried: Mutex<Vec<(ContainerId, Documents)>>,
}

/// Plain files that are older than the journal.
#[derive(Default)]
struct Stale {
    documents: HashMap<ContainerId, Lagging>,
    scheduled: bool,
}

struct Lagging {
    number: u64,
    directory: PathBuf,
    documents: Documents,
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
        plain::make_directory(places.engines(), 0o750).map_err(cannot("make engines/"))?;
        plain::make_directory(&quarantine, 0o700).map_err(cannot("make quarantine/"))?;
        let trash = Trash::open(root.join("trash")).map_err(cannot("make trash/"))?;
        let run = random().map_err(cannot("get a random number"))?;
        let (journal, [older, newer]) =
            Journal::open(&root.join("journal"), half, run).map_err(cannot("open the journal"))?;
        let shared = Shared {
            places,
            quarantine,
            journal: Arc::new(journal),
            trash,
            files: Mutex::new(()),
            stale: Mutex::default(),
            creating: RwLock::new(()),
            settling: AsyncMutex::new(()),
            carried: Mutex::default(),
        };
        let payloads = older.payloads.iter().chain(&newer.payloads);
        shared.mend(payloads).map_err(cannot("mend the records from the journal"))?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Writes what lags, and settles the journal, so that nothing is left to mend at the next
    /// start. For a clean end; nothing is lost without it.
    pub async fn close(&self) {
        self.shared.catch_up().await;
        if let Err(error) = self.shared.clone().go_on(None).await {
            tracing::warn!(error = %isula_core::error::chain(&error), "cannot settle the journal");
        }
    }

    /// Where things are moved to be deleted in the background.
    pub(crate) fn trash(&self) -> &Trash {
        &self.shared.trash
    }
}

fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(bytes))
}

/// Runs what may block where blocking is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        PortError::with_source(ErrorKind::Cancelled, "the daemon is shutting down", error)
    })
}

/// A record that is to be appended.
#[derive(Clone)]
struct Entry {
    id: ContainerId,
    runtime: String,
    payload: Arc<[u8]>,
}

impl Entry {
    fn new(id: &ContainerId, runtime: &str, what: &What) -> io::Result<Self> {
        let text = id.as_str();
        let record = match what {
            What::Put(Documents { config, host }) => Record::Put { id: text, runtime, config, host },
            What::Gone => Record::Gone { id: text, runtime },
            What::Direct => Record::Direct { id: text, runtime },
        };
        let payload = record.encode()?.into();
        Ok(Self { id: id.clone(), runtime: runtime.to_owned(), payload })
    }

    fn cannot(&self, action: &str) -> impl FnOnce(io::Error) -> PortError {
        let message = format!("cannot {action} of container {}", self.id);
        |error| PortError::io(message, error)
    }
}

impl Shared {
    /// At the start: carries out the journal on the plain files.
    fn mend<'a>(&self, payloads: impl Iterator<Item = &'a Vec<u8>>) -> io::Result<()> {
        let (changes, reasons) = replay::fold(payloads);
        for reason in reasons {
            tracing::warn!(%reason, "passed over in the journal");
        }
        for (id, change) in changes {
            let Err(error) = replay::apply(&self.places, &self.trash, &id, &change) else { continue };
            tracing::warn!(%id, %error, "cannot mend a record; it stays in the journal");
            let entry = Entry::new(&id, &change.runtime, &change.what)?;
            if self.journal.append(&id, &entry.payload)? == Appended::Full {
                return Err(error);
            }
            if let What::Put(documents) = change.what {
                locked(&self.carried).push((id, documents));
            }
        }
        replay::sync_parents(&self.places, &self.trash)?;
        let current = self.journal.current();
        if locked(&self.carried).is_empty() { self.journal.settle(current) } else { Ok(()) }
    }

    /// Appends a record, going on to the other half of the journal when this one is full.
    async fn append(self: &Arc<Self>, entry: &Entry) -> Result<u64> {
        loop {
            let (shared, now) = (Arc::clone(self), entry.clone());
            let appended = blocking(move || shared.journal.append(&now.id, &now.payload)).await?;
            match appended.map_err(entry.cannot("journal the record"))? {
                Appended::At(number) => return Ok(number),
                Appended::Full => self.clone().go_on(Some(entry.payload.len())).await?,
            }
        }
    }

    /// Waits until everything appended so far is durable.
    async fn synced(&self) -> Result<()> {
        match self.journal.sync().await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let error = io::Error::new(error.kind(), error);
                Err(PortError::io("cannot sync the journal of the records", error))
            }
            Err(_) => Err(PortError::new(ErrorKind::Cancelled, "the daemon is shutting down")),
        }
    }

    /// Goes on to the other half unless a record of this length fits by now, and settles the one
    /// that was left: in the background for a record that waits, before the return otherwise.
    async fn go_on(self: Arc<Self>, length: Option<usize>) -> Result<()> {
        let guard = self.settling.lock().await;
        if length.is_some_and(|length| self.journal.fits(length)) {
            return Ok(());
        }
        if let Some(half) = self.journal.unsettled() {
            self.settle(half).await?;
        }
        let left = self.journal.flip();
        if length.is_none() {
            return self.settle(left).await;
        }
        drop(guard);
        let shared = Arc::clone(&self);
        tokio::spawn(async move {
            let _guard = shared.settling.lock().await;
            if shared.journal.unsettled() == Some(left)
                && let Err(error) = shared.settle(left).await
            {
                let error = isula_core::error::chain(&error);
                tracing::warn!(%error, "cannot settle the journal; it is tried again later");
            }
        });
        Ok(())
    }

    /// Makes the plain files say what a half says. `settling` is held.
    async fn settle(self: &Arc<Self>, half: Half) -> Result<()> {
        // Creations that are under way have their record in this half, but not yet their name.
        drop(self.creating.write().await);
        let shared = Arc::clone(self);
        let settled = blocking(move || shared.settle_now(half)).await?;
        fault::point("records.settled");
        settled.map_err(|error| PortError::io("cannot settle the journal of the records", error))
    }

    fn settle_now(&self, half: Half) -> io::Result<()> {
        let contents = self.journal.read(half)?;
        let (changes, _) = replay::fold(contents.payloads.iter());
        for (id, change) in changes {
            let _files = locked(&self.files);
            if !self.journal.is_newest_in(half, &id) {
                continue;
            }
            let Err(error) = replay::apply(&self.places, &self.trash, &id, &change) else { continue };
            tracing::warn!(%id, %error, "cannot write a record; it is carried over in the journal");
            let entry = Entry::new(&id, &change.runtime, &change.what)?;
            if self.journal.append(&id, &entry.payload)? == Appended::Full {
                return Err(error);
            }
        }
        replay::sync_parents(&self.places, &self.trash)?;
        self.journal.settle(half)
    }

    async fn create(
        self: Arc<Self>,
        (entry, documents): (Entry, Documents),
        files: ContainerFiles,
    ) -> Result<()> {
        let place = self.places.container(&entry.id, &entry.runtime);
        let [directory, preliminary] = place.map_err(entry.cannot("place the record"))?;
        if directory.exists() {
            let message = format!("{}: a record exists already", directory.display());
            return Err(PortError::new(ErrorKind::AlreadyExists, message));
        }
        let (documents, files) = (Arc::new(documents), Arc::new(files));
        let mut creating = self.creating.read().await;
        let (mut synced, written) = loop {
            let shared = Arc::clone(&self);
            let (now, path) = (entry.clone(), preliminary.clone());
            let (documents, files) = (Arc::clone(&documents), Arc::clone(&files));
            let done = blocking(move || {
                let appended = shared.journal.append(&now.id, &now.payload)?;
                if appended == Appended::Full {
                    return Ok(None);
                }
                // The disk syncs while the files are written.
                let synced = shared.journal.sync();
                let written = plain::make_new(&path, &documents, &files);
                fault::point("records.files_written");
                Ok(Some((synced, written)))
            });
            match done.await?.map_err(entry.cannot("journal the record"))? {
                Some(done) => break done,
                None => {
                    drop(creating);
                    Arc::clone(&self).go_on(Some(entry.payload.len())).await?;
                    creating = self.creating.read().await;
                }
            }
        };
        let _creating = creating;
        let mut outcome = written.map_err(entry.cannot("write the files"));
        if outcome.is_ok() {
            outcome = match (&mut synced).await {
                Ok(Ok(())) => Ok(()),
                // Asked once more for the error, now that the half is at its end.
                _ => Err(PortError::new(
                    ErrorKind::Internal,
                    format!("cannot sync the record of container {}", entry.id),
                )),
            };
        }
        fault::point("records.journalled");
        if outcome.is_ok() {
            let path = preliminary.clone();
            let renamed = blocking(move || std::fs::rename(path, directory)).await?;
            outcome = renamed.map_err(entry.cannot("name the directory"));
        }
        if outcome.is_err() {
            self.take_back(&entry, &preliminary).await;
        }
        fault::point("records.created");
        outcome
    }

    /// Undoes a creation that failed.
    async fn take_back(self: &Arc<Self>, entry: &Entry, preliminary: &Path) {
        let (shared, path) = (Arc::clone(self), preliminary.to_owned());
        let entry = entry.clone();
        let undone = blocking(move || {
            if path.exists() {
                std::fs::remove_dir_all(&path)?;
            }
            let gone = Entry::new(&entry.id, &entry.runtime, &What::Gone)?;
            shared.journal.append(&entry.id, &gone.payload).map(drop)
        });
        if let Ok(Err(error)) = undone.await {
            tracing::warn!(path = %preliminary.display(), %error, "cannot undo a creation");
        }
    }
}
