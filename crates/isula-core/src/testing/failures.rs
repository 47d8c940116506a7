//! Trouble at a chosen call.

use std::sync::Mutex;

use super::locked;
use crate::{
    error::{ErrorKind, PortError},
    ports::Result,
};

/// What goes wrong at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It fails with this kind, without effect.
    Fails(ErrorKind),
    /// It never comes back.
    Hangs,
}

/// Counts the calls of all fakes of a world and lets chosen ones go wrong.
#[derive(Default)]
pub struct Failures(Mutex<Plan>);

#[derive(Default)]
struct Plan {
    calls: Vec<&'static str>,
    at: Option<(usize, Trouble)>,
    named: Vec<(&'static str, Trouble)>,
}

impl Failures {
    /// Lets the n-th call from now on (0 is the next) go wrong.
    pub fn at(&self, n: usize, trouble: Trouble) {
        let mut plan = locked(&self.0);
        plan.at = Some((plan.calls.len() + n, trouble));
    }

    /// Lets every call with this name go wrong, such as `records.save`.
    pub fn always(&self, name: &'static str, trouble: Trouble) {
        locked(&self.0).named.push((name, trouble));
    }

    /// No further trouble.
    pub fn clear(&self) {
        let mut plan = locked(&self.0);
        (plan.at, plan.named) = (None, Vec::new());
    }

    /// The names of all calls since the world began.
    #[must_use]
    pub fn calls(&self) -> Vec<&'static str> {
        locked(&self.0).calls.clone()
    }

    fn trouble(&self, name: &'static str) -> Option<Trouble> {
        let mut plan = locked(&self.0);
        let index = plan.calls.len();
        plan.calls.push(name);
        let here = plan.at.filter(|(at, _)| *at == index).map(|(_, trouble)| trouble);
        here.or_else(|| plan.named.iter().find(|(n, _)| *n == name).map(|(_, trouble)| *trouble))
    }

    /// A call that can't hang.
    pub(super) fn pass_now(&self, name: &'static str) -> Result<()> {
        match self.trouble(name) {
            Some(Trouble::Fails(kind)) => Err(PortError::new(kind, format!("{name} was to fail"))),
            Some(Trouble::Hangs) | None => Ok(()),
        }
    }

    /// A call.
    pub(super) async fn pass(&self, name: &'static str) -> Result<()> {
        match self.trouble(name) {
            Some(Trouble::Fails(kind)) => Err(PortError::new(kind, format!("{name} was to fail"))),
            Some(Trouble::Hangs) => std::future::pending().await,
            None => Ok(()),
        }
    }
}
