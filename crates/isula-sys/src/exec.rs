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
/// Those of `fcntl(2)`, where the kernel is older than 5.11 and they are marked one by one.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: no memory is touched, and no descriptor is closed.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 {
        return Ok(());
    }
    mark_one_by_one(first)
}

fn mark_one_by_one(first: u32) -> io::Result<()> {
    // The limit may have been lowered after files were opened above it.
    let limit = crate::limits::limit(0, crate::limits::NOFILE)?.hard.clamp(4096, 1 << 20);
    for descriptor in u64::from(first)..limit {
        let descriptor = i32::try_from(descriptor).map_err(|_| Errno::BADF)?;
        // SAFETY: no memory is touched; a number that is not open is refused.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Closes every descriptor from `first` on but those given.
///
/// Values that own a closed one must not be used or dropped after: this is for a new process, a
/// copy of its creator, that never returns to what the creator owns.
///
/// # Errors
/// `ENOSYS` on a kernel before 5.9.
pub fn close_from_but(first: u32, keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut numbers: Vec<u32> =
        keep.iter().filter_map(|one| u32::try_from(one.as_raw_fd()).ok()).collect();
    numbers.sort_unstable();
    let mut first = first;
    for number in numbers {
        if number > first {
            close_range(first, number - 1)?;
        }
        first = first.max(number + 1);
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: no memory is touched; that nobody uses the descriptors any more is the documented
    // precondition of the caller.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0u32) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets the descriptor with this number survive an exec.
///
/// # Errors
/// `EBADF` when it is not open.
pub fn keep_open(descriptor: u32) -> io::Result<()> {
    let descriptor = RawFd::try_from(descriptor).map_err(|_| Errno::BADF)?;
    // SAFETY: no memory is touched; a number that is not open is refused.
    let result = unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) };
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
    let result = unsafe { libc::dup3(descriptor.as_fd().as_raw_fd(), target, libc::O_CLOEXEC) };
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
    fn descriptors_are_marked_one_by_one_on_an_old_kernel() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let number = u32::try_from(file.as_raw_fd()).unwrap();
        let flags = || rustix::io::fcntl_getfd(&file).unwrap();
        keep_open(number).unwrap();
        assert!(flags().is_empty());
        mark_one_by_one(number).unwrap();
        assert!(flags().contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn a_missing_program_is_reported() {
        let arguments = Strings::new(["x"]).unwrap();
        let none = Strings::new::<&str>([]).unwrap();
        let error = execve(c"/nonexistent/program", &arguments, &none);
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }
}
