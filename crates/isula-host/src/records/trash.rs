//! What was removed: out of sight at once by a rename, its blocks freed later and slowly, because
//! freeing them can be a synchronous discard on the disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The shortest pause between two deletions; a longer deletion is followed by as long a pause.
const PAUSE: Duration = Duration::from_millis(2);
/// How long the deletion waits: whoever removed something has its answer by then, and nothing was
/// woken before that.
const DELAY: Duration = Duration::from_millis(20);

/// A directory of things that nobody misses.
#[derive(Clone)]
pub(crate) struct Trash {
    inside: Arc<Inside>,
}

struct Inside {
    directory: PathBuf,
    next: AtomicU64,
    emptying: AtomicBool,
}

impl Trash {
    /// The trash in this directory, which is made if it is missing. What is in it stays until
    /// [`Trash::empty`].
    pub(crate) fn open(directory: PathBuf) -> io::Result<Self> {
        super::plain::make_directory(&directory, 0o700)?;
        // Names that an earlier daemon gave may still be there.
        let next = AtomicU64::new(u64::try_from(fs::read_dir(&directory)?.count()).unwrap_or(0));
        Ok(Self { inside: Arc::new(Inside { directory, next, emptying: AtomicBool::new(false) }) })
    }

    /// Moves a file or directory of the same file system into the trash. One that is not there is
    /// no error; the answer says whether it was.
    pub(crate) fn take(&self, path: &Path) -> io::Result<bool> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        loop {
            let number = self.inside.next.fetch_add(1, Ordering::Relaxed);
            let target = self.inside.directory.join(format!("{name}.{number}"));
            match fs::rename(path, &target) {
                Ok(()) => return Ok(true),
                Err(error) => match error.kind() {
                    io::ErrorKind::NotFound => return Ok(false),
                    // The name is taken by a directory, or path and target are of two kinds.
                    io::ErrorKind::DirectoryNotEmpty
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::NotADirectory => {}
                    // The trash itself may need a block that a full disk does not have.
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        remove(path)?;
                        return Ok(true);
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    /// Deletes what is there in the background, one thing at a time. Must be called within a tokio
    /// runtime; does nothing while a call before it is still at work.
    pub(crate) fn empty(&self) {
        if !self.inside.emptying.swap(true, Ordering::AcqRel) {
            let trash = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(DELAY).await;
                // One thread for all of it: jobs in turn would keep every idle thread awake.
                drop(tokio::task::spawn_blocking(move || trash.empty_slowly()).await);
            });
        }
    }

    fn empty_slowly(&self) {
        loop {
            let found = self.contents();
            let mut failed = 0;
            for path in &found {
                let began = Instant::now();
                if let Err(error) = remove(path) {
                    failed += 1;
                    tracing::warn!(path = %path.display(), %error, "cannot empty the trash");
                }
                std::thread::sleep(began.elapsed().max(PAUSE));
            }
            // What can't be removed now is left for the next call or the next start.
            if failed == found.len() {
                self.inside.emptying.store(false, Ordering::Release);
                // Something may have come in before the flag was down.
                let missed = self.contents().len() > failed;
                if !missed || self.inside.emptying.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
        }
    }

    fn contents(&self) -> Vec<PathBuf> {
        match fs::read_dir(&self.inside.directory) {
            Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
            Err(error) => {
                let path = self.inside.directory.display();
                tracing::warn!(%path, %error, "cannot read the trash");
                Vec::new()
            }
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

#[cfg(test)]
mod tests {
    use super::Trash;
    use std::fs;

    #[test]
    fn what_is_taken_is_gone_at_once_and_deleted_later() {
        let root = tempfile::tempdir().unwrap();
        let trash = Trash::open(root.path().join("trash")).unwrap();
        for round in 0..3 {
            let victim = root.path().join("victim");
            fs::create_dir_all(victim.join("below")).unwrap();
            fs::write(victim.join("below/file"), [round]).unwrap();
            assert!(trash.take(&victim).unwrap());
            assert!(!victim.exists());
        }
        assert!(!trash.take(&root.path().join("victim")).unwrap());
        assert_eq!(trash.contents().len(), 3);
        trash.empty_slowly();
        assert_eq!(trash.contents().len(), 0);
    }

    #[test]
    fn names_of_an_earlier_daemon_are_in_nobodys_way() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("trash/x.1/full")).unwrap();
        fs::write(root.path().join("trash/x.2"), b"").unwrap();
        let trash = Trash::open(root.path().join("trash")).unwrap();
        fs::create_dir(root.path().join("x")).unwrap();
        assert!(trash.take(&root.path().join("x")).unwrap());
        assert_eq!(trash.contents().len(), 3);
    }
}
