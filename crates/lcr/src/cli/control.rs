//! kill, delete, pause and resume.

use std::os::fd::AsFd;
use std::time::Duration;

use clap::Args;
use isula_sys::process;
use isula_sys::signal::Signal;
use lcr::hooks;

use super::Outcome;
use super::report::{Failure, Report};
use super::store::{Container, Status, Store, is_frozen};

/// How long processes that were killed may take to go.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Flags of kill.
#[derive(Debug, Args)]
pub(super) struct KillArgs {
    /// Send the signal to all processes of the container
    #[arg(short, long)]
    all: bool,
    /// Id of the container
    id: String,
    /// Name or number of the signal
    #[arg(default_value = "SIGTERM")]
    signal: String,
}

/// Flags of delete.
#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// Kill the container if it runs; it is no error if there is none
    #[arg(short, long)]
    force: bool,
    /// Id of the container
    id: String,
}

pub(super) fn kill(store: &Store, args: &KillArgs) -> Outcome {
    let signal: Signal = args.signal.parse().map_err(|error| Failure::text(format!("{error}")))?;
    let container = store.open(&args.id)?;
    let fail = |error| Failure::io(format!("send {signal} to container {}", args.id), error);
    if args.all {
        return kill_all(&container, signal);
    }
    let Some(init) = container.init()? else {
        return Err(Failure::text(format!("container not running: {}", args.id)));
    };
    process::send_signal(init.as_fd(), signal.number()).map_err(fail)?;
    Ok(0)
}

fn kill_all(container: &Container, signal: Signal) -> Outcome {
    let plan = container.plan()?;
    if signal == Signal::KILL {
        plan.cgroup.cgroup().kill()?;
        return Ok(0);
    }
    for pid in plan.cgroup.cgroup().pids()? {
        // One that has gone meanwhile needs no signal.
        let Ok(pidfd) = process::open(pid) else { continue };
        let _ = process::send_signal(pidfd.as_fd(), signal.number());
    }
    Ok(0)
}

pub(super) fn delete(store: &Store, args: &DeleteArgs, report: &Report) -> Outcome {
    let id = &args.id;
    let container = match store.open(id) {
        Ok(container) => container,
        Err(_) if args.force && !store.has(id) => return Ok(0),
        Err(failure) => {
            // A create that was cut short left a directory without a state.
            if args.force && store.has(id) {
                store.discard(id)?;
                return Ok(0);
            }
            return Err(failure);
        }
    };
    let status = container.status()?;
    // A program that was never run is nobody's loss.
    let may_go = args.force || matches!(status, Status::Stopped | Status::Created);
    if !may_go {
        let word = status.word();
        return Err(Failure::text(format!("cannot delete container {id}: it is {word}")));
    }
    destroy(container, report)?;
    Ok(0)
}

/// Ends all processes of a container and removes what there is of it.
pub(super) fn destroy(container: Container, report: &Report) -> Result<(), Failure> {
    let plan = container.plan()?;
    if let Some(init) = container.init()? {
        let fail = |error| Failure::io(format!("kill container {}", container.id), error);
        process::send_signal(init.as_fd(), Signal::KILL.number()).map_err(fail)?;
        let cgroup = plan.cgroup.cgroup();
        // A frozen process dies when it is thawed.
        if is_frozen(cgroup) {
            cgroup.thaw()?;
        }
        if !process::wait_at_most(init.as_fd(), Some(KILL_TIMEOUT)).map_err(fail)? {
            let text = format!("container {} did not end in time", container.id);
            return Err(Failure::text(text));
        }
    }
    // Without a pid namespace of its own others outlive the init.
    plan.cgroup.cgroup().kill()?;
    plan.cgroup.remove()?;
    container.remove()?;
    for warning in hooks::run_poststop(&plan) {
        report.warning(&warning);
    }
    Ok(())
}

pub(super) fn pause(store: &Store, id: &str) -> Outcome {
    let container = store.open(id)?;
    match container.status()? {
        Status::Running | Status::Created => {}
        status => {
            let word = status.word();
            return Err(Failure::text(format!("cannot pause container {id}: it is {word}")));
        }
    }
    container.plan()?.cgroup.cgroup().freeze()?;
    Ok(0)
}

pub(super) fn resume(store: &Store, id: &str) -> Outcome {
    let container = store.open(id)?;
    match container.status()? {
        Status::Paused => {}
        status => {
            let word = status.word();
            return Err(Failure::text(format!("cannot resume container {id}: it is {word}")));
        }
    }
    container.plan()?.cgroup.cgroup().thaw()?;
    Ok(0)
}
