//! `attach`: a client joins the init process.

use std::{pin::Pin, sync::Arc};

use isula_core::{
    container::{Container, State},
    error::{ErrorKind, PortError},
    id::ContainerId,
    ports::{Attach, Session},
};

use crate::{
    Engine, Error, Result,
    slot::{Slot, display_name},
};

/// Completes with the exit status of the init process (of the run that was attached to). For a
/// `--rm` container it completes when the container is removed.
pub type ExitWaiter = Pin<Box<dyn Future<Output = Result<i32>> + Send>>;

/// A client joined to an init process.
pub struct Attached {
    /// The container.
    pub id: ContainerId,
    /// It has a terminal.
    pub tty: bool,
    /// What `create` had to say.
    pub warnings: Vec<String>,
    /// The streams.
    pub session: Session,
    /// The end.
    pub exit: ExitWaiter,
}

impl Engine {
    /// Joins a client to the init process of a running container.
    ///
    /// # Errors
    /// It does not run, or is paused.
    pub async fn attach(&self, query: &str, attach: Attach) -> Result<Attached> {
        let slot = self.index.find(query)?;
        let exit = self.exit_waiter(&slot);
        let container = slot.container();
        match container.state {
            State::Running(_) => {}
            State::Paused(_) => return Err(Error::Paused(query.to_owned())),
            _ => return Err(Error::NotRunning(query.to_owned())),
        }
        let work = self.ports.runtime.attach(&container.id, attach);
        let session = self.port(&container, "attach to it", work).await?;
        let (id, tty) = (container.id.clone(), container.config.tty);
        Ok(Attached { id, tty, warnings: Vec::new(), session, exit })
    }

    /// The end of the run that is going on or is about to begin.
    pub(crate) fn exit_waiter(&self, slot: &Arc<Slot>) -> ExitWaiter {
        let slot = Arc::clone(slot);
        let mut follow = slot.follow();
        let before = follow.borrow().exits;
        // A removal takes as long as its ports may.
        let limit = self.settings.port_timeout.saturating_mul(4);
        Box::pin(async move {
            // The slot lives, so the channel can't close; were it to, the last state counts.
            let _ = follow.wait_for(|seen| seen.exits > before || seen.gone).await;
            let code = slot.seen().last_exit.unwrap_or(0);
            if slot.container().host.auto_remove {
                let gone = follow.wait_for(|seen| seen.gone);
                if tokio::time::timeout(limit, gone).await.is_err() {
                    tracing::warn!("{}: it ended and is not removed yet", slot.id);
                }
            }
            Ok(code)
        })
    }

    /// The runtime did not keep its promise.
    pub(crate) fn no_session(&self, container: &Container) -> Error {
        let source = PortError::new(ErrorKind::Internal, "the runtime gave no streams");
        Error::Port { object: display_name(container), action: "attach to it", source }
    }
}
