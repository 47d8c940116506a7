//! The files of checkpoints: made below the data root, or where a caller wants them.
//!
//! Whoever names a directory is root, by the socket; who may change what is in it need not be.
//! So no symbolic link is followed on the way, files are made new, and what is read for a restore
//! must be root's alone.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use isula_core::{
    error::{ErrorKind, PortError},
    ports::{ByteStream, Checkpoints, Result},
};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use tokio::io::AsyncWriteExt as _;

use crate::{
    records::{JournaledRecords, Trash, make_directory},
    runtime::blocking,
};

/// The checkpoints below a data root. Cheap to clone; must be used within a tokio runtime.
#[derive(Clone)]
pub struct LocalCheckpoints {
    directory: PathBuf,
    trash: Trash,
}

impl LocalCheckpoints {
    /// Takes the place for checkpoints below `root`; what a former daemon left there goes into the
    /// records' trash. It blocks.
    ///
    /// # Errors
    /// The directory can't be made or read.
    pub fn open(root: &Path, records: &JournaledRecords) -> Result<Self> {
        let checkpoints =
            Self { directory: root.join("checkpoints"), trash: records.trash().clone() };
        let opened = checkpoints.take_away_left();
        opened.map_err(|error| {
            PortError::io(format!("{}: cannot open the checkpoints", root.display()), error)
        })?;
        Ok(checkpoints)
    }

    fn take_away_left(&self) -> io::Result<()> {
        make_directory(&self.directory, 0o700)?;
        for entry in fs::read_dir(&self.directory)? {
            self.trash.take(&entry?.path())?;
        }
        Ok(())
    }
}

/// A path of a caller: absolute, and without a symbolic link anywhere.
fn open_straight(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    if !path.is_absolute() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is not absolute"));
    }
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), resolve)?)
}

/// An error about a path that the caller gave.
fn given(path: &Path, error: io::Error) -> PortError {
    let text = format!("cannot use {}", path.display());
    let is_link = error.raw_os_error() == Some(isula_sys::beneath::ELOOP);
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput => {
            PortError::with_source(ErrorKind::InvalidInput, text, error)
        }
        _ if is_link => PortError::with_source(ErrorKind::InvalidInput, text, error),
        _ => PortError::io(text, error),
    }
}

async fn store(path: &Path, mut content: ByteStream) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut file = tokio::fs::File::from_std(file);
    while let Some(piece) = content.next().await {
        file.write_all(&piece?).await?;
    }
    file.sync_all().await
}

/// Whether root alone may change a file or directory.
fn is_roots(file: &File) -> io::Result<bool> {
    let found = file.metadata()?;
    Ok(found.uid() == 0 && found.mode() & 0o022 == 0)
}

/// Opens a file of a checkpoint, which is root's with everything on the way from the checkpoint.
fn open_trusted(checkpoint: &Path, name: &str) -> Result<File> {
    let failed = |error| given(&checkpoint.join(name), error);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let directory = File::from(open_straight(checkpoint, flags).map_err(failed)?);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = rustix::fs::openat2(directory.as_fd(), name, flags, Mode::empty(), resolve);
    let file = File::from(file.map_err(|error| failed(error.into()))?);
    for one in [&directory, &file] {
        if !is_roots(one).map_err(failed)? {
            let text = format!(
                "{}: others than root may change it: nothing is restored from it",
                checkpoint.display()
            );
            return Err(PortError::new(ErrorKind::PermissionDenied, text));
        }
    }
    Ok(file)
}

fn read_trusted(checkpoint: &Path, name: &str, limit: u64) -> Result<Vec<u8>> {
    let file = open_trusted(checkpoint, name)?;
    let mut bytes = Vec::new();
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| given(&checkpoint.join(name), error))?;
    if bytes.len() as u64 > limit {
        let text = format!("{}: {name} is too large", checkpoint.display());
        return Err(PortError::new(ErrorKind::Corrupt, text));
    }
    Ok(bytes)
}

/// Copies what is regular, and directories.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let failed = |path: &Path| {
        let text = format!("cannot copy {}", path.display());
        move |error| PortError::io(text, error)
    };
    fs::DirBuilder::new().mode(0o700).create(to).map_err(failed(to))?;
    for entry in fs::read_dir(from).map_err(failed(from))? {
        let entry = entry.map_err(failed(from))?;
        let kind = entry.file_type().map_err(failed(from))?;
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_file() {
            let name = entry.file_name();
            let mut source = open_trusted(from, &name.to_string_lossy())?;
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target);
            let copied = made.and_then(|mut made| {
                io::copy(&mut source, &mut made)?;
                made.flush()
            });
            copied.map_err(failed(&entry.path()))?;
        } else {
            let text = format!("{}: it is no regular file", entry.path().display());
            return Err(PortError::new(ErrorKind::Corrupt, text));
        }
    }
    Ok(())
}

#[async_trait]
impl Checkpoints for LocalCheckpoints {
    async fn begin(&self) -> Result<PathBuf> {
        let failed = |error| PortError::io("cannot make a directory for a checkpoint", error);
        let mut bytes = [0; 8];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| failed(error.into()))?;
        let name = format!("{:016x}", u64::from_le_bytes(bytes));
        let path = self.directory.join(name);
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        Ok(path)
    }

    async fn accept(&self, directory: &Path) -> Result<()> {
        let failed = |error| given(directory, error);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        open_straight(directory, flags).map_err(failed)?;
        match fs::read_dir(directory).map_err(failed)?.next() {
            None => Ok(()),
            Some(_) => {
                let text = format!("{}: it is not empty", directory.display());
                Err(PortError::new(ErrorKind::InvalidInput, text))
            }
        }
    }

    async fn make(&self, directory: &Path) -> Result<()> {
        let made = fs::DirBuilder::new().mode(0o700).create(directory);
        made.map_err(|error| given(directory, error))
    }

    async fn write(&self, file: &Path, content: ByteStream) -> Result<()> {
        let text = || format!("cannot write {}", file.display());
        store(file, content).await.map_err(|error| PortError::io(text(), error))
    }

    async fn publish(&self, file: &Path, content: ByteStream) -> Result<()> {
        let failed = |error| given(file, error);
        let (Some(parent), Some(name)) = (file.parent(), file.file_name()) else {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        };
        open_straight(parent, OFlags::PATH | OFlags::DIRECTORY).map_err(failed)?;
        let fresh = parent.join(format!(".{}.new", name.to_string_lossy()));
        // One that a killed daemon left.
        let _ = fs::remove_file(&fresh);
        let written = match store(&fresh, content).await {
            Ok(()) => fs::rename(&fresh, file),
            Err(error) => Err(error),
        };
        written.map_err(|error| {
            let _ = fs::remove_file(&fresh);
            PortError::io(format!("cannot write {}", file.display()), error)
        })
    }

    async fn read(&self, checkpoint: &Path, name: &str, limit: u64) -> Result<Vec<u8>> {
        let (checkpoint, name) = (checkpoint.to_owned(), name.to_owned());
        blocking(move || read_trusted(&checkpoint, &name, limit)).await
    }

    async fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        blocking(move || copy_tree(&from, &to)).await
    }

    async fn empty(&self, directory: &Path) -> Result<()> {
        let directory = directory.to_owned();
        blocking(move || {
            let emptied = fs::read_dir(&directory).and_then(|entries| {
                for entry in entries {
                    let entry = entry?;
                    match entry.file_type()?.is_dir() {
                        true => fs::remove_dir_all(entry.path())?,
                        false => fs::remove_file(entry.path())?,
                    }
                }
                Ok(())
            });
            let text = format!("cannot empty {}", directory.display());
            emptied.map_err(|error| PortError::io(text, error))
        })
        .await
    }

    async fn discard(&self, directory: &Path) -> Result<()> {
        let taken = self.trash.take(directory).map(drop);
        self.trash.empty();
        taken
            .map_err(|error| PortError::io(format!("cannot remove {}", directory.display()), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn content(text: &'static str) -> ByteStream {
        Box::pin(futures_util::stream::iter([Ok(Bytes::from(text))]))
    }

    fn broken() -> ByteStream {
        let pieces = [Ok(Bytes::from("half")), Err(io::ErrorKind::BrokenPipe.into())];
        Box::pin(futures_util::stream::iter(pieces))
    }

    struct Site {
        root: tempfile::TempDir,
        checkpoints: LocalCheckpoints,
    }

    impl Site {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let records = JournaledRecords::open(root.path()).unwrap();
            let checkpoints = LocalCheckpoints::open(root.path(), &records).unwrap();
            Self { root, checkpoints }
        }

        fn directory(&self, name: &str) -> PathBuf {
            let path = self.root.path().join(name);
            fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
            path
        }
    }

    #[tokio::test]
    async fn an_archive_is_there_whole_or_not_at_all_and_never_behind_a_link() {
        let site = Site::new();
        let (place, elsewhere) = (site.directory("place"), site.directory("elsewhere"));
        let file = place.join("a.tar");
        site.checkpoints.publish(&file, content("whole")).await.unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        site.checkpoints.publish(&file, broken()).await.unwrap_err();
        assert_eq!(fs::read(&file).unwrap(), b"whole");
        assert_eq!(fs::read_dir(&place).unwrap().count(), 1, "no half of it");
        // A link in its place is replaced, one on the way is refused.
        let target = elsewhere.join("secret");
        fs::write(&target, "secret").unwrap();
        let link = place.join("link");
        symlink(&target, &link).unwrap();
        site.checkpoints.publish(&link, content("new")).await.unwrap();
        assert_eq!(
            (fs::read(&target).unwrap(), fs::read(&link).unwrap()),
            (b"secret".to_vec(), b"new".to_vec())
        );
        symlink(&elsewhere, site.root.path().join("way")).unwrap();
        for path in [site.root.path().join("way/x"), "relative".into(), "/".into()] {
            let error = site.checkpoints.publish(&path, content("x")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{}", path.display());
        }
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_directory_of_the_caller_must_be_there_empty_and_itself() {
        let site = Site::new();
        let (empty, full) = (site.directory("empty"), site.directory("full"));
        fs::write(full.join("x"), "").unwrap();
        symlink(&empty, site.root.path().join("link")).unwrap();
        site.checkpoints.accept(&empty).await.unwrap();
        for name in ["full", "link", "gone", "full/x"] {
            let error = site.checkpoints.accept(&site.root.path().join(name)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
        }
        site.checkpoints.make(&full.join("inside")).await.unwrap();
        site.checkpoints.empty(&full).await.unwrap();
        site.checkpoints.accept(&full).await.unwrap();
    }

    #[tokio::test]
    async fn what_others_may_change_is_not_read_and_what_is_no_file_not_copied() {
        let site = Site::new();
        let saved = site.directory("saved");
        fs::write(saved.join("pod.json"), "{}").unwrap();
        assert_eq!(site.checkpoints.read(&saved, "pod.json", 2).await.unwrap(), b"{}");
        let too_large = site.checkpoints.read(&saved, "pod.json", 1).await.unwrap_err();
        assert_eq!(too_large.kind(), ErrorKind::Corrupt);
        symlink("/etc/passwd", saved.join("link")).unwrap();
        site.checkpoints.read(&saved, "link", 1 << 20).await.unwrap_err();
        site.checkpoints.read(&saved, "../saved/pod.json", 2).await.unwrap_err();
        let copy = site.root.path().join("copy");
        let error = site.checkpoints.copy(&saved, &copy).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "a link");
        fs::remove_file(saved.join("link")).unwrap();
        fs::remove_dir_all(&copy).unwrap();
        site.checkpoints.copy(&saved, &copy).await.unwrap();
        assert_eq!(fs::read(copy.join("pod.json")).unwrap(), b"{}");
        for path in [saved.join("pod.json"), saved.clone()] {
            let before = fs::metadata(&path).unwrap().permissions();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
            let error = site.checkpoints.read(&saved, "pod.json", 2).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}", path.display());
            fs::set_permissions(&path, before).unwrap();
        }
    }

    #[tokio::test]
    async fn what_a_former_daemon_left_is_gone_with_the_next() {
        let site = Site::new();
        let begun = site.checkpoints.begin().await.unwrap();
        site.checkpoints.write(&begun.join("x"), content("x")).await.unwrap();
        let records = JournaledRecords::open(site.root.path()).unwrap();
        LocalCheckpoints::open(site.root.path(), &records).unwrap();
        assert!(!begun.exists());
        let begun = site.checkpoints.begin().await.unwrap();
        site.checkpoints.discard(&begun).await.unwrap();
        site.checkpoints.discard(&begun).await.unwrap();
        assert!(!begun.exists());
    }
}
