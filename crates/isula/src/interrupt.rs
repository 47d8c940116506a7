//! Ctrl-C during a long request: the request is dropped, which cancels it at the daemon.

use crate::error::Failure;
use crate::signals::{self, Signals};

/// Runs a request until it ends or a signal asks us to.
///
/// # Errors
/// Those of the request, and [`Failure::Interrupted`] with 128 + the signal.
pub async fn or_interrupted<T>(
    request: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut signals = Signals::fatal()?;
    let interrupted = async {
        loop {
            let signal = signals.next().await;
            if signals::is_fatal(signal) {
                return signals::status(signal);
            }
        }
    };
    tokio::select! {
        result = request => result,
        status = interrupted => Err(Failure::Interrupted(status)),
    }
}
