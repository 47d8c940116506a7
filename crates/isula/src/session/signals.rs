//! The signals that reach the client.

use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGCHLD and SIGPIPE are ours alone, SIGWINCH goes the way of the size; TTIN and TTOU stop a
/// client in the background that uses its terminal; KILL and STOP can't be caught; ILL, BUS, FPE
/// and SEGV mean a fault of the client itself.
const NOT_PROXIED: [i32; 11] = [17, 13, 28, 21, 22, 9, 19, 4, 7, 8, 11];

/// What asks a client to end.
const FATAL: [i32; 4] = [1, 2, 3, 15];

/// glibc and musl keep the first three real-time signals to themselves.
const LIBRARY: std::ops::RangeInclusive<i32> = 32..=34;

/// Signals that were asked for, as a stream of numbers.
pub(super) struct Signals {
    caught: Vec<(i32, Signal)>,
}

impl Signals {
    /// All that can be passed on to a container, or only those that would end the client.
    ///
    /// # Errors
    /// A handler can't be set.
    pub fn catch(all: bool) -> io::Result<Self> {
        let wanted = |number: &i32| match all {
            true => !NOT_PROXIED.contains(number) && !LIBRARY.contains(number),
            false => FATAL.contains(number),
        };
        let caught = (1..=64).filter(wanted);
        let caught = caught.map(|number| Ok((number, signal(SignalKind::from_raw(number))?)));
        Ok(Self { caught: caught.collect::<io::Result<_>>()? })
    }

    /// The next signal.
    pub async fn next(&mut self) -> i32 {
        std::future::poll_fn(|context| {
            for (number, stream) in &mut self.caught {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Whether a signal asks the client itself to end.
#[must_use]
pub(super) fn is_fatal(number: i32) -> bool {
    FATAL.contains(&number)
}

/// Changes of our terminal's size.
///
/// # Errors
/// The handler can't be set.
pub(super) fn resized() -> io::Result<Signal> {
    signal(SignalKind::window_change())
}
