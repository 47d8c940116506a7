//! Waiting for a change without an executor.

use std::{
    future::poll_fn,
    sync::Mutex,
    task::{Poll, Waker},
};

use super::locked;

/// Wakes everyone who waits for something to change.
#[derive(Default)]
pub(super) struct Bell(Mutex<Vec<Waker>>);

impl Bell {
    /// Says that something changed.
    pub fn ring(&self) {
        for waker in locked(&self.0).drain(..) {
            waker.wake();
        }
    }

    /// Completes with what `look` finds, looking again at each ring.
    pub async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        poll_fn(|context| {
            // First the waker, then the look: a ring in between is not lost.
            locked(&self.0).push(context.waker().clone());
            look().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
