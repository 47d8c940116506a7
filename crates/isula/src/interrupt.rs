//! Ctrl-C during a long request: the request is dropped, which cancels it at the daemon.

use tokio::signal::unix::{SignalKind, signal};

use crate::error::Failure;

/// Runs a request until it ends or a signal asks us to: SIGHUP, SIGINT or SIGTERM.
///
/// # Errors
/// Those of the request, and [`Failure::Interrupted`] with 128 + the signal.
pub async fn or_interrupted<T>(
    request: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let catch = |kind| {
        signal(kind).map_err(|error| Failure::local(format!("cannot catch signals: {error}")))
    };
    let mut hangup = catch(SignalKind::hangup())?;
    let mut interrupt = catch(SignalKind::interrupt())?;
    let mut terminate = catch(SignalKind::terminate())?;
    tokio::select! {
        result = request => result,
        _ = hangup.recv() => Err(Failure::Interrupted(129)),
        _ = interrupt.recv() => Err(Failure::Interrupted(130)),
        _ = terminate.recv() => Err(Failure::Interrupted(143)),
    }
}
