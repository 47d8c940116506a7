//! Standard input of a process: a pipe or its terminal.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::termios::{LocalModes, SpecialCodeIndex};

use crate::poll::{EventFlags, Part, Poll, Token};

/// The end of standard input that is written to.
#[derive(Debug)]
pub struct Input {
    process: u32,
    file: OwnedFd,
    terminal: bool,
    watched: bool,
}

impl Input {
    /// The input of a process.
    pub fn new(process: u32, file: OwnedFd, terminal: bool) -> Self {
        Self { process, file, terminal, watched: false }
    }

    /// Writes what is taken at once, and says how much.
    ///
    /// # Errors
    /// `EPIPE` when the process has closed it.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match rustix::io::write(&self.file, bytes) {
            Ok(count) => Ok(count),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits, or not, until more can be written.
    pub fn watch(&mut self, poll: &Poll, wanted: bool) -> io::Result<()> {
        if wanted != self.watched {
            if wanted {
                let token = Token::Stream(self.process, Part::Stdin);
                poll.add(&self.file, token, EventFlags::OUT)?;
            } else {
                poll.remove(&self.file);
            }
            self.watched = wanted;
        }
        Ok(())
    }

    /// What makes a terminal's reader see an end: the character for it, if lines are edited.
    pub fn end_of_file(&self) -> Option<Vec<u8>> {
        if !self.terminal {
            return None;
        }
        let modes = rustix::termios::tcgetattr(&self.file).ok()?;
        let edited = modes.local_modes.contains(LocalModes::ICANON);
        edited.then(|| vec![modes.special_codes[SpecialCodeIndex::VEOF]])
    }

    /// Waits no more; it is closed when this is dropped.
    pub fn forget(self, poll: &Poll) {
        if self.watched {
            poll.remove(&self.file);
        }
    }
}
