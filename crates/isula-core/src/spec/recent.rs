//! What was made last and is made again by nearly every container.

use std::sync::{Mutex, PoisonError};

/// A few values with their keys, the one used last at the end.
pub(super) struct Recent<K, V>(Mutex<Vec<(K, V)>>);

/// How many are kept.
const KEPT: usize = 4;

impl<K, V: Clone> Recent<K, V> {
    /// None yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The value whose key `is` the wanted one, made if it is not kept.
    pub fn get(&self, is: impl Fn(&K) -> bool, make: impl FnOnce() -> (K, V)) -> V {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match kept.iter().rposition(|(key, _)| is(key)) {
            Some(at) => kept.remove(at),
            None => {
                if kept.len() >= KEPT {
                    kept.remove(0);
                }
                make()
            }
        };
        let value = entry.1.clone();
        kept.push(entry);
        value
    }
}
