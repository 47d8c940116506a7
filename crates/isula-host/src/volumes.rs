//! Volumes of the `local` driver: `DATA/volumes/<name>/_data`.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use isula_core::{
    error::{ErrorKind, PortError},
    fault,
    id::Name,
    ports::{Result, Volume, Volumes},
};

use crate::records::{JournaledRecords, Trash, make_directory, sync_directory};

/// In front of the name of a volume that is being made; no [`Name`] begins so.
const NEW: &str = ".new-";
const DATA: &str = "_data";

/// The volumes below a data root. Cheap to clone; must be used within a tokio runtime.
#[derive(Clone)]
pub struct LocalVolumes {
    directory: PathBuf,
    trash: Trash,
}

impl LocalVolumes {
    /// Opens the volumes below `root`; what is removed goes the way of the records' trash. Volumes
    /// that a crash left half made are taken away. It blocks.
    ///
    /// # Errors
    /// The directory can't be made or read.
    pub fn open(root: &Path, records: &JournaledRecords) -> Result<Self> {
        let volumes = Self { directory: root.join("volumes"), trash: records.trash().clone() };
        let opened = volumes.take_away_half_made();
        opened.map_err(|error| {
            PortError::io(format!("{}: cannot open the volumes", root.display()), error)
        })?;
        Ok(volumes)
    }

    fn take_away_half_made(&self) -> io::Result<()> {
        make_directory(&self.directory, 0o701)?;
        fs::set_permissions(&self.directory, Permissions::from_mode(0o701))?;
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(NEW) {
                self.trash.take(&entry.path())?;
            }
        }
        Ok(())
    }

    fn volume(&self, name: &Name) -> Volume {
        Volume { name: name.clone(), path: self.directory.join(name.as_str()).join(DATA) }
    }

    /// Makes a volume under a preliminary name, so that it is whole when it is there.
    fn make(&self, name: &Name) -> io::Result<bool> {
        let target = self.directory.join(name.as_str());
        if target.join(DATA).is_dir() {
            return Ok(false);
        }
        let new = self.directory.join(format!("{NEW}{name}.{:?}", std::thread::current().id()));
        make_directory(&new, 0o701)?;
        let made = make_directory(&new.join(DATA), 0o755)
            .and_then(|()| sync_directory(&new.join(DATA)))
            .and_then(|()| sync_directory(&new))
            .and_then(|()| fs::rename(&new, &target));
        fault::point("volumes.made");
        match made {
            Ok(()) => sync_directory(&self.directory).map(|()| true),
            Err(error) => {
                fs::remove_dir_all(&new)?;
                // Another call has made it in the meantime.
                if error.kind() == io::ErrorKind::DirectoryNotEmpty {
                    Ok(false)
                } else {
                    Err(error)
                }
            }
        }
    }

    fn names(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if let Ok(text) = entry.file_name().into_string()
                && let Ok(name) = Name::try_from(text)
                && entry.path().join(DATA).is_dir()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Does what may block where blocking is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        action: String,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let volumes = self.clone();
        match tokio::task::spawn_blocking(move || work(&volumes)).await {
            Ok(done) => done.map_err(|error| PortError::io(format!("cannot {action}"), error)),
            Err(_) => Err(PortError::new(ErrorKind::Cancelled, "the daemon is shutting down")),
        }
    }
}

#[async_trait]
impl Volumes for LocalVolumes {
    async fn ensure(&self, name: &Name) -> Result<(Volume, bool)> {
        let wanted = name.clone();
        let made =
            self.blocking(format!("make volume {name}"), move |volumes| volumes.make(&wanted));
        Ok((self.volume(name), made.await?))
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.volume(name).path
    }

    async fn list(&self) -> Result<Vec<Volume>> {
        let names = self.blocking("list the volumes".to_owned(), Self::names).await?;
        Ok(names.iter().map(|name| self.volume(name)).collect())
    }

    async fn remove(&self, name: &Name) -> Result<()> {
        let path = self.directory.join(name.as_str());
        self.blocking(format!("remove volume {name}"), move |volumes| {
            if volumes.trash.take(&path)? {
                sync_directory(&volumes.directory)?;
                fault::point("volumes.removed");
            }
            Ok(())
        })
        .await?;
        self.trash.empty();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::LocalVolumes;
    use crate::records::JournaledRecords;
    use isula_core::{id::Name, ports::Volumes};
    use std::{fs, os::unix::fs::PermissionsExt};

    fn name(text: &str) -> Name {
        Name::try_from(text.to_owned()).unwrap()
    }

    #[tokio::test]
    async fn a_volume_is_made_once_and_gone_when_removed() {
        let root = tempfile::tempdir().unwrap();
        let records = JournaledRecords::open(root.path()).unwrap();
        fs::create_dir_all(root.path().join("volumes/.new-left.x/_data")).unwrap();
        let volumes = LocalVolumes::open(root.path(), &records).unwrap();
        assert!(!root.path().join("volumes/.new-left.x").exists());

        let (volume, made) = volumes.ensure(&name("web")).await.unwrap();
        assert!(made);
        assert_eq!(volume.path, root.path().join("volumes/web/_data"));
        let mode = |path: &str| {
            fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o7777
        };
        assert_eq!(mode("volumes/web/_data"), 0o755);
        assert_eq!((mode("volumes/web"), mode("volumes")), (0o701, 0o701));
        fs::write(volume.path.join("kept"), b"1").unwrap();
        assert_eq!(volumes.ensure(&name("web")).await.unwrap(), (volume.clone(), false));
        assert!(volume.path.join("kept").exists());
        volumes.ensure(&name("db")).await.unwrap();
        let names: Vec<_> =
            volumes.list().await.unwrap().into_iter().map(|volume| volume.name).collect();
        assert_eq!(names, [name("db"), name("web")]);

        volumes.remove(&name("web")).await.unwrap();
        volumes.remove(&name("web")).await.unwrap();
        assert!(!root.path().join("volumes/web").exists());
        assert_eq!(volumes.list().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn the_volumes_conform() {
        let root = tempfile::tempdir().unwrap();
        let records = JournaledRecords::open(root.path()).unwrap();
        let volumes = LocalVolumes::open(root.path(), &records).unwrap();
        isula_core::testing::conformance::volumes(std::sync::Arc::new(volumes)).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_that_want_a_volume_one_makes_it() {
        let root = tempfile::tempdir().unwrap();
        let records = JournaledRecords::open(root.path()).unwrap();
        let volumes = LocalVolumes::open(root.path(), &records).unwrap();
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let volumes = volumes.clone();
                tokio::spawn(async move { volumes.ensure(&name("one")).await.unwrap().1 })
            })
            .collect();
        let mut made = 0;
        for task in tasks {
            made += usize::from(task.await.unwrap());
        }
        assert_eq!(made, 1);
        assert_eq!(fs::read_dir(root.path().join("volumes")).unwrap().count(), 1);
    }
}
