//! Replacing the program of a process, and what it inherits.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, fcntl_dupfd_cloexec};

/// A list of strings as `execve(2)` takes it.
#[derive(Debug)]
pub struct Strings {
    // `pointers` point into `owned`, whose strings never change nor move.
    owned: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    /// Copies the strings.
    ///
    /// # Errors
    /// `EINVAL` when one of them contains a zero byte.
    pub fn new<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> io::Result<Self> {
        let owned = strings
            .into_iter()
            .map(|string| CString::new(string.as_ref()).map_err(|_| Errno::INVAL.into()))
            .collect::<io::Result<Vec<_>>>()?;
        let pointers =
            owned.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Self { owned, pointers })
    }

    /// The strings.
    #[must_use]
    pub fn as_slice(&self) -> &[CString] {
        &self.owned
    }
}

/// Replaces this process' program; returns only to say why it could not.
#[must_use]
pub fn execve(program: &CStr, arguments: &Strings, environment: &Strings) -> io::Error {
    // SAFETY: the arrays are null-terminated and point to null-terminated strings that live as
    // long as their `Strings`, which are borrowed for the whole call.
    unsafe {
        libc::execve(program.as_ptr(), arguments.pointers.as_ptr(), environment.pointers.as_ptr())
    };
    io::Error::last_os_error()
}

/// Replaces this process' program by an open file; returns only to say why it could not.
#[must_use]
pub fn fexecve(program: BorrowedFd<'_>, arguments: &Strings, environment: &Strings) -> io::Error {
    // SAFETY: as in `execve`; the empty path is null-terminated and the descriptor is open.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// Marks every descriptor from `first` on close-on-exec.
///
/// # Errors
/// `EINVAL` on a kernel before 5.11.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor from `first` on.
///
/// Descriptors that Rust values own are closed under them: only for a process that is about to
/// exec or exit and uses none of them any more.
///
/// # Errors
/// `ENOSYS` on a kernel before 5.9.
pub fn close_from(first: u32) -> io::Result<()> {
    close_range(first, 0)
}

fn close_range(first: u32, flags: u32) -> io::Result<()> {
    // SAFETY: no memory is touched. I/O safety of `close_from` is its documented precondition.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes the three descriptors the standard streams; those survive an exec.
///
/// # Errors
/// Those of `dup(2)`.
pub fn set_standard_streams(streams: [BorrowedFd<'_>; 3]) -> io::Result<()> {
    // A source below 3 would be overwritten by an earlier stream.
    let above = |stream: BorrowedFd<'_>| fcntl_dupfd_cloexec(stream, 3);
    let [stdin, stdout, stderr] = streams;
    let (stdin, stdout, stderr) = (above(stdin)?, above(stdout)?, above(stderr)?);
    rustix::stdio::dup2_stdin(&stdin)?;
    rustix::stdio::dup2_stdout(&stdout)?;
    rustix::stdio::dup2_stderr(&stderr)?;
    Ok(())
}

/// Opens `/dev/null` on the three standard descriptors that are closed, so that no file that is
/// opened later becomes one of them by accident.
///
/// # Errors
/// Those of opening `/dev/null`.
pub fn fill_standard_streams() -> io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    loop {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        // It is a standard stream now and stays open for good.
        std::mem::forget(null);
    }
}

/// Duplicates a descriptor to exactly `target`, close-on-exec. Whatever was open there is closed.
///
/// # Errors
/// Those of `dup3(2)`.
pub fn move_to(descriptor: OwnedFd, target: RawFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() == target {
        return Ok(descriptor);
    }
    // SAFETY: no memory is touched; the caller asked for what is open at `target` to be closed.
    let result =
        unsafe { libc::dup3(descriptor.as_fd().as_raw_fd(), target, libc::O_CLOEXEC) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    drop(descriptor);
    // SAFETY: dup3 has just made `result`, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_with_a_zero_byte_is_refused() {
        let error = Strings::new(["fine", "not\0fine"]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn a_missing_program_is_reported() {
        let arguments = Strings::new(["x"]).unwrap();
        let none = Strings::new::<&str>([]).unwrap();
        let error = execve(c"/nonexistent/program", &arguments, &none);
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }
}
