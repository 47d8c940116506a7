//! When something last moved in a session, so that one in which nothing moves can be ended.

use std::sync::{Mutex, PoisonError};

use tokio::time::{Duration, Instant, sleep_until};

/// The last movement.
#[derive(Debug)]
pub(super) struct Activity(Mutex<Instant>);

impl Activity {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    /// Something moves.
    pub(super) fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Completes when nothing has moved for so long: at most one timer, rarely renewed.
    pub(super) async fn ceased(&self, idle: Duration) {
        loop {
            let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // A limit beyond what a clock can tell is none.
            let Some(end) = last.checked_add(idle) else {
                return std::future::pending().await;
            };
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Activity;
    use tokio::time::{Duration, Instant, advance};

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_so_long_after_its_last_movement() {
        let activity = Activity::new();
        let began = Instant::now();
        advance(Duration::from_secs(7)).await;
        activity.touch();
        activity.ceased(Duration::from_secs(10)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(17));
    }
}
