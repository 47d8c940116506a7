//! Waiting for changes of a log, with inotify(7).

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;

use crate::ready;

/// Changes in a bundle directory.
#[derive(Debug)]
pub struct Changes(Option<AsyncFd<OwnedFd>>);

impl Changes {
    /// Watches from now on.
    pub fn of(bundle: &Path) -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let watch = inotify::init(flags)?;
        // The directory, not the file: it sees the files of today and of tomorrow.
        let events = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::DELETE_SELF
            | inotify::WatchFlags::ONLYDIR;
        inotify::add_watch(&watch, bundle, events)?;
        Ok(Self(Some(ready::watch(watch)?)))
    }

    /// Completes when something has changed since the last time.
    pub async fn next(&self) {
        let Some(watch) = &self.0 else { return };
        let mut buffer = [0; 4096];
        loop {
            // Without the watch there would be no change to see: the reader looks again then.
            let Ok(mut ready) = watch.readable().await else { return };
            let mut changed = false;
            loop {
                match rustix::io::read(watch.get_ref(), &mut buffer) {
                    Ok(_) => changed = true,
                    Err(rustix::io::Errno::AGAIN) => break,
                    Err(_) => return,
                }
            }
            ready.clear_ready();
            if changed {
                return;
            }
        }
    }
}

/// Closing an inotify descriptor waits for a grace period of the kernel, 10 to 20 ms: not where
/// others wait for their turn.
impl Drop for Changes {
    fn drop(&mut self) {
        let Some(watch) = self.0.take() else { return };
        let watch = watch.into_inner();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(watch));
        }
    }
}
