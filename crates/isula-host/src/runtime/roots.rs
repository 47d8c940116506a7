//! Root file systems of containers that are being killed.
//!
//! When its last user goes, an overlay has all that is dirty of the file system below it written
//! (`ovl_sync_fs`, fs/overlayfs/super.c): milliseconds at best, seconds beside somebody who writes
//! much. The container's process would be that last user, and its end is told only after that. So
//! who kills a container holds on to its root, and lets go of it where nobody waits.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isula_core::id::ContainerId;
use isula_core::signal::Signal;
use rustix::fs::{Mode, OFlags};
use tokio::sync::Notify;

use super::directory::Named;

/// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
const OVERLAY: u64 = 0x794c_7630;

/// The root file systems that are held.
#[derive(Debug, Clone, Default)]
pub struct Roots(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    progress: Notify,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<ContainerId, OwnedFd>,
    /// Let go of, but not gone yet: the descriptor is closed by the thread that works.
    going: HashMap<ContainerId, Option<OwnedFd>>,
    working: bool,
}

impl Roots {
    /// Holds the root of a container if this signal may end it.
    pub fn hold(&self, id: &ContainerId, init: Named, signal: Signal) {
        let fatal = [Signal::KILL, Signal::TERM].contains(&signal);
        if !fatal || self.lock().held.contains_key(id) {
            return;
        }
        let path = format!("/proc/{}/root", init.pid);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // One that cannot be opened ends as it would without this.
        let Ok(root) = rustix::fs::open(path, flags, Mode::empty()) else { return };
        let overlay = rustix::fs::fstatfs(&root)
            .is_ok_and(|found| u64::try_from(found.f_type) == Ok(OVERLAY));
        // Opened before it is looked whose it was, it is of the right process.
        if overlay && init.lives() {
            self.lock().held.insert(id.clone(), root);
        }
    }

    /// Lets go of a container's root, if it is held. Must be called within a tokio runtime.
    pub fn release(&self, id: &ContainerId) {
        let mut state = self.lock();
        let Some(root) = state.held.remove(id) else { return };
        state.going.insert(id.clone(), Some(root));
        if !state.working {
            state.working = true;
            let roots = self.clone();
            tokio::task::spawn_blocking(move || roots.work());
        }
    }

    /// Completes when the root of no former run of the container is left: two overlays must not
    /// have the same upper layer (mount(8) of overlay: "undefined behavior").
    pub async fn released(&self, id: &ContainerId) {
        self.release(id);
        loop {
            let progress = self.0.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if !self.lock().going.contains_key(id) {
                return;
            }
            progress.await;
        }
    }

    fn work(&self) {
        loop {
            let next = {
                let mut state = self.lock();
                let next = state.going.iter_mut().find_map(|(id, root)| {
                    let root = root.take()?;
                    Some((id.clone(), root))
                });
                state.working = next.is_some();
                next
            };
            let Some((id, root)) = next else { return };
            // This is what takes its time.
            drop(root);
            self.lock().going.remove(&id);
            self.0.progress.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use isula_core::{id::ContainerId, signal::Signal};

    use super::{Named, Roots};

    #[tokio::test]
    async fn only_an_overlay_is_held_and_what_is_not_held_is_released() {
        let roots = Roots::default();
        let id = ContainerId::from_random([7; 32]);
        let pid = i32::try_from(std::process::id()).unwrap();
        let own = Named { pid, start: isula_sys::process::start_time(pid).unwrap() };
        roots.hold(&id, own, Signal::KILL);
        // The root of these tests may be an overlay itself, in a container.
        roots.released(&id).await;
        assert!(roots.lock().held.is_empty());
        assert!(roots.lock().going.is_empty());
    }

    #[tokio::test]
    async fn a_root_is_gone_once_it_is_released() {
        let roots = Roots::default();
        let directory = tempfile::tempdir().unwrap();
        for number in 0..20 {
            let id = ContainerId::from_random([number; 32]);
            let root = std::fs::File::open(directory.path()).unwrap().into();
            roots.lock().held.insert(id.clone(), root);
            roots.release(&id);
        }
        let id = ContainerId::from_random([3; 32]);
        roots.released(&id).await;
        assert!(!roots.lock().going.contains_key(&id));
    }
}
