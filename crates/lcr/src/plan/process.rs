//! The process of a plan: an init's, or one that is added.

use serde::{Deserialize, Serialize};

use super::{decode, encode};
use crate::cgroup::CgroupPlan;
use crate::error::Error;
use crate::seccomp::Filter;

/// All about one process of a container: its init, or one that [`crate::exec`] adds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessPlan {
    /// Program and arguments; never empty.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<String>,
    /// Working directory, absolute.
    pub cwd: String,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Size of the terminal, rows and columns.
    pub console_size: Option<(u16, u16)>,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Capability sets.
    pub capabilities: Capabilities,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// Seccomp filter.
    pub seccomp: Option<Filter>,
    /// Written to `/proc/self/oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// AppArmor profile.
    pub apparmor: Option<String>,
    /// SELinux context of the process.
    pub selinux: Option<String>,
    /// Argument of `ioprio_set(2)`.
    pub io_priority: Option<u16>,
    /// Arguments of `sched_setattr(2)`.
    pub scheduler: Option<Scheduler>,
    /// Processors while the process is set up (`execCPUAffinity.initial`), as ranges.
    pub cpus_initial: Vec<(u32, u32)>,
    /// Processors of the program (`execCPUAffinity.final`), as ranges.
    pub cpus_final: Vec<(u32, u32)>,
    /// The control group to join; only for exec, an init has its plan's.
    pub cgroup: Option<CgroupPlan>,
    /// What was asked and could not be given in full; to be shown to the user.
    pub warnings: Vec<String>,
}

impl ProcessPlan {
    /// The plan as bytes.
    ///
    /// # Errors
    /// As [`super::Plan::encode`].
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        encode(self)
    }

    /// Reads what [`ProcessPlan::encode`] wrote.
    ///
    /// # Errors
    /// As [`super::Plan::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode(bytes)
    }
}

/// Capability sets, bit n for capability n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Upper bound of what an exec can give.
    pub bounding: u64,
    /// In force.
    pub effective: u64,
    /// May be in force.
    pub permitted: u64,
    /// Kept through an exec of a file with capabilities of its own.
    pub inheritable: u64,
    /// Kept through every exec.
    pub ambient: u64,
}

/// One resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_*` number.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// `struct sched_attr`, but for its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduler {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Nice value, of the policies that have one.
    pub nice: i32,
    /// Static priority, of the real-time policies.
    pub priority: u32,
    /// Nanoseconds, `SCHED_DEADLINE`.
    pub runtime: u64,
    /// Nanoseconds, `SCHED_DEADLINE`.
    pub deadline: u64,
    /// Nanoseconds, `SCHED_DEADLINE`.
    pub period: u64,
}
