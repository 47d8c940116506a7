//! Hooks: programs of the host that are called at points of a container's life, with its state on
//! their standard input (runtime-spec config.md, "POSIX-platform Hooks").

use std::ffi::CString;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use isula_sys::exec::{Strings, execve, set_standard_streams};
use isula_sys::process::{self, Ending, Spawn, Spawned};
use isula_sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{StartError, Step};
use crate::plan::{Hook, Hooks, Plan};

/// As much of what a failed hook wrote is told.
const LONGEST_REPORT: usize = 1024;

/// The state that a hook is told, as JSON.
#[must_use]
pub fn state(hooks: &Hooks, status: &str, pid: i32) -> String {
    let mut text = String::with_capacity(hooks.state_head.len() + hooks.state_tail.len() + 48);
    text.push_str(&hooks.state_head);
    // Writing to a string cannot fail.
    let _ = write!(text, "\"status\":\"{status}\",");
    if pid > 0 {
        let _ = write!(text, "\"pid\":{pid},");
    }
    text.push_str(&hooks.state_tail);
    text
}

/// Calls the hooks one after the other, and stops at the first that fails.
///
/// # Errors
/// Names the hook, and how it ended.
pub fn run(list: &[Hook], state: &str) -> Result<(), StartError> {
    list.iter().try_for_each(|hook| call(hook, state))
}

/// Calls the hooks that follow the start of the program. One that fails is a warning: the
/// container runs.
#[must_use]
pub fn run_poststart(plan: &Plan, pid: i32) -> Vec<String> {
    run_all(&plan.hooks.poststart, &state(&plan.hooks, "running", pid))
}

/// Calls the hooks that follow the removal of the container, all of them, and returns what failed.
#[must_use]
pub fn run_poststop(plan: &Plan) -> Vec<String> {
    run_all(&plan.hooks.poststop, &state(&plan.hooks, "stopped", 0))
}

fn run_all(list: &[Hook], state: &str) -> Vec<String> {
    list.iter().filter_map(|hook| call(hook, state).err()).map(|error| error.to_string()).collect()
}

fn call(hook: &Hook, state: &str) -> Result<(), StartError> {
    let name = hook.path.display().to_string();
    let fail = |error: io::Error| StartError::new(Step::Hook, error, name.as_str());
    let (input, output) = (input(state).map_err(fail)?, rustix::pipe::pipe_with(PIPE_FLAGS));
    let (reader, writer) = output.map_err(|error| fail(error.into()))?;
    let child = start(hook, &input, writer).map_err(fail)?;
    let deadline = hook.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
    let mut report = Vec::new();
    let in_time = watch(&child, &reader, deadline, &mut report).map_err(fail)?;
    if !in_time {
        process::send_signal(child.pidfd.as_fd(), Signal::KILL.number()).map_err(fail)?;
    }
    let how = match process::wait(child.pidfd.as_fd()).map_err(fail)? {
        _ if !in_time => "did not end in time".to_owned(),
        Ending::Exited(0) => return Ok(()),
        Ending::Exited(status) => format!("exited with status {status}"),
        Ending::Killed(signal) => format!("was killed by signal {signal}"),
    };
    let report = String::from_utf8_lossy(&report);
    let report = report.trim().replace('\n', "; ");
    let separator = if report.is_empty() { "" } else { ": " };
    Err(StartError::refused(Step::Hook, format!("{name}: it {how}{separator}{report}")))
}

const PIPE_FLAGS: rustix::pipe::PipeFlags = rustix::pipe::PipeFlags::CLOEXEC;

/// The state in a file of its own: a hook that does not read it holds nothing up.
fn input(state: &str) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create(c"state", MemfdFlags::CLOEXEC)?;
    let mut rest = state.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    Ok(file)
}

fn start(hook: &Hook, input: &OwnedFd, output: OwnedFd) -> io::Result<Spawned> {
    let path = CString::new(hook.path.as_os_str().as_bytes())?;
    let (arguments, environment) = (Strings::new(&hook.args)?, Strings::new(&hook.env)?);
    process::spawn(Spawn::default(), || {
        let error = (|| {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let null = rustix::fs::open("/dev/null", flags, Mode::empty())?;
            set_standard_streams([input.as_fd(), null.as_fd(), output.as_fd()])?;
            isula_sys::signal::reset_all()?;
            isula_sys::exec::close_on_exec_from(3)?;
            rustix::process::umask(Mode::from_raw_mode(0o022));
            Ok::<_, io::Error>(execve(&path, &arguments, &environment))
        })();
        let error = error.unwrap_or_else(|error| error);
        // The pipe takes it: it is shorter than a page.
        let text = isula_sys::errno::describe(&error);
        let _ = rustix::io::write(&output, text.as_bytes());
        127
    })
}

/// Collects what the hook writes until it ends; false when the deadline comes first.
fn watch(
    child: &Spawned,
    reader: &OwnedFd,
    deadline: Option<Instant>,
    report: &mut Vec<u8>,
) -> io::Result<bool> {
    let mut open = true;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| rustix::time::Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        // A pipe whose other end is closed would be ready for ever.
        let pipe: BorrowedFd<'_> = if open { reader.as_fd() } else { child.pidfd.as_fd() };
        let mut polled = [
            PollFd::new(&child.pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(pipe, PollFlags::IN),
        ];
        match poll(&mut polled, timeout.as_ref()) {
            Ok(0) => return Ok(false),
            Err(Errno::INTR) => continue,
            result => result?,
        };
        let [ended, readable] = polled.each_ref().map(|polled| !polled.revents().is_empty());
        if open && readable {
            let mut part = [0u8; 512];
            let count = rustix::io::read(reader, &mut part)?;
            open = count > 0;
            let room = LONGEST_REPORT.saturating_sub(report.len());
            report.extend_from_slice(part.get(..count.min(room)).unwrap_or_default());
            continue;
        }
        // A process it left behind may keep the pipe open; the hook itself has ended.
        if ended {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_valid_json_with_and_without_a_process() {
        let hooks = Hooks {
            state_head: r#"{"ociVersion":"1.2.0","id":"web","#.into(),
            state_tail: r#""bundle":"/b","annotations":{}}"#.into(),
            ..Hooks::default()
        };
        let read = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
        let running = read(state(&hooks, "running", 7));
        assert_eq!(
            (running["status"].as_str(), running["pid"].as_i64()),
            (Some("running"), Some(7))
        );
        let stopped = read(state(&hooks, "stopped", 0));
        assert_eq!((stopped["status"].as_str(), stopped.get("pid")), (Some("stopped"), None));
    }
}
