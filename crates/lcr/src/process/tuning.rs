//! Limits and priorities. A limit that may not be raised is clamped to what is allowed, and said.

use std::fs;
use std::io;

use isula_sys::limits::{self, Limit, Scheduling};
use rustix::io::Errno;

use crate::error::{OrFail as _, StartError, Step};
use crate::plan::{ProcessPlan, Rlimit};

/// Writes the score of a process for the out-of-memory killer, 0 for this one.
pub(crate) fn set_oom_score(
    pid: i32,
    process: &ProcessPlan,
    warn: &dyn Fn(String),
) -> Result<(), StartError> {
    let Some(score) = process.oom_score_adj else { return Ok(()) };
    let path = match pid {
        0 => "/proc/self/oom_score_adj".to_owned(),
        pid => format!("/proc/{pid}/oom_score_adj"),
    };
    // The file of this process' own procfs: the container's is not there yet.
    match fs::write(&path, score.to_string()) {
        // Lowering it below what was inherited takes CAP_SYS_RESOURCE.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let own = fs::read_to_string(&path).or_fail(Step::Priority, "oom_score_adj")?;
            warn(format!("oom_score_adj {score} is not permitted, it stays {}", own.trim()));
            Ok(())
        }
        result => result.or_fail(Step::Priority, "oom_score_adj"),
    }
}

/// Scheduler, I/O priority and processors of the program.
pub(crate) fn set_schedule(process: &ProcessPlan) -> Result<(), StartError> {
    if let Some(priority) = process.io_priority {
        limits::set_io_priority(priority).or_fail(Step::Priority, "I/O")?;
    }
    if let Some(scheduler) = process.scheduler {
        let scheduling = Scheduling {
            policy: scheduler.policy,
            flags: scheduler.flags,
            nice: scheduler.nice,
            priority: scheduler.priority,
            deadline: [scheduler.runtime, scheduler.deadline, scheduler.period],
        };
        limits::set_scheduling(scheduling).or_fail(Step::Priority, "scheduler")?;
    }
    if !process.cpus_final.is_empty() {
        limits::set_affinity(&process.cpus_final).or_fail(Step::Priority, "affinity")?;
    }
    Ok(())
}

/// Sets the limits of this process.
pub(crate) fn set_limits(process: &ProcessPlan, warn: &dyn Fn(String)) -> Result<(), StartError> {
    for wanted in &process.rlimits {
        let limit = Limit { soft: wanted.soft, hard: wanted.hard };
        match limits::set_limit(0, wanted.resource, limit) {
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                let clamped = clamp(*wanted).or_fail(Step::Rlimit, name(wanted.resource))?;
                limits::set_limit(0, wanted.resource, clamped)
                    .or_fail(Step::Rlimit, name(wanted.resource))?;
                warn(format!(
                    "{} {} is not permitted, it is {}",
                    name(wanted.resource),
                    wanted.hard,
                    clamped.hard
                ));
            }
            result => {
                result.or_fail(Step::Rlimit, name(wanted.resource))?;
            }
        }
    }
    Ok(())
}

fn clamp(wanted: Rlimit) -> io::Result<Limit> {
    let own = limits::limit(0, wanted.resource)?;
    Ok(Limit { soft: wanted.soft.min(own.hard), hard: wanted.hard.min(own.hard) })
}

/// Raises the hard limits of a process in a user namespace, which cannot do it itself.
pub(crate) fn raise_limits(pid: i32, process: &ProcessPlan) -> Result<(), StartError> {
    for wanted in &process.rlimits {
        let own =
            limits::limit(pid, wanted.resource).or_fail(Step::Rlimit, name(wanted.resource))?;
        if wanted.hard > own.hard {
            // If this process may not either, the child clamps and says so.
            let raised = Limit { soft: own.soft, hard: wanted.hard };
            let _ = limits::set_limit(pid, wanted.resource, raised);
        }
    }
    Ok(())
}

/// Names in the order of their numbers on x86 and ARM, `getrlimit(2)`.
pub(crate) const RLIMITS: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

fn name(resource: u32) -> &'static str {
    let index = usize::try_from(resource).unwrap_or(usize::MAX);
    RLIMITS.get(index).copied().unwrap_or("resource limit")
}
