//! The signals that reach the client, read from a file: blocking them and one descriptor cost two
//! system calls, where a handler for each of sixty would cost more than the rest of the command.
//!
//! Signals that were caught once stay blocked: whoever may take long after that listens again.

use std::io;

use isula_sys::signal::{Signal, SignalFile};
use tokio::io::unix::AsyncFd;

use crate::error::Failure;

/// SIGCHLD and SIGPIPE are ours alone; TTIN and TTOU stop a client in the background that uses its
/// terminal; KILL and STOP can't be blocked; ILL, TRAP, BUS, FPE, SEGV and SYS mean a fault of the
/// client itself.
const OWN: [i32; 12] = [17, 13, 21, 22, 9, 19, 4, 5, 7, 8, 11, 31];

/// What asks a client to end.
const FATAL: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// glibc and musl keep these real-time signals to themselves.
const LIBRARY: std::ops::RangeInclusive<i32> = 32..=34;

/// Signals that were asked for.
pub struct Signals {
    file: AsyncFd<SignalFile>,
}

impl Signals {
    /// Those that would end the client, and changes of the terminal's size.
    ///
    /// # Errors
    /// The kernel has no descriptor left.
    pub fn fatal() -> Result<Self, Failure> {
        Self::catch(FATAL.into_iter().chain([Signal::WINCH]).collect())
    }

    /// All that can be passed on to a container.
    ///
    /// # Errors
    /// The kernel has no descriptor left.
    pub fn all() -> Result<Self, Failure> {
        let wanted = |number: &i32| !OWN.contains(number) && !LIBRARY.contains(number);
        Self::catch((1..=64).filter(wanted).filter_map(Signal::from_number).collect())
    }

    fn catch(signals: Vec<Signal>) -> Result<Self, Failure> {
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types whose descriptor changes; a \
                      SignalFile owns one descriptor, the same for its whole life"
        )]
        let file = SignalFile::open(&signals).and_then(AsyncFd::new);
        let failure = |error| Failure::local(format!("cannot catch signals: {error}"));
        Ok(Self { file: file.map_err(failure)? })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        let read = |file: &AsyncFd<SignalFile>| {
            file.get_ref().next()?.ok_or_else(|| io::Error::from(io::ErrorKind::WouldBlock))
        };
        loop {
            match self.file.readable().await.map(|mut guard| guard.try_io(read)) {
                Ok(Ok(Ok(signal))) => return signal,
                Ok(Err(_would_block)) => {}
                // A file of signals that can't be read: none comes any more.
                Ok(Ok(Err(_))) | Err(_) => std::future::pending().await,
            }
        }
    }
}

/// Whether a signal asks the client itself to end.
#[must_use]
pub fn is_fatal(signal: Signal) -> bool {
    FATAL.contains(&signal)
}

/// The exit status of a client that a signal ended: 128 and its number.
#[must_use]
pub fn status(signal: Signal) -> u8 {
    128_u8.saturating_add(u8::try_from(signal.number()).unwrap_or(0))
}
