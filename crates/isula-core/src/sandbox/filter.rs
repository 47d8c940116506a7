//! Which sandboxes and containers a list shows. Everything that is given is demanded.

use std::collections::BTreeMap;

use super::{Sandbox, SandboxId, SandboxState};
use crate::container::{Container, State};

/// A filter of sandboxes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SandboxFilter {
    /// Id or prefix of one.
    pub id: Option<String>,
    /// Only ready ones, or only those that are not.
    pub ready: Option<bool>,
    /// Labels with these values.
    pub labels: BTreeMap<String, String>,
}

/// A filter of the containers of sandboxes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberFilter {
    /// Id or prefix of one.
    pub id: Option<String>,
    /// Id or prefix of the sandbox.
    pub sandbox: Option<String>,
    /// Only those that are `created`, `running` or `exited`, as CRI has it.
    pub state: Option<MemberState>,
    /// Labels with these values.
    pub labels: BTreeMap<String, String>,
}

/// The states that CRI knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are CRI's")]
pub enum MemberState {
    Created,
    Running,
    Exited,
    Unknown,
}

impl From<&State> for MemberState {
    fn from(state: &State) -> Self {
        match state {
            // A start that is under way has not succeeded.
            State::Created | State::Starting => Self::Created,
            State::Running(_) | State::Paused(_) => Self::Running,
            State::Stopped(_) => Self::Exited,
            State::Removing => Self::Unknown,
        }
    }
}

fn has(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn begins(id: &SandboxId, wanted: Option<&String>) -> bool {
    wanted.is_none_or(|wanted| id.as_str().starts_with(wanted.as_str()))
}

impl SandboxFilter {
    /// Whether the list shows it. One that is still being made is never shown.
    #[must_use]
    pub fn shows(&self, sandbox: &Sandbox) -> bool {
        sandbox.state != SandboxState::Starting
            && begins(&sandbox.id, self.id.as_ref())
            && self.ready.is_none_or(|ready| ready == sandbox.is_ready())
            && has(&sandbox.config.labels, &self.labels)
    }
}

impl MemberFilter {
    /// Whether the list shows it; never a container that is in no sandbox.
    #[must_use]
    pub fn shows(&self, container: &Container) -> bool {
        let Some(pod) = &container.pod else { return false };
        begins(&container.id, self.id.as_ref())
            && begins(&pod.sandbox, self.sandbox.as_ref())
            && self.state.is_none_or(|state| state == MemberState::from(&container.state))
            && has(&container.config.labels, &self.labels)
    }
}
