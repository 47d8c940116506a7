//! The two helpers of sandboxes, which are this program called with a word instead of an id.
//!
//! `pod-init` makes the pid namespace that the containers of a sandbox share, and its process 1: it
//! reaps, and does nothing else. It has no root, no capability and no open file, and cannot be
//! traced: whoever sees it in `/proc` finds nothing behind it.
//!
//! `pod-holder` makes the namespaces that a user namespace owns, and holds them until they are
//! pinned and its standard input is closed.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::process::ExitCode;

use isula_sys::mount::{self, Depth, Filesystem};
use isula_sys::process::{self, Spawn};
use isula_sys::signal::{Signal, SignalFile};
use isula_sys::{capability, exec, namespace};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::WaitOptions;

/// The word for the init of a sandbox; a path of a user namespace may follow.
pub const INIT: &str = "pod-init";
/// The word for the holder of namespaces; the `CLONE_NEW*` bits follow, as a number.
pub const HOLDER: &str = "pod-holder";

/// `CLONE_NEWUSER`, `CLONE_NEWPID` and `CLONE_NEWNS` of linux/sched.h.
const NEW_USER: u32 = 0x1000_0000;
const NEW_PID: u32 = 0x2000_0000;
const NEW_MOUNT: u32 = 0x0002_0000;

/// Makes the init and says its pid on standard output.
pub fn init(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    finish(make_init(arguments.next()))
}

/// Holds namespaces until standard input ends.
pub fn hold(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let kinds = arguments.next().and_then(|text| text.to_str()?.parse::<u32>().ok());
    finish(kinds.ok_or_else(|| io::ErrorKind::InvalidInput.into()).and_then(hold_namespaces))
}

fn finish(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", isula_sys::errno::describe(&error));
            ExitCode::FAILURE
        }
    }
}

fn hold_namespaces(kinds: u32) -> io::Result<()> {
    process::forbid_tracing()?;
    namespace::unshare(kinds)?;
    let mut out = io::stdout();
    out.write_all(b"held\n")?;
    out.flush()?;
    // Nothing is ever sent; the end comes when the daemon is done, or dies.
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

fn make_init(user: Option<OsString>) -> io::Result<()> {
    process::forbid_tracing()?;
    if let Some(path) = user {
        let user = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        namespace::join(user.as_fd(), NEW_USER)?;
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_gid(rustix::process::Gid::ROOT)?;
        rustix::thread::set_thread_uid(rustix::process::Uid::ROOT)?;
        // A change of ids makes a process traceable no more than before, but says so again.
        process::forbid_tracing()?;
    }
    let (ready, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let request = Spawn { namespaces: NEW_PID | NEW_MOUNT, ..Spawn::default() };
    let spawned = process::spawn(request, move || match be_alone(&tell) {
        Ok(signals) => {
            let told = rustix::io::write(&tell, b"1").is_ok();
            drop(tell);
            if told { reap(&signals) } else { 1 }
        }
        Err(error) => error.raw_os_error().and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
    })?;
    let mut answer = [0; 1];
    if rustix::io::read(&ready, &mut answer)? != 1 {
        let ending = process::wait(spawned.pidfd.as_fd())?;
        return Err(match ending {
            process::Ending::Exited(code) => io::Error::from_raw_os_error(code.into()),
            process::Ending::Killed(_) => io::ErrorKind::BrokenPipe.into(),
        });
    }
    let mut out = io::stdout();
    writeln!(out, "{}", spawned.pid)?;
    out.flush()
}

/// Lets go of everything that is the host's.
fn be_alone(tell: &impl AsFd) -> io::Result<SignalFile> {
    let _ = rustix::process::setsid();
    rustix::thread::set_name(c"pod-init")?;
    leave_root()?;
    // Nothing owns a descriptor any more but `tell`: each is closed once.
    exec::close_from_but(0, &[tell.as_fd()])?;
    let signals = SignalFile::open(&[Signal::CHLD])?;
    rustix::thread::set_no_new_privs(true)?;
    capability::set(capability::Sets::default())?;
    Ok(signals)
}

/// An empty file system takes the place of the root.
fn leave_root() -> io::Result<()> {
    mount::change_propagation(c"/", Depth::Tree, mount::PRIVATE)?;
    let nothing = Filesystem::open("tmpfs")?;
    nothing.set("size", "4k")?;
    let flags = mount::RDONLY | mount::NOSUID | mount::NODEV | mount::NOEXEC;
    let nothing = nothing.mount(flags)?;
    let place = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", place, Mode::empty())?;
    mount::attach(nothing.as_fd(), proc.as_fd())?;
    rustix::process::fchdir(&nothing)?;
    rustix::process::pivot_root(c".", c".")?;
    mount::detach(c".")?;
    Ok(rustix::process::chdir(c"/")?)
}

/// Reaps for ever. The end of the sandbox is SIGKILL from outside.
fn reap(signals: &SignalFile) -> u8 {
    loop {
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        let mut polled = [PollFd::new(signals, PollFlags::IN)];
        let _ = poll(&mut polled, None);
        while let Ok(Some(_)) = signals.next() {}
    }
}
