//! Facts for `info`.
use crate::Engine;
/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Counts { pub containers: usize, pub running: usize, pub paused: usize, pub stopped: usize, pub images: usize }
impl Engine {
    /// How many containers and images there are.
    #[must_use]
    pub fn counts(&self) -> Counts { todo!() }
    /// What was damaged and moved aside at start, in words.
    #[must_use]
    pub fn damage(&self) -> Vec<String> { todo!() }
}
