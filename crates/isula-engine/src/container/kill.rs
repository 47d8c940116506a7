//! `kill`: a signal. It needs no right to change the container, so it reaches one that somebody is
//! waiting to stop.

use isula_core::{
    container::{Container, State},
    event::ContainerAction,
    id::ContainerId,
    signal::Signal,
};

use crate::{Engine, Error, Result, slot::Slot};

impl Engine {
    /// Sends a signal to the init process.
    ///
    /// # Errors
    /// It does not run.
    pub async fn kill(&self, query: &str, signal: Signal) -> Result<ContainerId> {
        let slot = self.index.find(query)?;
        let container = slot.container();
        if container.state.run().is_none() {
            return Err(Error::NotRunning(query.to_owned()));
        }
        self.send_signal(&slot, &container, signal).await?;
        self.publish(&slot.id, ContainerAction::Kill(signal.number()));
        if ends(&container, signal)
            && matches!(container.state, State::Paused(_))
            && let Some(held) = self.hold_slot(&slot).await
        {
            self.thaw(&held).await?;
        }
        Ok(slot.id.clone())
    }

    /// Sends a signal and remembers whether it is meant to end the container.
    pub(crate) async fn send_signal(
        &self,
        slot: &Slot,
        container: &Container,
        signal: Signal,
    ) -> Result<()> {
        if ends(container, signal) {
            slot.marks().end_wanted = true;
        }
        let work = self.ports.runtime.kill(&slot.id, signal, signal == Signal::KILL);
        self.port(container, "send it a signal", work).await
    }
}

/// A user who sends it wants the container to end: its restart policy must not undo that.
fn ends(container: &Container, signal: Signal) -> bool {
    signal == Signal::KILL || signal == container.config.stop_signal.unwrap_or(Signal::TERM)
}
