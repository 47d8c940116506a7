//! The keeper of one container: parent of its processes, owner of their terminal and pipes, writer
//! of their log and of the exit record.
//!
//! The daemon starts one for each container and speaks [`protocol`] with it, over the socket that
//! is its standard input and, after a restart of the daemon, over one in the run directory. It has
//! one thread and waits in one place. It knows nothing of the engine.
//!
//! ```text
//!   daemon ──control──▶ requests ─▶ container ─▶ lcr, or external
//!                          │            │
//!                        execs       streams ─▶ log, clients
//! ```

#![forbid(unsafe_code)]

pub mod protocol;
pub mod template;

mod built;
mod container;
mod control;
mod execs;
mod external;
mod failure;
mod log;
pub mod pod;
mod poll;
mod program;
mod reaper;
mod requests;
mod shim;
mod stdio;
mod streams;

use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::ExitCode;

/// Where the program has to be in a container to be its init: see [`run`].
pub const INIT_PATH: &str = reaper::PATH;

/// The whole program. Called as [`INIT_PATH`] with a command as its arguments it is the init of a
/// container; with [`template::ARGUMENT`] it makes shims; else it is a shim, whose standard input
/// is the socket to the daemon and whose only argument, the container's id, is for people to see.
#[must_use]
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let name = arguments.next();
    if reaper::is_wanted(name.as_ref()) {
        return reaper::run(arguments);
    }
    let argument = arguments.next();
    match &argument {
        Some(word) if word == "--version" => {
            println!("isulad-shim {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Some(word) if word == pod::INIT => return pod::init(arguments),
        Some(word) if word == pod::HOLDER => return pod::hold(arguments),
        _ => {}
    }
    let served = settle(rustix::stdio::stdin()).and_then(|socket| {
        match argument.is_some_and(|argument| argument == template::ARGUMENT) {
            true => template::serve(&socket, keep),
            false => keep(socket),
        }
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("isulad-shim: {}", isula_sys::errno::describe(&error));
            ExitCode::FAILURE
        }
    }
}

/// What a template has done for all its copies.
fn settle(control: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // No core dump may hold what a container's environment held.
    isula_sys::process::forbid_tracing()?;
    // Away from the terminal and the process group of whoever started the daemon.
    match rustix::process::setsid() {
        Ok(_) | Err(rustix::io::Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    // Whatever is made for this process alone says so itself; control groups are for all to see.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let socket = isula_sys::process::duplicate(control)?;
    let null = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(socket)
}

fn keep(control: OwnedFd) -> io::Result<()> {
    isula_sys::process::become_subreaper()?;
    rustix::thread::set_name(c"isulad-shim")?;
    // A copy of a template is in its session.
    match rustix::process::setsid() {
        Ok(_) | Err(rustix::io::Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    shim::Shim::new(control)?.run()
}
