//! Removal at leisure: a rename takes things out of sight at once; a thread that ends soon after
//! there is nothing to do frees their blocks, never busy more than half of the time, because
//! freeing blocks can keep the disk from everybody else. What a restart finds is taken up again.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use isula_sys::beneath::{Beneath, tree};

/// Things removed between two pauses.
const BATCH: u32 = 64;
const STACK: usize = 128 << 10;
/// How long the thread waits for more: what removes one thing soon removes the next, and a thread
/// costs as much as a small removal.
const KEPT: Duration = Duration::from_secs(2);

/// How long the deletion waits: whoever removed something has its answer by then, and nothing was
/// woken before that.
const DELAY: Duration = Duration::from_millis(20);

type Collect = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Work {
    /// What to do before the trash is emptied; the last one asked for, they are all alike.
    collect: Option<Collect>,
    wanted: bool,
    running: bool,
    /// It runs, and waits for more.
    resting: bool,
}

/// The directory `trash/` and its sweeper.
pub(crate) struct Trash {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    work: Mutex<Work>,
    more: Condvar,
    idle: Condvar,
    serial: AtomicU64,
}

impl Trash {
    pub(crate) fn new(dir: PathBuf) -> Self {
        let (work, more, idle) = (Mutex::default(), Condvar::new(), Condvar::new());
        let serial = AtomicU64::new(0);
        Self { shared: Arc::new(Shared { dir, work, more, idle, serial }) }
    }

    /// Takes `path` out of sight; its blocks are freed by the next [`Trash::sweep`]. What is not
    /// there is no error.
    pub(crate) fn discard(&self, path: &Path) -> io::Result<()> {
        discard(&self.shared.dir, &self.shared.serial, path)
    }

    /// Frees everything discarded so far, on a thread that ends soon after nothing is left.
    pub(crate) fn sweep(&self) {
        let scheduled = std::mem::replace(&mut self.shared.work().wanted, true);
        if scheduled {
            return;
        }
        let shared = Arc::clone(&self.shared);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                tokio::time::sleep(DELAY).await;
                shared.begin();
            })),
            Err(_) => shared.begin(),
        }
    }

    /// As [`Trash::sweep`], after `collect`, which may discard more and begins at once.
    pub(crate) fn sweep_after(&self, collect: impl FnOnce() + Send + 'static) {
        let mut work = self.shared.work();
        work.collect = Some(Box::new(collect));
        work.wanted = true;
        drop(work);
        self.shared.begin();
    }

    /// Waits until nothing is left to do.
    #[cfg(test)]
    pub(crate) fn wait(&self) {
        // The timer may be one of the thread that waits here.
        self.shared.begin();
        let work = self.shared.work();
        let busy = |work: &mut Work| work.wanted || work.running && !work.resting;
        drop(self.shared.idle.wait_while(work, busy).unwrap());
    }
}

/// As [`Trash::discard`], for the start of the store.
pub(crate) fn discard(dir: &Path, serial: &AtomicU64, path: &Path) -> io::Result<()> {
    loop {
        let number = serial.fetch_add(1, Ordering::Relaxed);
        let name = dir.join(format!("{:x}-{number:x}", std::process::id()));
        // A file may replace a file, an empty directory an empty one: that loses nothing here.
        match fs::rename(path, &name) {
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => return Ok(()),
                io::ErrorKind::DirectoryNotEmpty
                | io::ErrorKind::AlreadyExists
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::NotADirectory => {}
                _ => return Err(error),
            },
            Ok(()) => return Ok(()),
        }
    }
}

/// Frees the blocks of `path` before it returns, at the trash's pace. What is not there is no error.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut pace = Pace::new();
    tree::remove(Beneath::open(parent)?.root(), name.as_bytes(), &mut || pace.keep())
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has what is wanted done, by the thread that rests or a new one.
    fn begin(self: &Arc<Self>) {
        let mut work = self.work();
        if !work.wanted {
            return;
        }
        if work.running {
            self.more.notify_one();
            return;
        }
        let shared = Arc::clone(self);
        let builder = thread::Builder::new().name("image-trash".into()).stack_size(STACK);
        match builder.spawn(move || shared.run()) {
            Ok(_) => work.running = true,
            Err(error) => {
                // It stays in the trash until the next sweep or start.
                work.wanted = false;
                tracing::warn!(%error, "cannot start the removal of what was discarded");
            }
        }
    }

    fn run(&self) {
        let mut hopeless = HashSet::new();
        loop {
            let collect = {
                let mut work = self.work();
                if !work.wanted {
                    work.resting = true;
                    self.idle.notify_all();
                    let waited = self.more.wait_timeout_while(work, KEPT, |work| !work.wanted);
                    work = waited.unwrap_or_else(PoisonError::into_inner).0;
                    work.resting = false;
                }
                if !work.wanted {
                    work.running = false;
                    return;
                }
                work.wanted = false;
                work.collect.take()
            };
            if let Some(collect) = collect {
                collect();
                thread::sleep(DELAY);
            }
            if let Err(error) = self.empty(&mut hopeless) {
                tracing::warn!(dir = %self.dir.display(), %error, "cannot empty the trash");
            }
        }
    }

    /// What was asked for meanwhile does not wait until the trash is empty: layers that nothing needs
    /// would be found by the next pull as if they had stayed.
    fn collect_now(&self) {
        let collect = self.work().collect.take();
        if let Some(collect) = collect {
            collect();
        }
    }

    /// Frees everything that is in the trash now; what can't be removed is left for the next start.
    fn empty(&self, hopeless: &mut HashSet<OsString>) -> io::Result<()> {
        let dir = Beneath::open(&self.dir)?;
        let mut pace = Pace::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            if hopeless.contains(&name) {
                continue;
            }
            let removed = tree::remove(dir.root(), name.as_bytes(), &mut || {
                self.collect_now();
                pace.keep()
            });
            if let Err(error) = removed {
                tracing::warn!(name = %name.display(), %error, "cannot remove what was discarded");
                hopeless.insert(name);
            }
        }
        Ok(())
    }
}

/// Rests as long as the last things took.
struct Pace {
    since: Instant,
    removed: u32,
}

impl Pace {
    fn new() -> Self {
        Self { since: Instant::now(), removed: 0 }
    }

    fn keep(&mut self) -> io::Result<()> {
        self.removed += 1;
        if self.removed.is_multiple_of(BATCH) {
            thread::sleep(self.since.elapsed());
            self.since = Instant::now();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Trash;

    #[test]
    fn what_is_discarded_is_out_of_sight_at_once_and_gone_after_the_sweep() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("trash");
        fs::create_dir_all(&bin).unwrap();
        // From before a restart, and with a name that this process will try.
        fs::create_dir_all(bin.join(format!("{:x}-0/old", std::process::id()))).unwrap();
        let trash = Trash::new(bin.clone());
        for name in ["a", "b"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.join("x/y")).unwrap();
            trash.discard(&path).unwrap();
            assert!(!path.exists());
        }
        trash.discard(&dir.path().join("absent")).unwrap();
        let (file, done) = (dir.path().join("file"), std::sync::mpsc::channel());
        fs::write(&file, "x").unwrap();
        let late = std::sync::Arc::new(trash);
        let in_collect = std::sync::Arc::clone(&late);
        late.sweep_after(move || {
            in_collect.discard(&file).unwrap();
            done.0.send(()).unwrap();
        });
        done.1.recv().unwrap();
        late.sweep();
        late.wait();
        assert_eq!(fs::read_dir(&bin).unwrap().count(), 0);
    }

    #[test]
    fn what_is_asked_for_meanwhile_does_not_wait_for_an_empty_trash() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("trash");
        for number in 0..50 {
            fs::create_dir_all(bin.join(number.to_string())).unwrap();
        }
        let trash = std::sync::Arc::new(Trash::new(bin.clone()));
        let (told, heard) = std::sync::mpsc::channel();
        let (again, seen) = (std::sync::Arc::clone(&trash), bin.clone());
        // The second is asked for on the thread that goes on to empty the trash.
        trash.sweep_after(move || {
            again.sweep_after(move || told.send(fs::read_dir(seen).unwrap().count()).unwrap());
        });
        let left = heard.recv().unwrap();
        assert!(left > 40, "{left} of 50 were left");
        trash.wait();
        assert_eq!(fs::read_dir(&bin).unwrap().count(), 0);
    }
}
