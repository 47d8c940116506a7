//! The last part of a new process' way, the same for an init and for one that is added: streams,
//! limits, identity, filter, program.
//!
//! What can fail because of the configuration comes first, while errors can still be told; after
//! the seccomp filter is loaded there is nothing but `capset` and `execve`.

mod home;
mod identity;
mod labels;
mod program;
mod tuning;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::{Gid, Uid};

pub(crate) use identity::become_root_inside;
pub(crate) use labels::LabelFiles;
pub(crate) use tuning::{RLIMITS, raise_limits, set_oom_score};

use crate::channel::{Channel, Message};
use crate::error::{OrFail as _, StartError, Step};
use crate::plan::ProcessPlan;
use crate::root::Root;

/// What a process is started with, beside its plan.
pub(crate) struct Setup<'a> {
    /// The plan.
    pub(crate) process: &'a ProcessPlan,
    /// Where the parent listens.
    pub(crate) channel: &'a Channel,
    /// Streams, or the end of the terminal for all three.
    pub(crate) streams: Streams,
    /// Files of the host's procfs, opened before its root was left.
    pub(crate) labels: LabelFiles,
    /// Descriptors after 2 that the program inherits.
    pub(crate) preserve_fds: u32,
}

/// Standard streams of a process that is being set up.
#[derive(Debug)]
pub(crate) enum Streams {
    /// One for each.
    Three([OwnedFd; 3]),
    /// A terminal, which the process becomes the session leader of.
    Terminal(OwnedFd),
}

/// A process that has its identity and only needs the word to run its program.
pub(crate) struct Ready<'a> {
    setup: Setup<'a>,
    program: program::Program,
    last_capabilities: identity::Last,
}

impl<'a> Setup<'a> {
    /// Does everything up to the program; `root` is the container's.
    pub(crate) fn prepare(self, root: Root) -> Result<Ready<'a>, StartError> {
        let process = self.process;
        let warn = |text: String| {
            // A warning that nobody reads any more is no reason to fail.
            let _ = self.channel.send(&Message::Warning(text));
        };
        let program = program::Program::new(process, home::missing_entry(process, &root))?;
        drop(root);
        self.attach_streams().or_fail(Step::Streams, "")?;
        leave_keyring().or_fail(Step::Identity, "session keyring")?;
        tuning::set_schedule(process)?;
        tuning::set_limits(process, &warn)?;
        let entered = enter_cwd(process)?;
        rustix::process::umask(Mode::from_raw_mode(process.umask.unwrap_or(0o022)));
        let last_capabilities = identity::assume(process, &warn)?;
        if !entered {
            rustix::process::chdir(process.cwd.as_str())
                .or_fail(Step::WorkingDirectory, &process.cwd)?;
        }
        check_cwd(process)?;
        let program = program.find()?;
        Ok(Ready { setup: self, program, last_capabilities })
    }

    fn attach_streams(&self) -> io::Result<()> {
        // A session of its own: no terminal of the caller is in reach (CVE-2016-2779).
        match &self.streams {
            Streams::Terminal(slave) => {
                isula_sys::pty::lead_session(slave.as_fd())?;
                give_to_user(slave.as_fd(), self.process)?;
                let slave = slave.as_fd();
                isula_sys::exec::set_standard_streams([slave, slave, slave])
            }
            Streams::Three(three) => {
                rustix::process::setsid()?;
                let mut own = [None, None, None];
                for (stream, own) in three.iter().zip(&mut own) {
                    match is_null(stream.as_fd())? {
                        true => *own = own_null(),
                        false => give_to_user(stream.as_fd(), self.process)?,
                    }
                }
                let [one, two, last] = &own;
                let [stdin, stdout, stderr] = three;
                isula_sys::exec::set_standard_streams([
                    one.as_ref().unwrap_or(stdin).as_fd(),
                    two.as_ref().unwrap_or(stdout).as_fd(),
                    last.as_ref().unwrap_or(stderr).as_fd(),
                ])
            }
        }
    }
}

impl Ready<'_> {
    /// Replaces this process by the program; returns only to say why it could not. `parent` is
    /// false when nobody listens any more.
    pub(crate) fn run(self, parent: bool) -> StartError {
        match self.try_run(parent) {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn try_run(self, parent: bool) -> Result<std::convert::Infallible, StartError> {
        let Self { setup, program, last_capabilities } = self;
        let process = setup.process;
        setup.labels.apply(process)?;
        isula_sys::signal::reset_all().or_fail(Step::Exec, program.name())?;
        close_the_rest(setup.preserve_fds).or_fail(Step::Exec, program.name())?;
        if parent {
            setup.channel.send(&Message::Executing).or_fail(Step::Sync, "")?;
        }
        if let Some(filter) = &process.seccomp {
            isula_sys::seccomp::install_filter(&filter.program, filter.flags)
                .or_fail(Step::Seccomp, "")?;
        }
        last_capabilities.apply()?;
        Err(program.execute())
    }
}

/// Keys of the runtime's session are none of the program's.
fn leave_keyring() -> io::Result<()> {
    use rustix::io::Errno;
    match isula_sys::process::new_session_keyring() {
        // Without keys there is nothing to leave, and where they are forbidden to us they are
        // forbidden to the program.
        Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => Ok(()),
            _ => Err(error),
        },
        Ok(()) => Ok(()),
    }
}

fn is_null(stream: BorrowedFd<'_>) -> io::Result<bool> {
    let found = rustix::fs::fstat(stream)?;
    Ok(FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
        && found.st_rdev == rustix::fs::makedev(1, 3))
}

/// `/dev/null` of the container, so that the process holds no file of the host's `/dev` (CRIU can
/// tell nobody what that would be); nothing where the container has none.
fn own_null() -> Option<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, Mode::empty()).ok()?;
    is_null(null.as_fd()).ok()?.then_some(null)
}

/// The user may open its streams again through `/dev/stdout` and its like.
fn give_to_user(stream: BorrowedFd<'_>, process: &ProcessPlan) -> io::Result<()> {
    let found = rustix::fs::fstat(stream)?;
    if found.st_uid == process.uid {
        return Ok(());
    }
    use rustix::io::Errno;
    let (uid, gid) = (Uid::from_raw(process.uid), Gid::from_raw(found.st_gid));
    match rustix::fs::fchown(stream, Some(uid), Some(gid)) {
        // An owner that is not mapped here, a file that cannot change: the stream works all the
        // same, it just cannot be opened again.
        Err(Errno::INVAL | Errno::PERM | Errno::ROFS | Errno::OPNOTSUPP) => Ok(()),
        result => Ok(result?),
    }
}

/// Makes the working directory if it is missing, for its user.
pub(crate) fn make_cwd(process: &ProcessPlan, root: &Root) -> Result<(), StartError> {
    let cwd = &process.cwd;
    if rustix::process::chdir(cwd.as_str()) != Err(rustix::io::Errno::NOENT) {
        return Ok(());
    }
    // From inside, by descriptor: a link on the way leads nowhere else (CVE-2026-55686).
    let make = crate::root::Make::Directory(0o755);
    let made = root.ensure(cwd, make).or_fail(Step::WorkingDirectory, cwd)?;
    for directory in made.directories {
        let (uid, gid) = (Uid::from_raw(process.uid), Gid::from_raw(process.gid));
        let flags = rustix::fs::AtFlags::EMPTY_PATH;
        rustix::fs::chownat(directory, c"", Some(uid), Some(gid), flags)
            .or_fail(Step::WorkingDirectory, cwd)?;
    }
    Ok(())
}

/// Enters the working directory. False when only the user may.
fn enter_cwd(process: &ProcessPlan) -> Result<bool, StartError> {
    let cwd = &process.cwd;
    match rustix::process::chdir(cwd.as_str()) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::ACCESS) => Ok(false),
        Err(error) => Err(StartError::new(Step::WorkingDirectory, error, cwd.as_str())),
    }
}

/// The working directory has to lie inside (CVE-2024-21626): the kernel says when it does not.
fn check_cwd(process: &ProcessPlan) -> Result<(), StartError> {
    let cwd = &process.cwd;
    let here = rustix::process::getcwd(Vec::new()).or_fail(Step::WorkingDirectory, cwd)?;
    if here.as_bytes().first() == Some(&b'/') {
        Ok(())
    } else {
        let detail = format!("{cwd}, which lies outside of the container");
        Err(StartError::refused(Step::WorkingDirectory, detail))
    }
}

/// Leaves nothing open for the program but what it shall have.
fn close_the_rest(preserve: u32) -> io::Result<()> {
    let first = 3u32.saturating_add(preserve);
    for kept in 3..first {
        // One that the caller did not open is none to keep.
        let _ = isula_sys::exec::keep_open(kept);
    }
    isula_sys::exec::close_on_exec_from(first)
}
