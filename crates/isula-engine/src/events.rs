//! Publishing what happened: a bounded channel that holds nobody up.

use isula_core::{
    event::{ContainerAction, Event, ImageAction, SandboxAction, What},
    id::ContainerId,
    sandbox::SandboxId,
};
use tokio::sync::broadcast;

use crate::Engine;

/// A subscriber that is further behind misses events.
pub(crate) const CAPACITY: usize = 512;

/// A subscription.
pub struct Events(broadcast::Receiver<Event>);

/// The subscriber was too slow: so many events are lost to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed(pub u64);

impl Events {
    /// The next event; `None` when the engine is gone.
    pub async fn next(&mut self) -> Option<Result<Event, Missed>> {
        match self.0.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Err(Missed(missed))),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Engine {
    /// Subscribes to everything that happens from now on. A slow subscriber misses events, and
    /// holds nobody up.
    #[must_use]
    pub fn subscribe(&self) -> Events {
        Events(self.events.subscribe())
    }

    /// Something happened to a container.
    pub(crate) fn publish(&self, id: &ContainerId, action: ContainerAction) {
        self.send(What::Container { id: id.clone(), action });
    }

    /// Something happened to a sandbox.
    pub(crate) fn publish_sandbox(&self, id: &SandboxId, action: SandboxAction) {
        self.send(What::Sandbox { id: id.clone(), action });
    }

    /// Something happened to an image.
    pub(crate) fn publish_image(&self, image: String, action: ImageAction) {
        self.send(What::Image { image, action });
    }

    fn send(&self, what: What) {
        // An error says that nobody listens.
        let _ = self.events.send(Event { at: self.ports.clock.now(), what });
    }
}
