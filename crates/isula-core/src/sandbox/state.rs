//! The life of a sandbox.
//!
//! ```text
//!              Made               Stop               Stopped
//!   Starting ────────▶ Ready ────────▶ Stopping ────────▶ NotReady
//!      │                 │ Lost (reboot) ──────────────────▲  │
//!      └───── Remove ────┴──▶ Removing ◀──────── Remove ─────┘
//! ```

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where a sandbox is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxState {
    /// Its namespaces and network are being made. On disk before the work begins.
    Starting,
    /// Containers can be made in it, since then.
    Ready(Timestamp),
    /// It is being taken down. On disk before the work begins.
    Stopping,
    /// It has neither namespaces nor network.
    NotReady,
    /// It is being removed. On disk before the work begins.
    Removing,
}

/// What can happen to a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SandboxEvent {
    /// Everything is there.
    Made(Timestamp),
    /// A stop begins; one that was cut short begins again.
    Stop,
    /// Everything was taken down.
    Stopped,
    /// The removal begins; one that was cut short begins again.
    Remove,
}

/// The state does not allow the event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sandbox is {}: cannot {}", state.name(), event.verb())]
pub struct SandboxTransitionError {
    /// The state it is in.
    pub state: SandboxState,
    /// What was tried.
    pub event: SandboxEvent,
}

impl SandboxState {
    /// The state after `event`.
    ///
    /// # Errors
    /// [`SandboxTransitionError`] where the state does not allow the event.
    pub fn after(self, event: SandboxEvent) -> Result<Self, SandboxTransitionError> {
        match (self, event) {
            (Self::Starting, SandboxEvent::Made(at)) => Ok(Self::Ready(at)),
            (Self::Starting | Self::Ready(_) | Self::Stopping, SandboxEvent::Stop) => {
                Ok(Self::Stopping)
            }
            (Self::Stopping, SandboxEvent::Stopped) => Ok(Self::NotReady),
            (Self::Starting | Self::NotReady | Self::Removing, SandboxEvent::Remove) => {
                Ok(Self::Removing)
            }
            (state, event) => Err(SandboxTransitionError { state, event }),
        }
    }

    /// The state in a word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready(_) => "ready",
            Self::Stopping => "stopping",
            Self::NotReady => "notready",
            Self::Removing => "removing",
        }
    }
}

impl SandboxEvent {
    fn verb(&self) -> &'static str {
        match self {
            Self::Made(_) => "mark it as ready",
            Self::Stop => "stop it",
            Self::Stopped => "mark it as stopped",
            Self::Remove => "remove it",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SandboxEvent, SandboxState};
    use jiff::Timestamp;

    const TRANSITIONS: &str = "
                  Made   Stop      Stopped   Remove
        starting  ready  stopping  -         removing
        ready     -      stopping  -         -
        stopping  -      stopping  notready  -
        notready  -      -         -         removing
        removing  -      -         -         removing
    ";

    #[test]
    fn every_transition_is_the_one_in_the_grid() {
        let state = |name: &str| match name {
            "starting" => SandboxState::Starting,
            "ready" => SandboxState::Ready(Timestamp::UNIX_EPOCH),
            "stopping" => SandboxState::Stopping,
            "notready" => SandboxState::NotReady,
            "removing" => SandboxState::Removing,
            other => panic!("no state {other}"),
        };
        let event = |name: &str| match name {
            "Made" => SandboxEvent::Made(Timestamp::UNIX_EPOCH),
            "Stop" => SandboxEvent::Stop,
            "Stopped" => SandboxEvent::Stopped,
            "Remove" => SandboxEvent::Remove,
            other => panic!("no event {other}"),
        };
        let mut lines = TRANSITIONS.lines().filter(|line| !line.trim().is_empty());
        let events: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        for line in lines {
            let mut words = line.split_whitespace();
            let from = words.next().unwrap();
            for (name, wanted) in events.iter().zip(words) {
                let found = state(from).after(event(name));
                let found = found.as_ref().map_or("-", SandboxState::name);
                assert_eq!(found, wanted, "{from} after {name}");
            }
        }
    }
}
