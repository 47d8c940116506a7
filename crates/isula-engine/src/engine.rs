//! The engine itself.
use std::sync::Arc;
use crate::{Ports, Settings};
/// All containers, and the use cases on them.
pub struct Engine { pub(crate) ports: Ports, pub(crate) settings: Settings }
impl Engine {
    /// An engine without containers; [`Engine::recover`] loads them.
    #[must_use]
    pub fn new(ports: Ports, settings: Settings) -> Arc<Self> { Arc::new(Self { ports, settings }) }
    /// The settings it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings { &self.settings }
    /// The ports it works with.
    #[must_use]
    pub fn ports(&self) -> &Ports { &self.ports }
}
