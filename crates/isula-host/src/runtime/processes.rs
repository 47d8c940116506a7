//! Running containers: their processes, signals, use of resources, and files.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use isula_core::error::PortError;
use isula_core::id::ContainerId;
use isula_core::ports::{Attach, ExecStarted, ProcessId, Result, Session, Usage};
use isula_core::signal::Signal;
use isula_sys::beneath::{self, Beneath};
use isulad_shim::protocol::{Exec, Message, Order, Request};
use lcr::cgroup::{Cgroup, CgroupError, CgroupPlan, Controller, Version};
use oci_spec::runtime::{LinuxResources, Process};

use super::compile::{ExecFilter, refused};
use super::directory::Named;
use super::keeper::Keeper;
use super::start::not_running;
use super::{Runtimes, blocking, failure, link, session};

impl Runtimes {
    /// The container, unless it is not running.
    pub(super) fn running(&self, id: &ContainerId) -> Result<Arc<Keeper>> {
        let keeper = self.find(id).filter(|keeper| keeper.ended().is_none());
        keeper.ok_or_else(|| not_running(id))
    }

    pub(super) async fn kill_container(
        &self,
        id: &ContainerId,
        signal: Signal,
        all: bool,
    ) -> Result<()> {
        let Some(keeper) = self.find(id) else { return Err(not_running(id)) };
        if keeper.ended().is_some() {
            return Ok(());
        }
        if keeper.external {
            let order = Order::Kill { signal: signal.number(), all };
            return self.order(&keeper, order).await;
        }
        self.roots.hold(id, keeper.init(), signal);
        if !all {
            keeper.init().signal(signal.number());
            return Ok(());
        }
        if signal == Signal::KILL && leads_namespace(keeper.init()) {
            // The kernel ends all of a pid namespace with its first process.
            keeper.init().kill();
            return Ok(());
        }
        let cgroup = keeper.cgroup()?;
        blocking(move || {
            if signal == Signal::KILL {
                cgroup.kill().map_err(|error| cannot(error, "kill the container"))
            } else {
                signal_all(&cgroup, signal)
            }
        })
        .await
    }

    async fn order(&self, keeper: &Keeper, order: Order) -> Result<()> {
        let request = Request::Order(order);
        match keeper.link.ask(&request, &[], self.patience).await {
            Ok(Message::Done) => Ok(()),
            // It ended meanwhile: what was to be signalled is gone.
            _ if keeper.ended().is_some() => Ok(()),
            Ok(other) => Err(failure::unexpected(other)),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn freeze(&self, id: &ContainerId, frozen: bool) -> Result<()> {
        let keeper = self.running(id)?;
        if keeper.external {
            let order = if frozen { Order::Pause } else { Order::Resume };
            return self.order(&keeper, order).await;
        }
        let cgroup = keeper.cgroup()?;
        blocking(move || {
            if frozen {
                cgroup.freeze().map_err(|error| cannot(error, "pause the container"))
            } else {
                cgroup.thaw().map_err(|error| cannot(error, "resume the container"))
            }
        })
        .await
    }

    pub(super) async fn exec_process(
        &self,
        id: &ContainerId,
        name: &ProcessId,
        process: &Process,
        attach: Option<Attach>,
    ) -> Result<ExecStarted> {
        let keeper = self.running(id)?;
        let payload = self.exec_payload(&keeper, process)?;
        let opened = attach.map(|_| session::open()).transpose();
        let opened = opened.map_err(|error| PortError::io("cannot open a session", error))?;
        let (ours, theirs) = opened.unzip();
        let request = Request::Exec(Exec {
            id: name.0.clone(),
            terminal: process.terminal().unwrap_or(false),
            attach: attach.map(session::streams),
        });
        let descriptor = theirs.as_ref().map(AsFd::as_fd);
        let asked =
            keeper.link.ask_exec(&request, &payload, descriptor.as_slice(), self.patience).await;
        match asked {
            Ok((Message::ExecStarted { pid }, exit)) => Ok(ExecStarted {
                pid,
                session: ours,
                exit: Box::pin(async move { exit.await.map_err(|_| link::gone()) }),
            }),
            Ok((other, _)) => Err(failure::unexpected(other)),
            Err(_) if keeper.ended().is_some() => Err(not_running(id)),
            Err(error) => Err(error),
        }
    }

    fn exec_payload(&self, keeper: &Keeper, process: &Process) -> Result<Vec<u8>> {
        if keeper.external {
            let failed = |error| {
                let kind = isula_core::error::ErrorKind::Internal;
                PortError::with_source(kind, "cannot write the process", error)
            };
            return serde_json::to_vec(process).map_err(failed);
        }
        let mut plan =
            lcr::compile_process(process, None, None).map_err(|error| refused(&error))?;
        plan.seccomp = match &keeper.filter {
            ExecFilter::Known(filter) => filter.as_deref().cloned(),
            ExecFilter::Lost => {
                let kind = isula_core::error::ErrorKind::Internal;
                let text = "cannot add a process: the container's config.json can't be read, and \
                            without it the seccomp profile is not known";
                return Err(PortError::new(kind, text));
            }
        };
        let cgroup = keeper.cgroup()?;
        let nothing = LinuxResources::default();
        let join = CgroupPlan::new(&self.compiler.hierarchies, cgroup.path(), &nothing);
        plan.cgroup = Some(join.map_err(|error| cannot(error, "find the control group"))?);
        plan.encode().map_err(|error| refused(&error))
    }

    pub(super) async fn attach_client(&self, id: &ContainerId, attach: Attach) -> Result<Session> {
        let keeper = self.running(id)?;
        let (ours, theirs) =
            session::open().map_err(|error| PortError::io("cannot open a session", error))?;
        let request = Request::Attach(session::streams(attach));
        match keeper.link.ask(&request, &[theirs.as_fd()], self.patience).await? {
            Message::Done => Ok(ours),
            other => Err(failure::unexpected(other)),
        }
    }

    pub(super) async fn read_files(
        &self,
        id: &ContainerId,
        paths: Vec<&'static str>,
        limit: u64,
    ) -> Result<Vec<Option<Vec<u8>>>> {
        let keeper = self.running(id)?;
        let (init, id) = (keeper.init(), id.clone());
        blocking(move || {
            let root = Beneath::open(Path::new(&format!("/proc/{}/root", init.pid)));
            // The number is of the container's process only if that one still lives after it.
            let (Ok(root), true) = (root, init.lives()) else { return Err(not_running(&id)) };
            let read = |path: &&str| {
                read_beneath(&root, path, limit).map_err(|error| {
                    PortError::io(format!("cannot read {path} of the container"), error)
                })
            };
            paths.iter().map(read).collect()
        })
        .await
    }

    pub(super) async fn usage_of(&self, id: &ContainerId) -> Result<Usage> {
        let cgroup = self.running(id)?.cgroup()?;
        blocking(move || crate::usage::usage(&cgroup)).await
    }

    pub(super) async fn pids_of(&self, id: &ContainerId) -> Result<Vec<i32>> {
        let cgroup = self.running(id)?.cgroup()?;
        blocking(move || cgroup.pids().map_err(|error| cannot(error, "list the processes"))).await
    }
}

/// Whether a process is the first of a pid namespace that is not ours.
fn leads_namespace(init: Named) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", init.pid)) else {
        return false;
    };
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let numbers = numbers.unwrap_or_default().split_ascii_whitespace().skip(1);
    // The number is of the container's process only if that one still lives after it.
    numbers.last() == Some("1") && init.lives()
}

/// Whether all processes of a control group are frozen, or about to be.
pub(super) fn is_frozen(cgroup: &Cgroup) -> bool {
    let Some(directory) = cgroup
        .directory(Controller::Freezer)
        .or_else(|| cgroup.directories().next().map(|(_, directory)| directory))
    else {
        return false;
    };
    let state = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap_or_default();
    match cgroup.version() {
        Version::V1 => matches!(state("freezer.state").trim(), "FROZEN" | "FREEZING"),
        Version::V2 => state("cgroup.freeze").trim() == "1",
    }
}

/// Signals every process of a control group.
fn signal_all(cgroup: &Cgroup, signal: Signal) -> Result<()> {
    let list = || cgroup.pids().map_err(|error| cannot(error, "list the processes"));
    let opened: Vec<_> = list()?
        .into_iter()
        .filter_map(|pid| Some((pid, isula_sys::process::open(pid).ok()?)))
        .collect();
    // A number that is still in the group now means the process that was opened.
    let still = list()?;
    for (pid, pidfd) in &opened {
        if still.contains(pid) {
            let _ = isula_sys::process::send_signal(pidfd.as_fd(), signal.number());
        }
    }
    Ok(())
}

/// Reads a regular file; nothing else is opened, as opening a device may do something.
fn read_beneath(root: &Beneath, path: &str, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    use std::io::ErrorKind;
    let path = path.trim_start_matches('/');
    // Links at the end are followed, too: `/etc/passwd` may be one.
    let handle = match follow(root, path.as_bytes()) {
        Ok(handle) => handle,
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
                || error.raw_os_error() == Some(beneath::ELOOP) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let stat = beneath::stat_fd(&handle)?;
    if !beneath::kind(&stat).is_file() || u64::try_from(stat.st_size).unwrap_or(0) > limit {
        return Ok(None);
    }
    let file = isula_sys::mount::descriptor_path(handle.as_fd());
    let file = std::fs::File::open(std::ffi::OsStr::new(&*file.to_string_lossy()))?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

fn follow(root: &Beneath, path: &[u8]) -> std::io::Result<std::os::fd::OwnedFd> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(root.root(), path, flags, Mode::empty(), resolve) {
            // Something was renamed while the kernel looked at `..`.
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// An error of control groups.
pub(super) fn cannot(error: CgroupError, what: &str) -> PortError {
    let kind = isula_core::error::ErrorKind::Internal;
    PortError::with_source(kind, format!("cannot {what}"), error)
}
