//! Random numbers from a seed that can be shown.

use std::hash::{BuildHasher, RandomState};

/// xorshift64.
pub struct Dice(pub u64);

impl Dice {
    /// A seed that nobody chose; it is never zero.
    pub fn seed() -> u64 {
        RandomState::new().hash_one(0) | 1
    }

    /// From 0 up to `end`, without it.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}
