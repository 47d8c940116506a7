//! Waiting for whatever happens next, with epoll(7).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::time::Timespec;

pub use rustix::event::epoll::EventFlags;

/// Who an event is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// The connection to the daemon.
    Control,
    /// The socket that daemons connect to.
    Listener,
    /// The file of signals.
    Signals,
    /// The control group has news about memory.
    Memory,
    /// A process has ended: the init process is 0.
    Ended(u32),
    /// A part of the streams of a process.
    Stream(u32, Part),
}

/// A part of the streams of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its standard output, or its terminal.
    Stdout,
    /// Its standard error.
    Stderr,
    /// Its standard input.
    Stdin,
    /// One of its clients.
    Client(u16),
}

impl Token {
    fn encode(self) -> u64 {
        let (kind, process, client) = match self {
            Self::Control => (0, 0, 0),
            Self::Listener => (1, 0, 0),
            Self::Signals => (2, 0, 0),
            Self::Ended(process) => (3, process, 0),
            Self::Stream(process, Part::Stdout) => (4, process, 0),
            Self::Stream(process, Part::Stderr) => (5, process, 0),
            Self::Stream(process, Part::Stdin) => (6, process, 0),
            Self::Stream(process, Part::Client(client)) => (7, process, client),
            Self::Memory => (8, 0, 0),
        };
        kind | (u64::from(client) << 16) | (u64::from(process) << 32)
    }

    fn decode(bits: u64) -> Option<Self> {
        let [kind, _, c0, c1, p0, p1, p2, p3] = bits.to_le_bytes();
        let process = u32::from_le_bytes([p0, p1, p2, p3]);
        Some(match kind {
            0 => Self::Control,
            1 => Self::Listener,
            2 => Self::Signals,
            3 => Self::Ended(process),
            4 => Self::Stream(process, Part::Stdout),
            5 => Self::Stream(process, Part::Stderr),
            6 => Self::Stream(process, Part::Stdin),
            7 => Self::Stream(process, Part::Client(u16::from_le_bytes([c0, c1]))),
            8 => Self::Memory,
            _ => return None,
        })
    }
}

/// What is waited for. Events are told for as long as they last.
#[derive(Debug)]
pub struct Poll(OwnedFd);

/// How many events one wait tells at most.
const BATCH: usize = 8;

impl Poll {
    /// Waits for nothing yet.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Waits for events of a file, too. Its end is told always.
    ///
    /// # Errors
    /// `ENOSPC` at the limit of watches.
    pub fn add(&self, file: impl AsFd, token: Token, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.0, file, epoll::EventData::new_u64(token.encode()), flags)?)
    }

    /// Waits for other events of a file.
    pub fn change(&self, file: impl AsFd, token: Token, flags: EventFlags) {
        // It can fail only for a file that was not added.
        let _ = epoll::modify(&self.0, file, epoll::EventData::new_u64(token.encode()), flags);
    }

    /// Waits no more for a file.
    pub fn remove(&self, file: impl AsFd) {
        // It can fail only for a file that was not added.
        let _ = epoll::delete(&self.0, file);
    }

    /// Waits until something happens or the time has come. Returns none or some events.
    ///
    /// # Errors
    /// None is known.
    pub fn wait(
        &self,
        until: Option<Instant>,
    ) -> io::Result<impl Iterator<Item = (Token, EventFlags)> + use<>> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); BATCH];
        let timeout = until.map(|until| {
            // Rounded up: epoll counts in milliseconds on kernels before 5.11.
            let time = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            Timespec {
                tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(time.subsec_nanos()),
            }
        });
        let mut found = [None; BATCH];
        match epoll::wait(&self.0, &mut events, timeout.as_ref()) {
            Ok((ready, _)) => {
                for (slot, event) in found.iter_mut().zip(ready) {
                    let (data, flags) = (event.data, event.flags);
                    *slot = Token::decode(data.u64()).map(|token| (token, flags));
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(found.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_was() {
        for token in [
            Token::Control,
            Token::Listener,
            Token::Signals,
            Token::Memory,
            Token::Ended(u32::MAX),
            Token::Stream(3, Part::Stdout),
            Token::Stream(4, Part::Stderr),
            Token::Stream(5, Part::Stdin),
            Token::Stream(0x1234_5678, Part::Client(0xfedc)),
        ] {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(u64::MAX), None);
    }

    #[test]
    fn an_event_lasts_until_it_is_dealt_with() {
        let poll = Poll::new().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        poll.add(&read, Token::Ended(1), EventFlags::IN).unwrap();
        assert_eq!(poll.wait(Some(Instant::now())).unwrap().count(), 0);
        rustix::io::write(&write, b"x").unwrap();
        for _ in 0..2 {
            let events: Vec<_> = poll.wait(None).unwrap().collect();
            assert_eq!(events, [(Token::Ended(1), EventFlags::IN)]);
        }
        poll.remove(&read);
        assert_eq!(poll.wait(Some(Instant::now())).unwrap().count(), 0);
    }
}
