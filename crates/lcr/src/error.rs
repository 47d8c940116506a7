//! What can go wrong: while a configuration is read, and while a container is built.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::CgroupError;
use crate::seccomp::SeccompError;

/// A configuration that cannot be turned into a plan, or a plan that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field asks for what this runtime does not do.
    #[error("{field} is not supported{}", reason(.why))]
    Unsupported {
        /// The field, as a path in `config.json`.
        field: String,
        /// More about it, or empty.
        why: String,
    },
    /// A field has a value that means nothing.
    #[error("{field}: {why}")]
    Invalid {
        /// The field, as a path in `config.json`.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// A required field is absent.
    #[error("{0} is required")]
    Missing(&'static str),
    /// The seccomp profile cannot be compiled.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    /// The resources cannot be limited as asked.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A plan cannot be encoded or decoded.
    #[error("cannot read or write a container plan: {0}")]
    Encoding(postcard::Error),
    /// A plan was written by another version of the runtime.
    #[error("the container plan has version {found}, this runtime has version {expected}")]
    PlanVersion {
        /// Of the plan.
        found: u8,
        /// Of this runtime.
        expected: u8,
    },
    /// A file of the host cannot be read.
    #[error("cannot read {}: {}", path.display(), isula_sys::errno::describe(source))]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why; it is in the text.
        source: io::Error,
    },
}

fn reason(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {why}") }
}

impl Error {
    pub(crate) fn unsupported(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unsupported { field: field.into(), why: why.into() }
    }

    pub(crate) fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), why: why.into() }
    }
}

/// A step of building a container or of adding a process to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Step {
    /// Making the control group or joining it.
    Cgroup,
    /// Creating the process.
    Clone,
    /// Making or joining a namespace.
    Namespace,
    /// Mapping user and group ids.
    IdMap,
    /// Mounting the root file system.
    Rootfs,
    /// Making a mount.
    Mount,
    /// Making a device node or a link in `/dev`.
    Device,
    /// Masking a path.
    Mask,
    /// Making a path read-only.
    ReadonlyPath,
    /// Setting a kernel parameter.
    Sysctl,
    /// Setting the host name or the domain name.
    Hostname,
    /// Bringing the loopback interface up.
    Loopback,
    /// Opening the terminal.
    Terminal,
    /// Changing the root.
    Pivot,
    /// Running a hook.
    Hook,
    /// Changing to the working directory.
    WorkingDirectory,
    /// Setting a resource limit.
    Rlimit,
    /// Setting priority, scheduler, affinity or score of the process.
    Priority,
    /// Setting user, groups or capabilities.
    Identity,
    /// Setting the label of a security module.
    Label,
    /// Loading the seccomp filter.
    Seccomp,
    /// Waiting for the order to start.
    Hold,
    /// Running the program.
    Exec,
    /// Setting up the standard streams.
    Streams,
    /// Talking to the process that is being set up.
    Sync,
    /// Writing down the processes of a container.
    Checkpoint,
    /// Bringing them back.
    Restore,
}

impl Step {
    const ALL: [Self; 27] = [
        Self::Cgroup,
        Self::Clone,
        Self::Namespace,
        Self::IdMap,
        Self::Rootfs,
        Self::Mount,
        Self::Device,
        Self::Mask,
        Self::ReadonlyPath,
        Self::Sysctl,
        Self::Hostname,
        Self::Loopback,
        Self::Terminal,
        Self::Pivot,
        Self::Hook,
        Self::WorkingDirectory,
        Self::Rlimit,
        Self::Priority,
        Self::Identity,
        Self::Label,
        Self::Seccomp,
        Self::Hold,
        Self::Exec,
        Self::Streams,
        Self::Sync,
        Self::Checkpoint,
        Self::Restore,
    ];

    /// The step with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as u8 == number)
    }

    /// What was being done, to follow "cannot".
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::Cgroup => "set up the control group",
            Self::Clone => "create the process",
            Self::Namespace => "enter the namespace",
            Self::IdMap => "map user and group ids",
            Self::Rootfs => "mount the root file system",
            Self::Mount => "mount",
            Self::Device => "make the device",
            Self::Mask => "mask",
            Self::ReadonlyPath => "make read-only",
            Self::Sysctl => "set the kernel parameter",
            Self::Hostname => "set the host name",
            Self::Loopback => "bring up the loopback interface",
            Self::Terminal => "open the terminal",
            Self::Pivot => "change the root",
            Self::Hook => "run the hook",
            Self::WorkingDirectory => "change to the working directory",
            Self::Rlimit => "set the resource limit",
            Self::Priority => "set the priority",
            Self::Identity => "set user, groups and capabilities",
            Self::Label => "set the security label",
            Self::Seccomp => "load the seccomp filter",
            Self::Hold => "wait for the order to start",
            Self::Exec => "run",
            Self::Streams => "set up the standard streams",
            Self::Sync => "talk to the new process",
            Self::Checkpoint => "checkpoint",
            Self::Restore => "restore",
        }
    }
}

/// A container could not be built, or a process not added to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// What was being done.
    pub step: Step,
    /// Number of the error, as in `errno(3)`; 0 when there is none.
    pub errno: i32,
    /// To what: a path, a name; it may be empty.
    pub detail: String,
}

impl StartError {
    /// An error of a system call.
    pub fn new(step: Step, errno: impl Into<io::Error>, detail: impl Into<String>) -> Self {
        let errno = errno.into().raw_os_error().unwrap_or(0);
        Self { step, errno, detail: detail.into() }
    }

    /// Something that is wrong without an error of a system call.
    pub fn refused(step: Step, detail: impl Into<String>) -> Self {
        Self { step, errno: 0, detail: detail.into() }
    }

    /// What a shell, and Docker, would exit with: 127 for a program that was not found, 126 for
    /// one that cannot be executed, 125 for everything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        use isula_sys::errno::{EACCES, EISDIR, ENOENT, ENOEXEC, ENOTDIR, EPERM};
        match (self.step, self.errno) {
            (Step::Exec, ENOENT | ENOTDIR) => 127,
            (Step::Exec, EACCES | EPERM | ENOEXEC | EISDIR) => 126,
            _ => 125,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot {}", self.step.action())?;
        if !self.detail.is_empty() {
            write!(out, " {}", self.detail)?;
        }
        if self.errno != 0 {
            write!(out, ": {}", isula_sys::errno::text(self.errno))?;
        }
        Ok(())
    }
}

impl std::error::Error for StartError {}

/// Turns an error of a system call into a [`StartError`] that says where it happened.
pub(crate) trait OrFail<T> {
    /// Names the step and its object.
    fn or_fail(self, step: Step, detail: impl AsRef<str>) -> Result<T, StartError>;
}

impl<T, E: Into<io::Error>> OrFail<T> for Result<T, E> {
    fn or_fail(self, step: Step, detail: impl AsRef<str>) -> Result<T, StartError> {
        self.map_err(|error| StartError::new(step, error, detail.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_found_by_its_number() {
        for step in Step::ALL {
            assert_eq!(Step::from_number(step as u8), Some(step));
        }
        assert_eq!(Step::from_number(Step::ALL.len() as u8), None);
    }

    #[test]
    fn a_missing_program_is_127_and_one_that_is_not_executable_126() {
        let exec = |errno| StartError { step: Step::Exec, errno, detail: "x".into() };
        assert_eq!(exec(2).exit_code(), 127);
        assert_eq!(exec(13).exit_code(), 126);
        assert_eq!(exec(8).exit_code(), 126);
        let mount = StartError { step: Step::Mount, errno: 2, detail: "/data".into() };
        assert_eq!(mount.exit_code(), 125);
        assert_eq!(mount.to_string(), "cannot mount /data: no such file or directory");
    }
}
