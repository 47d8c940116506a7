//! The promises of [`Clock`] and [`Entropy`].

use std::collections::BTreeSet;

use crate::ports::{Clock, Entropy};

/// The clock passes if it does not stand in another age.
///
/// # Panics
/// A promise is broken.
pub fn clock(clock: &dyn Clock) {
    let (first, second) = (clock.now(), clock.now());
    assert!(first <= second, "{first} comes before {second}");
}

/// The randomness passes if no value comes twice.
///
/// # Panics
/// A promise is broken.
pub fn entropy(entropy: &dyn Entropy) {
    let values: BTreeSet<[u8; 32]> = (0..64).map(|_| entropy.random()).collect();
    assert_eq!(values.len(), 64);
}
