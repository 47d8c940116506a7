//! Into the journal, and from one half of it to the other.

use std::{fs::File, io, sync::Arc};

use isula_core::{
    error::{ErrorKind, PortError, chain},
    fault,
    ports::Result,
};
use tokio::sync::{
    RwLockReadGuard,
    oneshot::{
        Receiver,
        error::{RecvError, TryRecvError},
    },
};

use super::{
    Shared, blocking,
    journal::{Appended, Half, Synced},
    locked, payload, replay,
};

impl Shared {
    /// Does work that appends a record of `length` bytes, where blocking is allowed; work that
    /// found this half full (`None`) is done again after going on to the other one. While the guard
    /// lives, the half with the record is not settled.
    pub(super) async fn attempt<T: Send + 'static>(
        self: &Arc<Self>,
        length: usize,
        work: impl Fn(&Self) -> Result<Option<T>> + Clone + Send + 'static,
    ) -> Result<(RwLockReadGuard<'_, ()>, T)> {
        loop {
            let guard = self.changing.read().await;
            let (shared, now) = (Arc::clone(self), work.clone());
            match blocking(move || now(&shared)).await?? {
                Some(done) => return Ok((guard, done)),
                None => {
                    drop(guard);
                    self.go_on(length).await?;
                }
            }
        }
    }

    /// Waits until everything appended so far is durable.
    pub(super) async fn synced(&self) -> Result<()> {
        outcome(self.journal.sync().await)
    }

    /// Goes on to the other half unless a record of this length fits by now, and settles the one
    /// that was left in the background.
    pub(super) async fn go_on(self: &Arc<Self>, length: usize) -> Result<()> {
        let guard = self.settling.lock().await;
        if self.journal.fits(length) {
            return Ok(());
        }
        if let Some(half) = self.journal.unsettled() {
            self.settle(half).await?;
        }
        let left = self.journal.flip();
        drop(guard);
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let _guard = shared.settling.lock().await;
            if shared.journal.unsettled() == Some(left)
                && let Err(error) = shared.settle(left).await
            {
                tracing::warn!(error = %chain(&error), "cannot settle the journal yet");
            }
        });
        Ok(())
    }

    /// Makes the plain files say what a half says, durably. `settling` is held.
    async fn settle(self: &Arc<Self>, half: Half) -> Result<()> {
        // Changes that are under way may have their record in this half, but no directory yet.
        drop(self.changing.write().await);
        let shared = Arc::clone(self);
        let settled = blocking(move || shared.settle_now(half)).await?;
        fault::point("records.settled");
        settled.map_err(|error| PortError::io("cannot settle the journal of the records", error))
    }

    fn settle_now(&self, half: Half) -> io::Result<()> {
        // One record at a time: two megabytes more, once in a while, would be kept for ever.
        for (id, place) in self.journal.newest_in(half)? {
            let _files = locked(&self.files);
            if !self.journal.is_newest_in(half, &id) {
                continue;
            }
            let Ok((_, change)) = replay::read(&self.journal.read(place)?) else { continue };
            let Err(error) = replay::apply(&self.places, &self.trash, &id, &change) else {
                continue;
            };
            tracing::warn!(%id, %error, "cannot write a record; it is carried over in the journal");
            let payload = payload(&id, &change.runtime, &change.what)?;
            if self.journal.append(&id, &payload)? == Appended::Full {
                return Err(error);
            }
        }
        rustix::fs::syncfs(File::open(self.places.engines())?)?;
        self.journal.settle(half)
    }
}

/// What a wait for the journal came to.
pub(super) fn outcome(answer: Result<Synced, RecvError>) -> Result<()> {
    match answer {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            let error = io::Error::new(error.kind(), error);
            Err(PortError::io("cannot sync the journal of the records", error))
        }
        Err(_) => Err(ending()),
    }
}

/// Whether a wait is over already. Whoever stayed to wait would keep a thread that those it waits
/// for may need.
pub(super) fn is_synced(synced: &mut Receiver<Synced>) -> Result<bool> {
    match synced.try_recv() {
        Ok(done) => outcome(Ok(done)).map(|()| true),
        Err(TryRecvError::Empty) => Ok(false),
        Err(TryRecvError::Closed) => Err(ending()),
    }
}

fn ending() -> PortError {
    PortError::new(ErrorKind::Cancelled, "the daemon is shutting down")
}
