//! The records of sandboxes: one document and three files each, in `ROOT/sandboxes/<id>`, in the
//! same journal as those of containers.

use std::{fs, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use isula_core::{
    error::{ErrorKind, PortError, chain},
    id::ContainerId,
    ports::{Durability, Quarantined, RestoredSandboxes, Result, SandboxFiles, SandboxRecords},
    sandbox::Sandbox,
};

use super::{
    JournaledRecords, Shared, blocking,
    change::cannot,
    commit::outcome,
    document::{self, Documents},
    journal::Appended,
    locked, payload,
    plain::{self, SANDBOXES},
    replay::{self, What},
};

fn encode(sandbox: &Sandbox) -> Result<Documents> {
    document::encode_sandbox(sandbox).map_err(|error| {
        let message = format!("cannot write the record of sandbox {}", sandbox.id);
        PortError::with_source(ErrorKind::Internal, message, error)
    })
}

impl Shared {
    async fn create_sandbox(
        self: Arc<Self>,
        (id, documents): (ContainerId, Documents),
        files: SandboxFiles,
        durability: Durability,
    ) -> Result<()> {
        let place =
            self.places.container(&id, SANDBOXES).map_err(cannot("place the files", &id))?;
        let [directory, preliminary] = place;
        if directory.exists() || preliminary.exists() {
            let message = format!("a record of sandbox {id} exists already");
            return Err(PortError::new(ErrorKind::AlreadyExists, message));
        }
        let change = What::Put(documents.clone());
        let bytes = payload(&id, SANDBOXES, &change).map_err(cannot("encode the record", &id))?;
        if bytes.len() > self.journal.limit() {
            let message = format!("the record of sandbox {id} is too large");
            return Err(PortError::new(ErrorKind::InvalidInput, message));
        }
        let length = bytes.len();
        let new = Arc::new((id.clone(), bytes, documents, files));
        let path = preliminary.clone();
        let work = move |shared: &Self| {
            let (id, bytes, documents, files) = &*new;
            let appended = {
                // As for containers: see `create_at`.
                let _files = locked(&shared.files);
                shared.journal.append(id, bytes)
            };
            if appended.map_err(cannot("journal the record", id))? == Appended::Full {
                return Ok(None);
            }
            let synced = (durability == Durability::Synced).then(|| shared.journal.sync());
            let made = plain::make_new_sandbox(&path, documents, files)
                .and_then(|()| fs::rename(&path, &directory));
            made.map_err(cannot("write the files", id))?;
            Ok(Some(synced))
        };
        let (_changing, synced) = self.attempt(length, work).await?;
        match synced {
            Some(synced) => outcome(synced.await),
            None => Ok(()),
        }
    }

    fn scan_sandboxes(&self) -> Result<RestoredSandboxes> {
        let mut restored = RestoredSandboxes::default();
        let root = self.places.sandboxes();
        let failed = |error| PortError::io(format!("cannot read {}", root.display()), error);
        let entries = match fs::read_dir(root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(restored),
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if plain::is_new(&name) {
                self.trash.take(&path).map_err(failed)?;
                continue;
            }
            match read(&path, &name) {
                Ok(sandbox) => restored.sandboxes.push(sandbox),
                Err(reason) => {
                    restored.quarantined.push(replay::set_aside(&self.quarantine, path, reason));
                }
            }
        }
        self.add_carried_sandboxes(&mut restored);
        Ok(restored)
    }

    /// What a full disk kept from being written at start.
    fn add_carried_sandboxes(&self, restored: &mut RestoredSandboxes) {
        let mut carried = locked(&self.carried);
        let (sandboxes, others) =
            std::mem::take(&mut *carried).into_iter().partition(|(_, one)| one.is_sandbox());
        *carried = others;
        let sandboxes: Vec<(ContainerId, Documents)> = sandboxes;
        for (id, documents) in sandboxes {
            let same = |damaged: &Quarantined| damaged.path.ends_with(id.as_str());
            restored.quarantined.retain(|damaged| !same(damaged));
            restored.sandboxes.retain(|sandbox| sandbox.id != id);
            match document::decode_sandbox(documents.config.as_bytes()) {
                Ok(sandbox) => restored.sandboxes.push(sandbox),
                Err(error) => tracing::warn!(%id, %error, "a record of the journal is unreadable"),
            }
        }
    }
}

fn read(directory: &std::path::Path, name: &str) -> Result<Sandbox, String> {
    let file = directory.join(document::SANDBOX);
    let bytes =
        fs::read(file).map_err(|error| format!("cannot read {}: {error}", document::SANDBOX))?;
    let sandbox = document::decode_sandbox(&bytes).map_err(|error| chain(&error))?;
    if sandbox.id.as_str() != name {
        return Err(format!("{} is about {}", document::SANDBOX, sandbox.id));
    }
    Ok(sandbox)
}

#[async_trait]
impl SandboxRecords for JournaledRecords {
    async fn load_sandboxes(&self) -> Result<RestoredSandboxes> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.scan_sandboxes()).await?
    }

    async fn create_sandbox(
        &self,
        sandbox: &Sandbox,
        files: &SandboxFiles,
        durability: Durability,
    ) -> Result<()> {
        let new = (sandbox.id.clone(), encode(sandbox)?);
        let creation = Arc::clone(&self.shared).create_sandbox(new, files.clone(), durability);
        // A task of its own: a caller that goes away must not leave half of it.
        let created = tokio::spawn(creation).await.map_err(|error| {
            PortError::with_source(ErrorKind::Cancelled, "the daemon is shutting down", error)
        })?;
        if created.as_ref().is_err_and(|error| error.kind() != ErrorKind::AlreadyExists)
            && let Err(error) = self.shared.remove(&sandbox.id, SANDBOXES, Durability::Synced).await
        {
            tracing::warn!(id = %sandbox.id, error = %chain(&error), "cannot undo a creation");
        }
        created
    }

    async fn save_sandbox(&self, sandbox: &Sandbox, durability: Durability) -> Result<()> {
        self.shared.put((&sandbox.id, SANDBOXES), encode(sandbox)?, durability).await
    }

    async fn refresh_sandbox(&self, id: &ContainerId, files: &SandboxFiles) -> Result<()> {
        let (directory, files) = (self.sandbox_directory(id), files.clone());
        let work = move || plain::refresh_sandbox(&directory, &files);
        blocking(work).await?.map_err(cannot("refresh the files", id))
    }

    async fn remove_sandbox(&self, id: &ContainerId) -> Result<()> {
        self.shared.remove(id, SANDBOXES, Durability::Synced).await
    }

    fn sandbox_directory(&self, id: &ContainerId) -> PathBuf {
        self.shared.places.sandboxes().join(id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

    use isula_core::{
        ports::{Durability, Records, SandboxFiles, SandboxRecords},
        testing::conformance,
    };

    use super::JournaledRecords;

    #[tokio::test]
    async fn the_records_of_sandboxes_conform_after_a_kill() {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        conformance::sandbox_records(async || {
            Arc::new(JournaledRecords::open(root.path()).unwrap()) as Arc<dyn SandboxRecords>
        })
        .await;
    }

    #[tokio::test]
    async fn the_journal_mends_what_a_power_cut_took_of_a_sandbox() {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let records = JournaledRecords::open(root.path()).unwrap();
        let sandbox = conformance::sandbox(&conformance::id(3));
        let files = SandboxFiles::default();
        records.create_sandbox(&sandbox, &files, Durability::Synced).await.unwrap();
        let directory = records.sandbox_directory(&sandbox.id);
        let mode =
            |name: &str| fs::metadata(directory.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("."), mode("hosts"), mode("sandbox.json")), (0o711, 0o644, 0o640));
        assert!(!directory.join("config.v2.json").exists());
        drop(records);
        fs::write(directory.join("sandbox.json"), "").unwrap();
        let records = JournaledRecords::open(root.path()).unwrap();
        let restored = records.load_sandboxes().await.unwrap();
        assert_eq!(restored.sandboxes, [sandbox]);
        assert!(records.load().await.unwrap().containers.is_empty());
    }

    #[tokio::test]
    async fn a_damaged_sandbox_is_moved_aside() {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let id = conformance::id(4);
        let directory = root.path().join("sandboxes").join(id.as_str());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("sandbox.json"), "{").unwrap();
        let records = JournaledRecords::open(root.path()).unwrap();
        let restored = records.load_sandboxes().await.unwrap();
        assert!(restored.sandboxes.is_empty());
        assert_eq!(restored.quarantined.len(), 1);
        assert!(!directory.exists());
    }
}
