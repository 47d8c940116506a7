//! Progress of one layer, not more often than an eye can follow.

use std::time::{Duration, Instant};

use isula_core::{
    image::Digest,
    ports::{Progress, ProgressSink},
};

/// Between two reports of bytes.
const INTERVAL: Duration = Duration::from_millis(100);

/// Reports on one layer.
pub(super) struct Meter {
    sink: ProgressSink,
    id: String,
    total: u64,
    current: u64,
    reported: Option<Instant>,
}

impl Meter {
    pub(super) fn new(sink: &ProgressSink, digest: &Digest, total: u64) -> Self {
        let id = digest.hex().chars().take(12).collect();
        Self { sink: std::sync::Arc::clone(sink), id, total, current: 0, reported: None }
    }

    /// So many bytes have come in all.
    pub(super) fn downloaded(&mut self, current: u64) {
        self.current = current;
        if self.reported.is_none_or(|last| last.elapsed() >= INTERVAL) {
            self.reported = Some(Instant::now());
            self.report("Downloading");
        }
    }

    /// All bytes have come; what is in the pipe is still to be unpacked and made durable.
    pub(super) fn unpacking(&mut self) {
        self.current = self.total;
        self.report("Unpacking");
    }

    /// The layer is in the store.
    pub(super) fn done(&self) {
        self.report("Done");
    }

    /// The layer was in the store already.
    pub(super) fn exists(&mut self) {
        self.current = self.total;
        self.report("Exists");
    }

    fn report(&self, step: &str) {
        (self.sink)(Progress::Layer {
            id: self.id.clone(),
            step: step.to_owned(),
            current: self.current,
            total: Some(self.total),
        });
    }
}
