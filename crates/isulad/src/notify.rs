//! What systemd is told, and what it hands over (sd_notify(3), sd_listen_fds(3)).

use std::{io, os::fd::OwnedFd};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use sd_notify::NotifyState;

/// The daemon serves.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The daemon ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    // Without NOTIFY_SOCKET nothing is sent.
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}

/// The listening sockets that systemd opened for this process, if it did.
///
/// # Errors
/// What was handed over can't be used.
pub fn sockets() -> io::Result<Vec<OwnedFd>> {
    let numbers = sd_notify::listen_fds()?;
    if numbers.len() == 0 {
        return Ok(Vec::new());
    }
    // The kernel turns numbers into descriptors that are owned, where the language can't.
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    numbers.map(|number| Ok(pidfd_getfd(&own, number, PidfdGetfdFlags::empty())?)).collect()
}
