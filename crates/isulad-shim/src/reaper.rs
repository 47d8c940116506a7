//! The tiny init (`--init`): process 1 of a container that wants one. It runs the command, passes
//! signals on to it, reaps whatever else ends, and ends as the command does.
//!
//! It is this program itself, bound read-only into the container, so nothing of the host's can be
//! changed through `/proc/1/exe`, and nothing has to be installed.

use std::ffi::OsString;
use std::io;
use std::process::{Command, ExitCode};

use isula_sys::process;
use isula_sys::signal::{Signal, SignalFile};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, WaitOptions};

use crate::program;

/// Where the program is in the container; under this name it is an init.
pub const PATH: &str = "/dev/init";

/// Runs the command that the arguments are, and ends as it does.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match start(arguments) {
        Ok((child, signals)) => ExitCode::from(keep(child, &signals)),
        Err(error) => ExitCode::from(tell("isulad-shim", &error)),
    }
}

/// Says why a program can't be run, and gives the exit status for it.
fn tell(program: &str, error: &io::Error) -> u8 {
    eprintln!("{program}: {}", isula_sys::errno::describe(error));
    if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}

fn start(mut arguments: impl Iterator<Item = OsString>) -> io::Result<(Pid, SignalFile)> {
    // Out of the reach of the command; and where this is not process 1, orphans still come here.
    process::forbid_tracing()?;
    process::become_subreaper()?;
    let all: Vec<Signal> = (1..=64).filter_map(Signal::from_number).collect();
    let name = arguments.next().ok_or(io::ErrorKind::NotFound)?;
    let signals = SignalFile::open(&all)?;
    let mut command = Command::new(&name);
    command.args(arguments);
    let foreground = || {
        // A process group of its own, so that what the terminal sends to the foreground reaches
        // the command once, and not through here again. Without a terminal there is none.
        let _ = rustix::process::setpgid(None, None);
        let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid());
    };
    let failed = |error: &io::Error| tell(&name.to_string_lossy(), error);
    let child = program::spawn(command, foreground, failed)?;
    let child = Pid::from_raw(child.pid).ok_or(io::ErrorKind::InvalidData)?;
    Ok((child, signals))
}

fn keep(child: Pid, signals: &SignalFile) -> u8 {
    loop {
        if let Some(code) = reap(child) {
            return code;
        }
        let mut polled = [PollFd::new(signals, PollFlags::IN)];
        let _ = poll(&mut polled, None);
        while let Ok(Some(signal)) = signals.next() {
            if signal != Signal::CHLD {
                pass_on(child, signal);
            }
        }
    }
}

/// Collects what has ended; the command's status when it is among it.
fn reap(child: Pid) -> Option<u8> {
    let mut code = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == child {
            let status = match (status.exit_status(), status.terminating_signal()) {
                (Some(status), _) => status,
                (None, Some(signal)) => 128 + signal,
                (None, None) => continue,
            };
            code = Some(u8::try_from(status).unwrap_or(u8::MAX));
        }
    }
    code
}

fn pass_on(child: Pid, signal: Signal) {
    // It is a child of this process and not reaped: its pid is its own.
    if let Ok(pidfd) = process::open(child.as_raw_nonzero().get()) {
        let _ = process::send_signal(std::os::fd::AsFd::as_fd(&pidfd), signal.number());
    }
}

/// Whether this process was started as the init of a container.
pub fn is_wanted(name: Option<&OsString>) -> bool {
    name.is_some_and(|name| name == PATH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_name_makes_it_an_init() {
        assert!(is_wanted(Some(&OsString::from("/dev/init"))));
        for other in ["isulad-shim", "/dev/initx", "init", ""] {
            assert!(!is_wanted(Some(&OsString::from(other))));
        }
        assert!(!is_wanted(None));
    }
}
