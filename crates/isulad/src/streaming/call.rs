//! One client's session.

use std::{sync::Arc, time::Duration};

use super::{activity::Activity, request::Backend};

/// How long the client of an upgraded connection may take to open its streams.
pub(super) const OPENING: Duration = Duration::from_secs(30);
/// How long a client may take to read the last bytes and to close.
pub(super) const CLOSING: Duration = Duration::from_secs(10);

/// What everything in a session has in common.
pub(super) struct Call {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) activity: Activity,
    pub(super) idle: Duration,
}

impl Call {
    pub(super) fn new(backend: Arc<dyn Backend>, idle: Duration) -> Self {
        Self { backend, activity: Activity::new(), idle }
    }

    /// Completes when nothing has moved for too long.
    pub(super) async fn idled(&self) {
        self.activity.ceased(self.idle).await;
    }
}
