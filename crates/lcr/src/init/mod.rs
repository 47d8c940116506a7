//! Builds a container from its plan: one `clone3`, and what the parent does for the child.

pub(crate) mod child;
mod copy_up;
mod dev;
mod idmap;
mod masks;
pub(crate) mod mounts;
pub(crate) mod rootfs;
pub(crate) mod sources;
mod stage;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use isula_sys::namespace;
use isula_sys::process::{self, Spawn, Spawned};
pub use isula_sys::pty::WindowSize;
use isula_sys::signal::Signal;
use rustix::fs::{Mode, OFlags};

use crate::channel::{Channel, Message};
use crate::error::{OrFail as _, StartError, Step};
use crate::hooks;
use crate::plan::{NamespaceKind, Namespaces, Plan};
use crate::process as setup;
use sources::Sources;

/// Standard streams of a process.
#[derive(Debug)]
pub enum Stdio {
    /// A descriptor for each.
    Streams {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// A new terminal of the container's devpts, with a size other than the plan's if one is given.
    Terminal(Option<WindowSize>),
}

impl Stdio {
    /// The descriptors in it.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Streams { stdin, stdout, stderr } => {
                vec![stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]
            }
            Self::Terminal(_) => Vec::new(),
        }
    }
}

/// Closes in a new process what is its creator's: it shall hold nothing up that the creator has
/// locked or will close, not even while it waits for the order to start. `preserve` descriptors
/// after 2 stay open.
pub(crate) fn close_creators(keep: &[BorrowedFd<'_>], preserve: u32) -> Result<(), StartError> {
    let first = 3u32.saturating_add(preserve);
    isula_sys::exec::close_from_but(first, keep).or_fail(Step::Clone, "")
}

/// A process that was started.
#[derive(Debug)]
pub struct Init {
    /// Its id in the caller's pid namespace.
    pub pid: i32,
    /// A descriptor that refers to it for ever; it is a child of the caller.
    pub pidfd: OwnedFd,
    /// The master of its terminal.
    pub console: Option<OwnedFd>,
    /// What could not be done in full, beside the plan's own warnings.
    pub warnings: Vec<String>,
}

/// Builds the container and starts its program; with [`Plan::hold`], up to the point where the
/// program waits for the order to start.
///
/// The control group is made first, unless it exists. The caller must have one thread.
///
/// # Errors
/// Names the step. Nothing is left: no process, no control group, no mount.
pub fn spawn(plan: &Plan, stdio: Stdio) -> Result<Init, StartError> {
    check_stdio(plan.process.terminal, &stdio)?;
    plan.cgroup.create().map_err(|error| StartError::refused(Step::Cgroup, error.to_string()))?;
    let result = build(plan, stdio);
    if result.is_err() {
        // The error that is told is the one that came first.
        let _ = plan.cgroup.remove();
    }
    let mut init = result?;
    if plan.hold.is_none() {
        init.warnings.append(&mut hooks::run_poststart(plan, init.pid));
    }
    Ok(init)
}

pub(crate) fn check_stdio(terminal: bool, stdio: &Stdio) -> Result<(), StartError> {
    match (terminal, stdio) {
        (true, Stdio::Terminal(_)) | (false, Stdio::Streams { .. }) => Ok(()),
        (true, _) => Err(StartError::refused(Step::Terminal, "that the plan wants: streams given")),
        (false, _) => Err(StartError::refused(Step::Terminal, "that the plan does not want")),
    }
}

fn build(plan: &Plan, stdio: Stdio) -> Result<Init, StartError> {
    let (ours, theirs) = Channel::pair().or_fail(Step::Sync, "")?;
    let sources =
        sources::taken_by_parent(plan).then(|| Sources::take_for_child(plan)).transpose()?;
    let cgroup = open_cgroup(&plan.cgroup)?;
    let staged = stage::is_needed(&plan.namespaces);
    let around = Around::enter(&plan.namespaces, staged)?;
    let namespaces = if staged { 0 } else { child::new_namespaces(&plan.namespaces) };
    let request =
        Spawn { namespaces, cgroup: cgroup.as_ref().map(AsFd::as_fd), ..Spawn::default() };
    let start =
        child::Start { plan, stdio, channel: theirs, sources, born_in_cgroup: cgroup.is_some() };
    let spawned =
        process::spawn(request, || if staged { stage::run(start) } else { child::run(start) });
    around.leave()?;
    let spawned = spawned.or_fail(Step::Clone, "")?;
    Supervisor { plan, channel: ours, staged }.see_through(spawned)
}

/// The group to be born in, with version 2; where that is not possible the child joins itself.
pub(crate) fn open_cgroup(
    cgroup: &crate::cgroup::CgroupPlan,
) -> Result<Option<OwnedFd>, StartError> {
    cgroup.open_into().map_err(|error| StartError::refused(Step::Cgroup, error.to_string()))
}

/// Namespaces that only children of a process enter: it changes its own setting for the time of
/// one clone.
pub(crate) struct Around(Vec<(OwnedFd, u32)>);

impl Around {
    fn enter(namespaces: &Namespaces, staged: bool) -> Result<Self, StartError> {
        let mut around = Self(Vec::new());
        if let Some(path) = namespaces.joined(NamespaceKind::Pid).filter(|_| !staged) {
            let text = path.display().to_string();
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let target =
                rustix::fs::open(path, flags, Mode::empty()).or_fail(Step::Namespace, &text)?;
            around.remember("pid", NamespaceKind::Pid)?;
            namespace::join(target.as_fd(), NamespaceKind::Pid.bit())
                .or_fail(Step::Namespace, &text)?;
        }
        if namespaces.makes(NamespaceKind::Time) {
            around.remember("time_for_children", NamespaceKind::Time)?;
            set_time(namespaces).or_fail(Step::Namespace, "time")?;
        }
        Ok(around)
    }

    /// Enters the pid namespace of a process for the time of one clone.
    pub(crate) fn enter_pid_of(pidfd: &OwnedFd) -> Result<Self, StartError> {
        let mut around = Self(Vec::new());
        around.remember("pid", NamespaceKind::Pid)?;
        namespace::join(pidfd.as_fd(), NamespaceKind::Pid.bit()).or_fail(Step::Namespace, "pid")?;
        Ok(around)
    }

    fn remember(&mut self, file: &str, kind: NamespaceKind) -> Result<(), StartError> {
        self.0.push((namespace::own(file).or_fail(Step::Namespace, file)?, kind.bit()));
        Ok(())
    }

    /// Goes back to where this process was.
    pub(crate) fn leave(mut self) -> Result<(), StartError> {
        self.restore().or_fail(Step::Namespace, "of the runtime")
    }

    fn restore(&mut self) -> io::Result<()> {
        self.0.drain(..).try_for_each(|(own, kind)| namespace::join(own.as_fd(), kind))
    }
}

impl Drop for Around {
    fn drop(&mut self) {
        // Only after another error, which is the one that is told.
        let _ = self.restore();
    }
}

fn set_time(namespaces: &Namespaces) -> io::Result<()> {
    namespace::unshare(NamespaceKind::Time.bit())?;
    let lines: String = namespaces
        .time_offsets
        .iter()
        .map(|offset| format!("{} {} {}\n", offset.clock, offset.seconds, offset.nanoseconds))
        .collect();
    if lines.is_empty() { Ok(()) } else { namespace::set_time_offsets(&lines) }
}

/// The parent's side while the child sets itself up.
pub(crate) struct Supervisor<'a> {
    plan: &'a Plan,
    channel: Channel,
    staged: bool,
}

impl Supervisor<'_> {
    fn see_through(self, spawned: Spawned) -> Result<Init, StartError> {
        let mut init =
            Init { pid: spawned.pid, pidfd: spawned.pidfd, console: None, warnings: Vec::new() };
        match self.follow(&mut init) {
            Ok(()) => Ok(init),
            Err(error) => {
                give_up(&init);
                Err(error)
            }
        }
    }

    fn follow(&self, init: &mut Init) -> Result<(), StartError> {
        let plan = self.plan;
        if !self.staged && plan.namespaces.separates(NamespaceKind::User) {
            self.help(init)?;
        }
        let mut executing = false;
        while let Some(message) = self.channel.receive().or_fail(Step::Sync, "")? {
            match message {
                Message::Failed(error) => return Err(error),
                Message::Warning(warning) => init.warnings.push(warning),
                Message::Console(master) => init.console = Some(master),
                Message::Pid(pid) => {
                    self.adopt(init, pid)?;
                    self.help(init)?;
                }
                Message::Hooks => {
                    let state = hooks::state(&plan.hooks, "creating", init.pid);
                    hooks::run(&plan.hooks.prestart, &state)?;
                    hooks::run(&plan.hooks.create_runtime, &state)?;
                    self.channel.go().or_fail(Step::Sync, "")?;
                }
                Message::Held => return Ok(()),
                Message::Executing => executing = true,
            }
        }
        if executing {
            Ok(())
        } else {
            Err(StartError::refused(Step::Sync, "which ended while it was being set up"))
        }
    }

    /// The stage has made the init as our child, and goes.
    fn adopt(&self, init: &mut Init, pid: i32) -> Result<(), StartError> {
        let pidfd = process::open(pid).or_fail(Step::Clone, "")?;
        let stage = std::mem::replace(&mut init.pidfd, pidfd);
        init.pid = pid;
        process::wait(stage.as_fd()).or_fail(Step::Clone, "")?;
        Ok(())
    }

    /// What a process in a user namespace cannot do for itself.
    fn help(&self, init: &mut Init) -> Result<(), StartError> {
        let namespaces = &self.plan.namespaces;
        if namespaces.makes(NamespaceKind::User) {
            let uids = idmap::lines(&namespaces.uid_mappings);
            let gids = idmap::lines(&namespaces.gid_mappings);
            namespace::map_ids(init.pid, &uids, &gids).or_fail(Step::IdMap, "")?;
        }
        let warnings = std::cell::RefCell::new(Vec::new());
        let warn = |text: String| warnings.borrow_mut().push(text);
        setup::set_oom_score(init.pid, &self.plan.process, &warn)?;
        setup::raise_limits(init.pid, &self.plan.process)?;
        init.warnings.append(&mut warnings.into_inner());
        self.channel.go().or_fail(Step::Sync, "")
    }
}

/// Ends a process that could not be set up, and reaps it.
pub(crate) fn give_up(init: &Init) {
    // It may have ended already; either way nothing of it is left after the wait.
    let _ = process::send_signal(init.pidfd.as_fd(), Signal::KILL.number());
    let _ = process::wait(init.pidfd.as_fd());
}

/// Follows a process that joins a container: no hooks, no helping.
pub(crate) fn follow_exec(channel: &Channel, spawned: Spawned) -> Result<Init, StartError> {
    let mut init =
        Init { pid: spawned.pid, pidfd: spawned.pidfd, console: None, warnings: Vec::new() };
    let mut executing = false;
    let mut follow = || -> Result<(), StartError> {
        while let Some(message) = channel.receive().or_fail(Step::Sync, "")? {
            match message {
                Message::Failed(error) => return Err(error),
                Message::Warning(warning) => init.warnings.push(warning),
                Message::Console(master) => init.console = Some(master),
                Message::Executing => executing = true,
                Message::Pid(_) | Message::Hooks | Message::Held => {}
            }
        }
        Ok(())
    };
    let result = follow();
    let ended = || StartError::refused(Step::Sync, "which ended while it was being set up");
    match result.and_then(|()| executing.then_some(()).ok_or_else(ended)) {
        Ok(()) => Ok(init),
        Err(error) => {
            give_up(&init);
            Err(error)
        }
    }
}
