//! Descriptors whose readiness tokio watches.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Watches a descriptor for as long as the result lives.
///
/// # Errors
/// Those of `epoll_ctl(2)`; there is none for files that epoll takes.
#[expect(
    deprecated,
    reason = "the constructor is unsound only for types whose descriptor may change or be closed \
              while it is watched; an OwnedFd is one open descriptor from its begin to its end"
)]
pub fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}
