//! The terminal of this process: raw mode that every way out of the process undoes.
//!
//! A guard alone is not enough: a panic that aborts and an exit from within a signal's arm run no
//! destructor. So the mode to go back to is kept for the process, and [`restore`] may be called
//! from anywhere, any number of times.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError, TryLockError};

use crate::pty::RawMode;

pub use crate::pty::{WindowSize, size};

/// The one terminal that is in raw mode now.
static ACTIVE: Mutex<Option<RawMode>> = Mutex::new(None);

/// Raw mode of the process's terminal until this is dropped or [`restore`] is called.
#[derive(Debug)]
#[must_use]
pub struct Raw(());

/// Whether the descriptor is a terminal.
#[must_use]
pub fn is_terminal(file: BorrowedFd<'_>) -> bool {
    rustix::termios::isatty(file)
}

/// Switches a terminal to raw mode: each key is sent at once and none has a meaning here.
///
/// # Errors
/// `ENOTTY` when it is no terminal. The mode of a terminal that was raw before is restored first.
pub fn enter_raw(terminal: BorrowedFd<'_>) -> io::Result<Raw> {
    let mut active = ACTIVE.lock().unwrap_or_else(PoisonError::into_inner);
    active.take();
    *active = Some(RawMode::enter(terminal)?);
    Ok(Raw(()))
}

/// Ends raw mode, if there is one. Safe in a panic hook: it never waits for a lock.
pub fn restore() {
    let taken = match ACTIVE.try_lock() {
        Ok(mut active) => active.take(),
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
        // Only `enter_raw` and `restore` hold it, for a moment; the other call does the work.
        Err(TryLockError::WouldBlock) => None,
    };
    drop(taken);
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::{Mode, OFlags};
    use rustix::termios::{LocalModes, tcgetattr};

    use super::*;

    #[test]
    fn raw_mode_ends_with_the_guard_and_with_restore() {
        let devpts = rustix::fs::open("/dev/pts", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let pty = crate::pty::Pty::open(devpts.unwrap().as_fd()).unwrap();
        let cooked = || {
            tcgetattr(&pty.slave)
                .unwrap()
                .local_modes
                .contains(LocalModes::ICANON | LocalModes::ECHO)
        };
        assert!(is_terminal(pty.slave.as_fd()) && cooked());

        let raw = enter_raw(pty.slave.as_fd()).unwrap();
        assert!(!cooked());
        drop(raw);
        assert!(cooked());

        let raw = enter_raw(pty.slave.as_fd()).unwrap();
        restore();
        assert!(cooked());
        restore();
        drop(raw);
        assert!(cooked());
    }
}
