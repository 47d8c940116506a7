//! `stop` and `remove`: idempotent, as CRI wants them.

use std::{sync::Arc, time::Duration};

use isula_core::container::State;

use crate::{Engine, Error, Patience, Result, StopOptions, container::Anonymous, slot::Slot};

impl Engine {
    /// Starts a container of a sandbox that is ready. One that has run is not started again: CRI
    /// makes a new one.
    ///
    /// # Errors
    /// The sandbox is not ready, the state does not allow it, or the init process can't be started.
    pub async fn start_member(self: &Arc<Self>, query: &str) -> Result<crate::container::Started> {
        let slot = self.member_slot(query)?;
        let container = slot.container();
        let Some(pod) = &container.pod else {
            return Err(Error::NoSuchContainer(query.to_owned()));
        };
        if !matches!(container.state, State::Created) {
            return Err(Error::NotCreated(query.to_owned(), container.state.name()));
        }
        // Held until the container runs: nobody takes the sandbox down meanwhile.
        let _shared = self.share_sandbox(pod.sandbox.as_str()).await?;
        self.start(container.id.as_str()).await
    }

    /// Asks a container to end, and kills it after `patience`; zero kills at once. A container that
    /// is not there or does not run is left as it is.
    ///
    /// # Errors
    /// As [`Engine::stop`].
    pub async fn stop_member(self: &Arc<Self>, query: &str, patience: Duration) -> Result<()> {
        let slot = match self.member_slot(query) {
            Ok(slot) => slot,
            Err(Error::NoSuchContainer(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        if patience.is_zero() {
            return self.end_member(&slot).await;
        }
        let Some(held) = self.hold_slot(&slot).await else { return Ok(()) };
        let options = StopOptions { patience: Some(Patience::For(patience)), signal: None };
        self.stop_held(&held, options).await.map(drop)
    }

    /// Removes a container; one that runs is killed first. One that is not there is no error.
    ///
    /// # Errors
    /// A part can't be removed, and the removal can be asked for again.
    pub async fn remove_member(self: &Arc<Self>, query: &str) -> Result<()> {
        match self.member_slot(query) {
            Ok(slot) => self.remove_member_slot(&slot).await,
            Err(Error::NoSuchContainer(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn remove_member_slot(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<()> {
        self.end_member(slot).await?;
        let Some(held) = self.hold_slot(slot).await else { return Ok(()) };
        self.take_apart(&held, Anonymous::Remove).await
    }

    /// Kills a container if it runs, and waits for its end.
    pub(crate) async fn end_member(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<()> {
        let container = slot.container();
        if container.state.run().is_some() {
            // Whoever holds it may wait for its end: bring that about.
            self.send_signal(slot, &container, isula_core::signal::Signal::KILL).await?;
        }
        let Some(held) = self.hold_slot(slot).await else { return Ok(()) };
        if held.container().state.run().is_some() {
            held.slot().marks().end_wanted = true;
            let exit = self.kill_held(&held).await?;
            self.settle(&held, exit).await;
        }
        Ok(())
    }
}
