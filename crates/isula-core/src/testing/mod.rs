//! Fakes of the ports, and conformance suites that fakes and adaptors both pass.
//!
//! A fake keeps everything in memory, outlives the engine that uses it (as the disk, the shims and
//! the kernel do), and can be told to fail or to hang at any call.

mod bell;
mod checkpoints;
pub mod conformance;
mod failures;
mod networks;
mod pods;
mod records;
mod runtime;
mod session;
mod store;
mod system;
mod volumes;

pub use checkpoints::FakeCheckpoints;
pub use failures::{Failures, Trouble};
pub use networks::FakeNetworks;
pub use pods::{FakePods, FakeSandboxRecords};
pub use records::FakeRecords;
pub use runtime::FakeRuntime;
pub use store::FakeStore;
pub use system::{FakeCdi, FakeClock, FakeEntropy, FakeHost};
pub use volumes::FakeVolumes;

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
};

/// All fakes, with one count of calls.
#[derive(Clone)]
#[expect(missing_docs, reason = "each field is named for its port")]
pub struct World {
    pub failures: Arc<Failures>,
    pub records: Arc<FakeRecords>,
    /// Images and snapshots.
    pub store: Arc<FakeStore>,
    pub volumes: Arc<FakeVolumes>,
    pub runtime: Arc<FakeRuntime>,
    pub networks: Arc<FakeNetworks>,
    pub pods: Arc<FakePods>,
    pub sandboxes: Arc<FakeSandboxRecords>,
    pub clock: Arc<FakeClock>,
    pub entropy: Arc<FakeEntropy>,
    pub host: Arc<FakeHost>,
    pub cdi: Arc<FakeCdi>,
    pub checkpoints: Arc<FakeCheckpoints>,
}

impl World {
    /// An empty world without trouble.
    #[must_use]
    pub fn new() -> Self {
        let failures = Arc::new(Failures::default());
        let clock = Arc::new(FakeClock::default());
        Self {
            records: Arc::new(FakeRecords::new(Arc::clone(&failures))),
            store: Arc::new(FakeStore::new(Arc::clone(&failures))),
            volumes: Arc::new(FakeVolumes::new(Arc::clone(&failures))),
            runtime: Arc::new(FakeRuntime::new(Arc::clone(&failures), Arc::clone(&clock))),
            networks: Arc::new(FakeNetworks::new(Arc::clone(&failures))),
            pods: Arc::new(FakePods::new(Arc::clone(&failures))),
            sandboxes: Arc::new(FakeSandboxRecords::new(Arc::clone(&failures))),
            clock,
            entropy: Arc::new(FakeEntropy::default()),
            host: Arc::new(FakeHost::default()),
            cdi: Arc::new(FakeCdi),
            checkpoints: Arc::new(FakeCheckpoints::new(Arc::clone(&failures))),
            failures,
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs a future to its end on this thread, without any executor.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A stream of one piece.
fn once(bytes: bytes::Bytes) -> crate::ports::ByteStream {
    struct Once(Option<bytes::Bytes>);
    impl futures_core::Stream for Once {
        type Item = std::io::Result<bytes::Bytes>;

        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.take().map(Ok))
        }
    }
    Box::pin(Once(Some(bytes)))
}

/// A fake's lock; a test that panicked while it held one has failed already.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
