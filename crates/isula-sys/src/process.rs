//! Creating processes with `clone3(2)`, waiting for them by descriptor, and their attributes.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::ptr;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions};

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args`, version 2 (Linux 5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// How a new process differs from its creator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spawn<'a> {
    /// `CLONE_NEW*` bits of the namespaces it gets.
    pub namespaces: u32,
    /// The v2 control group it is born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whether it becomes a child of this process' parent (`CLONE_PARENT`).
    pub sibling: bool,
}

/// A process that was created.
#[derive(Debug)]
pub struct Spawned {
    /// Its id, in the pid namespace of its creator.
    pub pid: i32,
    /// A descriptor that refers to it for ever.
    pub pidfd: OwnedFd,
}

/// Ends the process where unwinding would leave the closure of a new process.
struct ExitOnUnwind;

impl Drop for ExitOnUnwind {
    fn drop(&mut self) {
        exit(125);
    }
}

/// Creates a process that runs `child` and exits with what it returns.
///
/// The new process is a copy of this one, as after `fork(2)`; memory is shared copy-on-write. The
/// caller must have one thread: another one might hold a lock that nobody would ever release in
/// the copy.
///
/// # Errors
/// `EBUSY` when this process has more than one thread; those of `clone3(2)`.
pub fn spawn(request: Spawn<'_>, child: impl FnOnce() -> u8) -> io::Result<Spawned> {
    if threads()? != 1 {
        return Err(Errno::BUSY.into());
    }
    let mut pidfd: i32 = -1;
    let mut arguments = CloneArgs {
        flags: u64::from(request.namespaces) | CLONE_PIDFD,
        pidfd: (&raw mut pidfd).addr() as u64,
        ..CloneArgs::default()
    };
    if request.sibling {
        // The exit signal is then that of this process (clone3 wants 0).
        arguments.flags |= CLONE_PARENT;
    } else {
        arguments.exit_signal = libc::SIGCHLD as u64;
    }
    if let Some(cgroup) = request.cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(|_| Errno::BADF)?;
    }
    // SAFETY: `arguments` is a valid clone_args of the size given, and `pidfd` outlives the call.
    // Without CLONE_VM the child continues on a copy of this stack, as after fork(2); there is one
    // thread, so the copy of the process is consistent.
    let mut pid =
        unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<CloneArgs>()) };
    // A container's default filter answers ENOSYS: its own init has to do without clone3.
    let absent = pid < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS);
    if absent && request.cgroup.is_none() {
        let flags = arguments.flags | arguments.exit_signal;
        let none = ptr::null_mut::<libc::c_void>();
        // SAFETY: without CLONE_VM and with no stack given the child continues on a copy of this
        // one, as after fork(2); CLONE_PIDFD stores to `pidfd`, which outlives the call, in the
        // place of the parent's thread id. The last two arguments, whose order differs between
        // architectures, are both null.
        pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, &raw mut pidfd, none, none) };
    }
    match pid {
        0 => {
            let guard = ExitOnUnwind;
            let status = child();
            std::mem::forget(guard);
            exit(status)
        }
        pid if pid > 0 => {
            // SAFETY: CLONE_PIDFD stored a new descriptor that nothing else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Spawned { pid: i32::try_from(pid).map_err(|_| Errno::OVERFLOW)?, pidfd })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// How many threads this process has.
///
/// # Errors
/// When procfs is not mounted.
pub fn threads() -> io::Result<u64> {
    // A directory has two links and one for each directory in it: no listing is needed.
    Ok(fs::metadata("/proc/self/task")?.nlink().saturating_sub(2))
}

/// Ends the process at once: no destructor, no exit handler.
pub fn exit(status: u8) -> ! {
    // SAFETY: _exit has no precondition and does not return.
    unsafe { libc::_exit(i32::from(status)) }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this status.
    Exited(u8),
    /// By this signal.
    Killed(i32),
}

impl Ending {
    /// The status a shell reports: 128 and the signal for a process that was killed.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Exited(status) => status,
            Self::Killed(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

/// Waits until a child has ended, and reaps it.
///
/// # Errors
/// Those of `waitid(2)`: `ECHILD` when it is not a child of this process or was reaped before.
pub fn wait(pidfd: BorrowedFd<'_>) -> io::Result<Ending> {
    loop {
        match reap(pidfd, WaitIdOptions::EXITED) {
            Ok(Some(ending)) => return Ok(ending),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reaps a child if it has ended.
///
/// # Errors
/// As [`wait`].
pub fn try_wait(pidfd: BorrowedFd<'_>) -> io::Result<Option<Ending>> {
    reap(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
}

fn reap(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> io::Result<Option<Ending>> {
    let Some(status) = rustix::process::waitid(WaitId::PidFd(pidfd), options)? else {
        return Ok(None);
    };
    let ending = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ending::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        (None, Some(signal)) => Ending::Killed(signal),
        (None, None) => return Ok(None),
    };
    Ok(Some(ending))
}

/// A descriptor for the process with this id.
///
/// # Errors
/// `ESRCH` when there is none, `EINVAL` when the id is not positive.
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or(Errno::INVAL)?;
    Ok(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)
}

/// Sends a signal, by number, so that real-time signals can be sent too; 0 only checks.
///
/// # Errors
/// `ESRCH` when the process has ended and was reaped; those of `pidfd_send_signal(2)`.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: a null siginfo is allowed; no memory is touched.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0u32,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Waits until the process has ended or the time is over; it is not reaped. True if it has ended.
///
/// # Errors
/// Those of `poll(2)`.
pub fn wait_at_most(pidfd: BorrowedFd<'_>, time: Option<std::time::Duration>) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, poll};
    let timeout = time.map(|time| rustix::time::Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    });
    loop {
        let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut polled, timeout.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// When the process was started, in clock ticks since boot: with the pid, its identity for ever.
///
/// # Errors
/// When there is no such process.
pub fn start_time(pid: i32) -> io::Result<u64> {
    let stat = read_stat(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything; field 22 is the 20th after it (proc(5)).
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let field = after.split_ascii_whitespace().nth(19);
    field.and_then(|field| field.parse().ok()).ok_or_else(|| Errno::PROTO.into())
}

/// The text of a `stat` file, which is made anew for each open and read at once: 52 numbers of at
/// most 20 digits, and a name.
fn read_stat(path: String) -> io::Result<String> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut buffer = [0; 1200];
    let length = rustix::io::read(&file, &mut buffer)?;
    Ok(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned())
}

/// The memory that `/proc/PID/cmdline` shows of this process.
#[derive(Clone, Copy, Debug)]
pub struct CommandLine {
    start: usize,
    length: usize,
}

impl CommandLine {
    /// That of this process and, as long as they run no other program, of its copies.
    ///
    /// # Errors
    /// When procfs is not mounted.
    pub fn own() -> io::Result<Self> {
        let stat = read_stat("/proc/self/stat".to_owned())?;
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        // Fields 48 and 49, `arg_start` and `arg_end`; the first after the name is the third.
        let mut fields = after.split_ascii_whitespace().skip(45).map(str::parse::<usize>);
        match (fields.next(), fields.next()) {
            (Some(Ok(start)), Some(Ok(end))) if start > 0 && end > start => {
                Ok(Self { start, length: end - start })
            }
            _ => Err(Errno::PROTO.into()),
        }
    }

    /// Shows these bytes from `offset` on; what does not fit is left out. Rust's own list of
    /// arguments must not be asked for after.
    pub fn show(self, offset: usize, text: &[u8]) {
        let room = self.length.saturating_sub(offset + 1);
        let length = text.len().min(room);
        let target = ptr::with_exposed_provenance_mut::<u8>(self.start + offset.min(self.length));
        // SAFETY: `start` and `length` are the kernel's own bounds of the arguments, which lie on
        // this process' stack, are writable, and live as long as it; `length` bytes from `offset`
        // on lie within them. Nothing holds a reference to them, and there is one thread.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), target, length) };
    }
}

/// Forbids tracing this process and following its links in `/proc`, until the next exec.
///
/// # Errors
/// Those of `prctl(2)`.
pub fn forbid_tracing() -> io::Result<()> {
    let no = rustix::process::DumpableBehavior::NotDumpable;
    Ok(rustix::process::set_dumpable_behavior(no)?)
}

/// Gives this process a new, empty session keyring in the place of its creator's.
///
/// # Errors
/// `ENOSYS` where the kernel has no keys, `EPERM` where a filter forbids them, `EDQUOT`.
pub fn new_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: a null name asks for an anonymous keyring; no memory is touched.
    let result = unsafe {
        libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, ptr::null::<libc::c_char>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes this process the one that orphans below it are given to.
///
/// # Errors
/// Those of `prctl(2)`.
pub fn become_subreaper() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Duplicates a descriptor close-on-exec.
///
/// # Errors
/// `EMFILE`.
pub fn duplicate(descriptor: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(descriptor, 3)?)
}

/// Makes and opens files as another user and group for a while, in this thread only, and keeps all
/// capabilities of the thread (setfsuid(2) takes those over files away from whoever was root).
///
/// # Errors
/// The ids can't be taken, capset(2) refuses, or the work fails.
pub fn with_file_ids<T>(
    (user, group): (u32, u32),
    work: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let capabilities = crate::capability::get()?;
    let before = set_file_ids((user, group));
    let taken = set_file_ids((user, group)) == (user, group);
    let done = match crate::capability::set(capabilities) {
        Ok(()) if taken => work(),
        Ok(()) => Err(Errno::PERM.into()),
        Err(error) => Err(error),
    };
    set_file_ids(before);
    crate::capability::set(capabilities)?;
    done
}

/// Gives those of before; an id that can't be taken leaves the one that is.
fn set_file_ids((user, group): (u32, u32)) -> (u32, u32) {
    // SAFETY: it takes no memory, and concerns this thread alone.
    let group = unsafe { libc::setfsgid(group) };
    // SAFETY: as above.
    let user = unsafe { libc::setfsuid(user) };
    (user.cast_unsigned(), group.cast_unsigned())
}

/// Whom this process runs as.
#[must_use]
pub fn user_id() -> u32 {
    rustix::process::getuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_with_threads_is_refused() {
        // The test harness runs each test in a thread of its own.
        let error = spawn(Spawn::default(), || 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
    }

    #[test]
    fn the_start_time_identifies_a_process() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(start_time(pid).unwrap(), start_time(pid).unwrap());
        assert!(start_time(pid).unwrap() > 0);
    }

    #[test]
    fn a_status_is_what_a_shell_reports() {
        assert_eq!(Ending::Exited(37).status(), 37);
        assert_eq!(Ending::Killed(9).status(), 137);
    }
}
