//! `wait`.

use isula_core::container::State;

use crate::{Engine, Result, slot::Seen};

/// What to wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Condition {
    /// That it does not run; at once if so.
    #[default]
    NotRunning,
    /// Its next exit.
    NextExit,
    /// That it is gone.
    Removed,
}

impl Engine {
    /// Waits, and gives the exit status of the last run (0 if it never ran). However long it takes:
    /// whoever asked ends the wait by dropping the future.
    ///
    /// # Errors
    /// There is no such container.
    pub async fn wait(&self, query: &str, condition: Condition) -> Result<i32> {
        let slot = self.index.find(query)?;
        let mut follow = slot.follow();
        let before = follow.borrow().exits;
        let idle = |seen: &Seen| {
            let state = &seen.container.state;
            let idle = matches!(state, State::Created | State::Stopped(_) | State::Removing);
            idle && !seen.restarting
        };
        let done = |seen: &Seen| match condition {
            _ if seen.gone => true,
            Condition::NotRunning => idle(seen),
            Condition::NextExit => seen.exits > before,
            Condition::Removed => false,
        };
        // The slot lives, so the channel can't close.
        let _ = follow.wait_for(done).await;
        Ok(slot.seen().last_exit.unwrap_or(0))
    }
}
