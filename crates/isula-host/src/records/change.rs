//! The changes of a record: create, save, refresh, remove.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use isula_core::{
    container::Container,
    error::{ErrorKind, PortError, chain},
    fault,
    id::ContainerId,
    ports::{ContainerFiles, Durability, LaterFiles, Result, Then},
};

use super::{
    LAG, Lagging, Missing, Shared, WAITING, blocking,
    commit::{is_synced, outcome},
    document::{self, Documents},
    journal::Appended,
    locked, payload, plain,
    replay::What,
};

/// The container a change is about, for its errors.
pub(super) fn cannot(
    action: &'static str,
    id: &ContainerId,
) -> impl FnOnce(io::Error) -> PortError {
    let message = format!("cannot {action} of container {id}");
    |error| PortError::io(message, error)
}

fn encode(container: &Container) -> Result<Documents> {
    document::encode(container).map_err(|error| {
        let message = format!("cannot write the record of container {}", container.id);
        PortError::with_source(ErrorKind::Internal, message, error)
    })
}

impl Shared {
    pub(super) async fn create(
        self: Arc<Self>,
        container: Container,
        files: LaterFiles,
    ) -> Result<()> {
        let (id, runtime) = (container.id.clone(), container.host.runtime.clone());
        let place = self.places.container(&id, &runtime).map_err(cannot("place the files", &id))?;
        if place.iter().any(|path| path.exists()) {
            let message = format!("a record of container {id} exists already");
            return Err(PortError::new(ErrorKind::AlreadyExists, message));
        }
        let documents = encode(&container)?;
        let created = self.create_at(&container, (documents, files), place).await;
        if created.is_err()
            && let Err(error) = self.remove(&id, &runtime, Durability::Synced).await
        {
            tracing::warn!(%id, error = %chain(&error), "cannot undo a creation");
        }
        fault::point("records.created");
        created
    }

    async fn create_at(
        self: &Arc<Self>,
        container: &Container,
        (documents, files): (Documents, LaterFiles),
        [directory, preliminary]: [PathBuf; 2],
    ) -> Result<()> {
        let id = container.id.clone();
        let runtime = &container.host.runtime;
        let change = What::Put(documents);
        let bytes = payload(&id, runtime, &change).map_err(cannot("encode the record", &id))?;
        let What::Put(documents) = change else { return Ok(()) };
        if bytes.len() > self.journal.limit() {
            let shared = Arc::clone(self);
            let made = blocking(move || {
                let places = [directory.as_path(), &preliminary];
                plain::make_new(places, &documents, &files(), &shared.twins)?;
                plain::sync_documents(&preliminary)?;
                fs::rename(&preliminary, &directory)?;
                directory.parent().map_or(Ok(()), plain::sync_directory)
            });
            made.await?.map_err(cannot("write the files", &id))?;
            return self.vouch(&id, runtime).await;
        }
        let length = bytes.len();
        let place = [directory.clone(), preliminary.clone()];
        let new = Arc::new((id.clone(), bytes));
        let work = move |shared: &Self| {
            let (id, bytes) = &*new;
            let appended = {
                // Settling applies an earlier removal of this id only while that is its newest
                // record. Without this, it could be between that check and taking away what it
                // then believes to be a rest: the directory made here.
                let _files = locked(&shared.files);
                shared.journal.append(id, bytes)
            };
            let appended = appended.map_err(cannot("journal the record", id))?;
            let Appended::At(number) = appended else { return Ok(None) };
            // The disk syncs meanwhile.
            let mut synced = shared.journal.sync();
            let [directory, preliminary] = &place;
            plain::place_new(preliminary).map_err(cannot("write the files", id))?;
            fault::point("records.placed");
            if !is_synced(&mut synced)? {
                return Ok(Some((number, Some(synced))));
            }
            fault::point("records.journalled");
            fs::rename(preliminary, directory).map_err(cannot("name the directory", id))?;
            Ok(Some((number, None)))
        };
        let (_changing, (number, synced)) = self.attempt(length, work).await?;
        if let Some(synced) = synced {
            outcome(synced.await)?;
            fault::point("records.journalled");
            let to = directory.clone();
            let named = blocking(move || fs::rename(preliminary, to)).await?;
            named.map_err(cannot("name the directory", &id))?;
        }
        let missing = Missing { directory: directory.clone(), files };
        let waiting = {
            let mut stale = locked(&self.stale);
            stale.files.insert(id.clone(), missing);
            stale.files.len()
        };
        if waiting > WAITING {
            self.provide(&id).await?;
        }
        self.lag(id, Lagging { number, directory, documents });
        Ok(())
    }

    /// Writes the files of a container that has none yet, unless they are there.
    pub(super) async fn provide(self: &Arc<Self>, id: &ContainerId) -> Result<()> {
        let concerns = {
            let stale = locked(&self.stale);
            stale.files.contains_key(id) || stale.writing.as_ref() == Some(id)
        };
        if !concerns {
            return Ok(());
        }
        let (shared, own) = (Arc::clone(self), id.clone());
        let written = blocking(move || shared.write_missing(&own)).await?;
        written.map_err(cannot("write the files", id))
    }

    fn write_missing(&self, id: &ContainerId) -> io::Result<()> {
        let _alone = locked(&self.providing);
        let missing = {
            let mut stale = locked(&self.stale);
            let Some(missing) = stale.files.remove(id) else { return Ok(()) };
            stale.writing = Some(id.clone());
            missing
        };
        let written = plain::write_missing(&missing.directory, &(missing.files)(), &self.twins);
        let mut stale = locked(&self.stale);
        stale.writing = None;
        // A container that was removed meanwhile needs none.
        if written.is_err() && missing.directory.exists() {
            stale.files.insert(id.clone(), missing);
        }
        drop(stale);
        fault::point("records.files_written");
        written
    }

    pub(super) async fn save(
        self: &Arc<Self>,
        container: &Container,
        durability: Durability,
    ) -> Result<()> {
        let documents = encode(container)?;
        self.put((&container.id, &container.host.runtime), documents, durability).await
    }

    /// Replaces the documents of a container or a sandbox that exists.
    pub(super) async fn put(
        self: &Arc<Self>,
        (id, runtime): (&ContainerId, &str),
        documents: Documents,
        durability: Durability,
    ) -> Result<()> {
        let id = id.clone();
        let place = self.places.container(&id, runtime).map_err(cannot("place the files", &id))?;
        let [directory, _] = place;
        let change = What::Put(documents);
        let bytes = payload(&id, runtime, &change).map_err(cannot("encode the record", &id))?;
        let What::Put(documents) = change else { return Ok(()) };
        if bytes.len() > self.journal.limit() {
            return self.save_directly((&id, runtime), documents, directory).await;
        }
        let length = bytes.len();
        let path = directory.clone();
        let change = Arc::new((id.clone(), bytes));
        let work = move |shared: &Self| {
            let (id, bytes) = &*change;
            fs::metadata(&path).map_err(cannot("find the directory", id))?;
            match shared.journal.append(id, bytes).map_err(cannot("journal the record", id))? {
                Appended::At(number) => {
                    let synced = durability == Durability::Synced;
                    Ok(Some((number, synced.then(|| shared.journal.sync_here()))))
                }
                Appended::Full => Ok(None),
            }
        };
        let (changing, (number, synced)) = self.attempt(length, work).await?;
        drop(changing);
        self.lag(id, Lagging { number, directory, documents });
        if let Some(synced) = synced {
            outcome(synced.await)?;
        }
        fault::point("records.saved");
        Ok(())
    }

    /// For a record that is too long for the journal: files first, each durable, then the journal
    /// is told that they are right.
    async fn save_directly(
        self: &Arc<Self>,
        (id, runtime): (&ContainerId, &str),
        documents: Documents,
        directory: PathBuf,
    ) -> Result<()> {
        // So that no older content comes after it.
        self.catch_up().await;
        let written = blocking(move || plain::write_documents_durably(&directory, &documents));
        written.await?.map_err(cannot("write the record", id))?;
        self.vouch(id, runtime).await
    }

    /// Tells the journal that the plain files are right and durable.
    pub(super) async fn vouch(self: &Arc<Self>, id: &ContainerId, runtime: &str) -> Result<()> {
        let bytes = payload(id, runtime, &What::Direct).map_err(cannot("encode the record", id))?;
        let length = bytes.len();
        let change = Arc::new((id.clone(), bytes));
        let work = move |shared: &Self| {
            let (id, bytes) = &*change;
            let appended = shared.journal.append(id, bytes);
            let appended = appended.map_err(cannot("journal the record", id))?;
            Ok((appended != Appended::Full).then_some(()))
        };
        let (changing, ()) = self.attempt(length, work).await?;
        drop(changing);
        self.synced().await
    }

    /// The plain files are to follow soon.
    fn lag(self: &Arc<Self>, id: ContainerId, lagging: Lagging) {
        let mut stale = locked(&self.stale);
        stale.documents.insert(id, lagging);
        if !stale.scheduled {
            stale.scheduled = true;
            let shared = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(LAG).await;
                shared.catch_up().await;
            });
        }
    }

    /// Writes the plain files that lag behind the journal, once it is durable.
    pub(super) async fn catch_up(self: &Arc<Self>) {
        let _alone = self.catching_up.lock().await;
        let (lagging, missing) = {
            let mut stale = locked(&self.stale);
            stale.scheduled = false;
            let missing: Vec<_> = stale.files.keys().cloned().collect();
            (std::mem::take(&mut stale.documents), missing)
        };
        if lagging.is_empty() && missing.is_empty() {
            return;
        }
        if let Err(error) = self.synced().await {
            // Nothing is lost: settling the journal writes them, or fails for all to see.
            tracing::warn!(error = %chain(&error), "the plain files lag behind the journal");
            return;
        }
        let shared = Arc::clone(self);
        let written = blocking(move || {
            for (id, Lagging { number, directory, documents }) in lagging {
                let _files = locked(&shared.files);
                if shared.journal.newest(&id) != Some(number) {
                    continue;
                }
                if let Err(error) = plain::write_documents(&directory, &documents) {
                    let path = directory.display();
                    tracing::warn!(%path, %error, "the plain files lag behind the journal");
                }
            }
            for id in missing {
                if let Err(error) = shared.write_missing(&id)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    tracing::warn!(%id, %error, "cannot write the files yet");
                }
            }
        });
        if let Err(error) = written.await {
            tracing::warn!(error = %chain(&error), "the plain files lag behind the journal");
        }
    }

    pub(super) async fn refresh(
        self: &Arc<Self>,
        id: &ContainerId,
        runtime: &str,
        files: ContainerFiles,
    ) -> Result<()> {
        let place = self.places.container(id, runtime).map_err(cannot("place the files", id))?;
        let [directory, _] = place;
        let shared = Arc::clone(self);
        let own = id.clone();
        let refreshed = blocking(move || {
            let _alone = locked(&shared.providing);
            locked(&shared.stale).files.remove(&own);
            let _files = locked(&shared.files);
            fs::metadata(&directory)?;
            plain::refresh(&directory, &files)
        });
        refreshed.await?.map_err(cannot("refresh the files", id))
    }

    /// Nothing more is to be written for this container.
    fn forget(&self, id: &ContainerId) {
        let mut stale = locked(&self.stale);
        stale.documents.remove(id);
        stale.files.remove(id);
    }

    pub(super) async fn remove(
        self: &Arc<Self>,
        id: &ContainerId,
        runtime: &str,
        durability: Durability,
    ) -> Result<()> {
        self.remove_then(id, runtime, durability, Box::new(|| ())).await
    }

    pub(super) async fn remove_then(
        self: &Arc<Self>,
        id: &ContainerId,
        runtime: &str,
        durability: Durability,
        then: Then,
    ) -> Result<()> {
        let place = self.places.container(id, runtime).map_err(cannot("place the files", id))?;
        let gone = payload(id, runtime, &What::Gone).map_err(cannot("encode the record", id))?;
        let length = gone.len();
        let then = Arc::new(Mutex::new(Some(then)));
        let rest = Arc::clone(&then);
        let change = Arc::new((id.clone(), gone, place));
        let work = move |shared: &Self| {
            let (id, gone, place) = &*change;
            if shared.journal.newest(id).is_none() && !place.iter().any(|path| path.exists()) {
                finish(&rest);
                return Ok(Some(None));
            }
            let appended = shared.journal.append(id, gone);
            if appended.map_err(cannot("journal the removal", id))? == Appended::Full {
                return Ok(None);
            }
            fault::point("records.gone");
            shared.forget(id);
            let files = locked(&shared.files);
            let taken = place.iter().try_for_each(|path| shared.trash.take(path).map(drop));
            taken.map_err(cannot("remove the directory", id))?;
            drop(files);
            fault::point("records.removed");
            if durability == Durability::Synced {
                let mut synced = shared.journal.sync_here();
                if !is_synced(&mut synced)? {
                    return Ok(Some(Some(synced)));
                }
            }
            finish(&rest);
            Ok(Some(None))
        };
        let (changing, waiting) = self.attempt(length, work).await?;
        drop(changing);
        if let Some(synced) = waiting {
            outcome(synced.await)?;
            blocking(move || finish(&then)).await?;
        }
        self.trash.empty();
        Ok(())
    }
}

/// Does what is to follow a change, once.
fn finish(then: &Mutex<Option<Then>>) {
    if let Some(then) = locked(then).take() {
        then();
    }
}
