//! Adds a process to a container that runs.

use std::os::fd::{AsFd, OwnedFd};

use isula_sys::process::{self, Spawn};
use isula_sys::{limits, namespace};
use rustix::fs::{Mode, OFlags};

use crate::channel::{Channel, Message};
use crate::error::{OrFail as _, StartError, Step};
use crate::init::{self, Around, Init, Stdio, child};
use crate::plan::{NamespaceKind, ProcessPlan};
use crate::process::{LabelFiles, Setup, Streams, become_root_inside, make_cwd, set_oom_score};
use crate::root::Root;

/// In the order of their use: the kernel sorts the user namespace out itself.
const KINDS: [NamespaceKind; 8] = [
    NamespaceKind::User,
    NamespaceKind::Ipc,
    NamespaceKind::Uts,
    NamespaceKind::Network,
    NamespaceKind::Pid,
    NamespaceKind::Cgroup,
    NamespaceKind::Time,
    NamespaceKind::Mount,
];

/// Starts a process in the namespaces, root and control group of a container's init.
///
/// It is a child of the caller, which must have one thread. `pid` must be the id that `pidfd`
/// refers to: whoever holds the one for its own child knows the other.
///
/// # Errors
/// Names the step; `ESRCH` when the init has ended. No process is left.
pub fn exec(
    pidfd: &OwnedFd,
    pid: i32,
    process: &ProcessPlan,
    stdio: Stdio,
) -> Result<Init, StartError> {
    exec_preserving(pidfd, pid, process, (stdio, 0))
}

/// As [`exec`]; the program inherits that many descriptors after 2 from the caller.
///
/// # Errors
/// As [`exec`].
pub fn exec_preserving(
    pidfd: &OwnedFd,
    pid: i32,
    plan: &ProcessPlan,
    (stdio, preserve_fds): (Stdio, u32),
) -> Result<Init, StartError> {
    init::check_stdio(plan.terminal, &stdio)?;
    let (ours, theirs) = Channel::pair().or_fail(Step::Sync, "")?;
    let joins = joined_kinds(pid)?;
    let root = open_root(pid)?;
    // All that was found by the number is of the process that the descriptor refers to, if that
    // one still lives.
    process::send_signal(pidfd.as_fd(), 0).or_fail(Step::Namespace, "of the container")?;
    let cgroup = match &plan.cgroup {
        Some(cgroup) => init::open_cgroup(cgroup)?,
        None => None,
    };
    let around =
        (joins & NamespaceKind::Pid.bit() != 0).then(|| Around::enter_pid_of(pidfd)).transpose()?;
    let request = Spawn { cgroup: cgroup.as_ref().map(AsFd::as_fd), ..Spawn::default() };
    let start = Start {
        pidfd,
        joins,
        root,
        plan,
        stdio,
        channel: theirs,
        born_in_cgroup: cgroup.is_some(),
        preserve_fds,
    };
    let spawned = process::spawn(request, || start.run());
    if let Some(around) = around {
        around.leave()?;
    }
    init::follow_exec(&ours, spawned.or_fail(Step::Clone, "")?)
}

/// `CLONE_NEW*` bits of the namespaces of a process that are not this process' own.
fn joined_kinds(pid: i32) -> Result<u32, StartError> {
    let mut joins = 0;
    for kind in KINDS {
        if !namespace::shared_with(pid, kind.file()).or_fail(Step::Namespace, kind.file())? {
            joins |= kind.bit();
        }
    }
    Ok(joins)
}

fn open_root(pid: i32) -> Result<OwnedFd, StartError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let path = format!("/proc/{pid}/root");
    rustix::fs::open(path, flags, Mode::empty()).or_fail(Step::Pivot, "of the container")
}

struct Start<'a> {
    pidfd: &'a OwnedFd,
    joins: u32,
    root: OwnedFd,
    plan: &'a ProcessPlan,
    stdio: Stdio,
    channel: Channel,
    born_in_cgroup: bool,
    preserve_fds: u32,
}

impl Start<'_> {
    fn run(self) -> u8 {
        let mut keep = self.stdio.descriptors();
        keep.extend([self.channel.as_fd(), self.pidfd.as_fd(), self.root.as_fd()]);
        if init::close_creators(&keep, self.preserve_fds).is_err() {
            return 125;
        }
        let Ok(channel) = self.channel.duplicate() else { return 125 };
        let error = match self.build() {
            Ok(never) => match never {},
            Err(error) => error,
        };
        let code = error.exit_code();
        let _ = channel.send(&Message::Failed(error));
        code
    }

    fn build(self) -> Result<std::convert::Infallible, StartError> {
        let plan = self.plan;
        // From the moment that the container can see this process, it is out of its reach.
        process::forbid_tracing().or_fail(Step::Clone, "")?;
        rustix::process::umask(Mode::empty());
        self.enter_cgroup()?;
        let labels = LabelFiles::open(plan)?;
        let warn = |text| {
            let _ = self.channel.send(&Message::Warning(text));
        };
        set_oom_score(0, plan, &warn)?;
        let joins = self.joins & !NamespaceKind::Pid.bit();
        if joins != 0 {
            namespace::join(self.pidfd.as_fd(), joins).or_fail(Step::Namespace, "")?;
        }
        if joins & NamespaceKind::User.bit() != 0 {
            become_root_inside()?;
        }
        // The root of the mount namespace is the container's unless that has no pivot.
        rustix::process::fchdir(&self.root).or_fail(Step::Pivot, "")?;
        rustix::process::chroot(c".").or_fail(Step::Pivot, "")?;
        drop(self.root);
        let root = Root::own().or_fail(Step::Pivot, "")?;
        let streams = match self.stdio {
            Stdio::Streams { stdin, stdout, stderr } => Streams::Three([stdin, stdout, stderr]),
            Stdio::Terminal(size) => Streams::Terminal(
                child::open_terminal(plan, size, &root, &self.channel)
                    .or_fail(Step::Terminal, "")?,
            ),
        };
        make_cwd(plan, &root)?;
        let setup = Setup {
            process: plan,
            channel: &self.channel,
            streams,
            labels,
            preserve_fds: self.preserve_fds,
        };
        Err(setup.prepare(root)?.run(true))
    }

    fn enter_cgroup(&self) -> Result<(), StartError> {
        if !self.plan.cpus_initial.is_empty() {
            limits::set_affinity(&self.plan.cpus_initial).or_fail(Step::Priority, "affinity")?;
        }
        match &self.plan.cgroup {
            Some(cgroup) if !self.born_in_cgroup => cgroup
                .join_self()
                .map_err(|error| StartError::refused(Step::Cgroup, error.to_string())),
            _ => Ok(()),
        }
    }
}
