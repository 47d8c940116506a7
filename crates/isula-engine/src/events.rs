//! Publishing what happened.
use isula_core::event::Event;
use crate::Engine;
/// A subscription.
pub struct Events(());
/// The subscriber was too slow: so many events are lost to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed(pub u64);
impl Events {
    /// The next event; `None` when the engine is gone.
    pub async fn next(&mut self) -> Option<Result<Event, Missed>> { todo!() }
}
impl Engine {
    /// Subscribes to everything that happens from now on. A slow subscriber misses events, and
    /// holds nobody up.
    #[must_use]
    pub fn subscribe(&self) -> Events { todo!() }
}
