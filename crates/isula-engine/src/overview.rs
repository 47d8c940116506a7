//! Facts for `info`.

use isula_core::container::State;

use crate::Engine;

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub containers: usize,
    pub running: usize,
    pub paused: usize,
    pub stopped: usize,
    pub images: usize,
}

impl Engine {
    /// How many containers and images there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { images: self.ports.images.list().len(), ..Counts::default() };
        for slot in self.index.slots() {
            counts.containers += 1;
            match slot.container().state {
                State::Running(_) => counts.running += 1,
                State::Paused(_) => counts.paused += 1,
                _ => counts.stopped += 1,
            }
        }
        counts
    }

    /// What was damaged and moved aside at start, in words.
    #[must_use]
    pub fn damage(&self) -> Vec<String> {
        let records = self.damage.lock().map(|damage| damage.clone()).unwrap_or_default();
        records.into_iter().chain(self.ports.images.damage()).collect()
    }
}
