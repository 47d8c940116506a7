//! Pseudo terminals, opened by descriptor in a devpts of the caller's choice.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FsWord, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;

/// `DEVPTS_SUPER_MAGIC`, `statfs(2)`.
const DEVPTS: FsWord = 0x1cd1;

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// The two ends of a pseudo terminal.
#[derive(Debug)]
pub struct Pty {
    /// The end of the terminal emulator.
    pub master: OwnedFd,
    /// The end of the programs.
    pub slave: OwnedFd,
}

impl Pty {
    /// Opens a new terminal of the devpts whose root directory is given.
    ///
    /// # Errors
    /// `ENODEV` when the directory is not the root of a devpts (it was replaced or masked).
    pub fn open(devpts: BorrowedFd<'_>) -> io::Result<Self> {
        let is_devpts = |file: BorrowedFd<'_>| match rustix::fs::fstatfs(file) {
            Ok(found) if found.f_type == DEVPTS => Ok(()),
            Ok(_) => Err(io::Error::from(Errno::NODEV)),
            Err(error) => Err(error.into()),
        };
        is_devpts(devpts)?;
        let master = rustix::fs::openat2(
            devpts,
            c"ptmx",
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
        )?;
        is_devpts(master.as_fd())?;
        rustix::pty::unlockpt(&master)?;
        // The peer is opened through the master: no path, so nothing can be put in its place.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        is_devpts(slave.as_fd())?;
        Ok(Self { master, slave })
    }
}

/// Sets the size of a terminal; its foreground processes are told by `SIGWINCH`.
///
/// # Errors
/// `ENOTTY` when it is no terminal.
pub fn resize(terminal: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    let size = rustix::termios::Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}

/// Size of a terminal.
///
/// # Errors
/// `ENOTTY` when it is no terminal.
pub fn size(terminal: BorrowedFd<'_>) -> io::Result<WindowSize> {
    let size = rustix::termios::tcgetwinsize(terminal)?;
    Ok(WindowSize { rows: size.ws_row, columns: size.ws_col })
}

/// Starts a session whose terminal this is.
///
/// # Errors
/// `EPERM` when this process leads a process group already, or the terminal has a session.
pub fn lead_session(slave: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(rustix::process::ioctl_tiocsctty(slave)?)
}

/// A terminal in raw mode; it gets its old mode back when this is dropped.
#[derive(Debug)]
pub struct RawMode {
    terminal: OwnedFd,
    before: rustix::termios::Termios,
}

impl RawMode {
    /// Switches the terminal to raw mode.
    ///
    /// # Errors
    /// `ENOTTY` when it is no terminal.
    pub fn enter(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        let terminal = rustix::io::fcntl_dupfd_cloexec(terminal, 3)?;
        let before = rustix::termios::tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&terminal, rustix::termios::OptionalActions::Now, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may have gone away; there is nothing to restore then.
        let now = rustix::termios::OptionalActions::Now;
        let _ = rustix::termios::tcsetattr(&self.terminal, now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn what_is_written_at_one_end_is_read_at_the_other() {
        let devpts = rustix::fs::open("/dev/pts", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let pty = Pty::open(devpts.unwrap().as_fd()).unwrap();
        resize(pty.master.as_fd(), WindowSize { rows: 33, columns: 101 }).unwrap();
        assert_eq!(size(pty.slave.as_fd()).unwrap(), WindowSize { rows: 33, columns: 101 });
        let raw = RawMode::enter(pty.slave.as_fd()).unwrap();
        let mut master = std::fs::File::from(pty.master);
        let mut slave = std::fs::File::from(pty.slave);
        slave.write_all(b"line\n").unwrap();
        let mut text = [0; 5];
        master.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"line\n", "raw mode adds no carriage return");
        drop(raw);
    }

    #[test]
    fn a_directory_that_is_no_devpts_is_refused() {
        let directory = rustix::fs::open("/tmp", OFlags::PATH, Mode::empty()).unwrap();
        let error = Pty::open(directory.as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
