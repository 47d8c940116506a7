//! The child's way from the clone to the program, in the order that it goes.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};

use isula_sys::pty::{self, Pty, WindowSize};
use isula_sys::{limits, namespace, process};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::sources::{self, Sources};
use super::{Stdio, dev, masks, mounts, rootfs, stage};
use crate::channel::{Channel, Message};
use crate::error::{OrFail as _, StartError, Step};
use crate::hooks;
use crate::plan::{NamespaceKind, Namespaces, Plan, ProcessPlan};
use crate::process::{LabelFiles, Setup, Streams, become_root_inside, make_cwd, set_oom_score};
use crate::root::Root;

/// What a child is given.
pub(crate) struct Start<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) stdio: Stdio,
    pub(crate) channel: Channel,
    pub(crate) sources: Option<Sources>,
    pub(crate) born_in_cgroup: bool,
}

impl Start<'_> {
    fn close_creators(&self) -> Result<(), StartError> {
        let mut keep = self.stdio.descriptors();
        keep.push(self.channel.as_fd());
        keep.extend(self.sources.iter().flat_map(Sources::descriptors));
        super::close_creators(&keep, self.plan.preserve_fds)
    }
}

/// `CLONE_NEW*` bits that the clone of the init takes. The others come later: a cgroup namespace
/// shows the group its process is in when it is made, and clocks are set before the clone.
pub(crate) fn new_namespaces(namespaces: &Namespaces) -> u32 {
    namespaces.new & !(NamespaceKind::Cgroup.bit() | NamespaceKind::Time.bit())
}

/// The whole life of a child up to its program.
pub(crate) fn run(start: Start<'_>) -> u8 {
    if start.close_creators().is_err() {
        return 125;
    }
    let Ok(channel) = start.channel.duplicate() else { return 125 };
    let mut held = false;
    let error = match build(start, &mut held) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    if held {
        // Nobody reads the channel any more; the standard error is the program's by now.
        let text = format!("lcr: {error}\n");
        let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
    }
    let code = error.exit_code();
    let _ = channel.send(&Message::Failed(error));
    code
}

fn build(start: Start<'_>, held: &mut bool) -> Result<std::convert::Infallible, StartError> {
    let plan = start.plan;
    // What is still open of the host's is out of reach of the container from the first moment.
    process::forbid_tracing().or_fail(Step::Clone, "")?;
    rustix::process::umask(Mode::empty());
    if plan.namespaces.separates(NamespaceKind::User) {
        start.channel.wait().or_fail(Step::Sync, "")?;
    }
    enter(&start)?;
    let labels = LabelFiles::open(&plan.process)?;
    let hold = plan.hold.as_deref().map(open_hold).transpose()?;
    let Start { stdio, channel, sources, .. } = start;
    let sources = match sources {
        Some(sources) => {
            sources::make_all_private()?;
            sources
        }
        None => Sources::take(plan)?,
    };
    let root = Root::new(rootfs::attach(plan, &sources.rootfs)?);
    if plan.namespaces.separates(NamespaceKind::User) {
        become_root_inside()?;
    }
    set_up_namespaces(plan)?;
    mounts::make_all(plan, &root, &sources)?;
    dev::populate(plan, &root, &sources)?;
    let streams = open_streams(&plan.process, stdio, &root, &channel)?;
    if let Streams::Terminal(slave) = &streams {
        dev::console(&root, slave.as_fd()).or_fail(Step::Terminal, "/dev/console")?;
    }
    call_hooks_before_pivot(plan, &channel)?;
    masks::readonly(plan, &root)?;
    masks::mask(plan, &root, &sources.null)?;
    mounts::finish(plan, &root)?;
    pivot(plan, root, sources)?;
    let root = Root::own().or_fail(Step::Pivot, "")?;
    make_cwd(&plan.process, &root)?;
    rootfs::finish(plan)?;
    let setup = Setup {
        process: &plan.process,
        channel: &channel,
        streams,
        labels,
        preserve_fds: plan.preserve_fds,
    };
    let ready = setup.prepare(root)?;
    if let Some(hold) = hold {
        channel.send(&Message::Held).or_fail(Step::Sync, "")?;
        *held = true;
        wait_for_order(hold).or_fail(Step::Hold, "")?;
    }
    let state =
        hooks::state(&plan.hooks, "created", rustix::process::getpid().as_raw_nonzero().get());
    hooks::run(&plan.hooks.start_container, &state)?;
    Err(ready.run(!*held))
}

/// Group, namespaces and what is set through the host's procfs.
fn enter(start: &Start<'_>) -> Result<(), StartError> {
    let plan = start.plan;
    let namespaces = &plan.namespaces;
    if !stage::is_needed(namespaces) {
        set_initial_affinity(plan)?;
        join_cgroup(start)?;
        for (kind, file, text) in open_joined(namespaces)? {
            // The parent has entered it for us: it is only entered by being born.
            if kind != NamespaceKind::Pid {
                namespace::join(file.as_fd(), kind.bit()).or_fail(Step::Namespace, text)?;
            }
        }
    }
    if namespaces.makes(NamespaceKind::Cgroup) {
        namespace::unshare(NamespaceKind::Cgroup.bit()).or_fail(Step::Namespace, "cgroup")?;
    }
    if !namespaces.separates(NamespaceKind::User) {
        let warn = |text| {
            let _ = start.channel.send(&Message::Warning(text));
        };
        set_oom_score(0, &plan.process, &warn)?;
    }
    if let Some(personality) = plan.personality {
        limits::set_personality(personality).or_fail(Step::Priority, "personality")?;
    }
    Ok(())
}

pub(crate) fn set_initial_affinity(plan: &Plan) -> Result<(), StartError> {
    let cpus = &plan.process.cpus_initial;
    if cpus.is_empty() {
        return Ok(());
    }
    limits::set_affinity(cpus).or_fail(Step::Priority, "affinity")
}

pub(crate) fn join_cgroup(start: &Start<'_>) -> Result<(), StartError> {
    if start.born_in_cgroup {
        return Ok(());
    }
    let joined = start.plan.cgroup.join_self();
    joined.map_err(|error| StartError::refused(Step::Cgroup, error.to_string()))
}

/// Files of the namespaces to join.
pub(crate) fn open_joined(
    namespaces: &Namespaces,
) -> Result<Vec<(NamespaceKind, OwnedFd, String)>, StartError> {
    namespaces
        .join
        .iter()
        .map(|(kind, path)| {
            let text = path.display().to_string();
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let file =
                rustix::fs::open(path, flags, Mode::empty()).or_fail(Step::Namespace, &text)?;
            Ok((*kind, file, text))
        })
        .collect()
}

/// Network, names and kernel parameters of the namespaces this process is in by now.
pub(crate) fn set_up_namespaces(plan: &Plan) -> Result<(), StartError> {
    if plan.namespaces.makes(NamespaceKind::Network) {
        namespace::loopback_up().or_fail(Step::Loopback, "")?;
    }
    if let Some(name) = &plan.hostname {
        rustix::system::sethostname(name.as_bytes()).or_fail(Step::Hostname, name)?;
    }
    if let Some(name) = &plan.domainname {
        rustix::system::setdomainname(name.as_bytes()).or_fail(Step::Hostname, name)?;
    }
    for (file, value) in &plan.sysctls {
        write_sysctl(file, value).or_fail(Step::Sysctl, file)?;
    }
    Ok(())
}

/// Through the procfs of the host, which shows the parameters of the namespaces of whoever looks:
/// the container's own is not trusted.
fn write_sysctl(file: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/{file}");
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    if !crate::root::is_in_proc(file.as_fd())? {
        return Err(Errno::XDEV.into());
    }
    File::from(file).write_all(value.as_bytes())
}

fn open_streams(
    process: &ProcessPlan,
    stdio: Stdio,
    root: &Root,
    channel: &Channel,
) -> Result<Streams, StartError> {
    let size = match stdio {
        Stdio::Streams { stdin, stdout, stderr } => {
            return Ok(Streams::Three([stdin, stdout, stderr]));
        }
        Stdio::Terminal(size) => size,
    };
    let slave = open_terminal(process, size, root, channel).or_fail(Step::Terminal, "")?;
    Ok(Streams::Terminal(slave))
}

/// Opens a terminal of the container's devpts and sends its master to the parent.
pub(crate) fn open_terminal(
    process: &ProcessPlan,
    size: Option<WindowSize>,
    root: &Root,
    channel: &Channel,
) -> io::Result<OwnedFd> {
    let devpts = root.open_straight("/dev/pts", OFlags::PATH | OFlags::DIRECTORY)?;
    let pty = Pty::open(devpts.as_fd())?;
    let planned = process.console_size.map(|(rows, columns)| WindowSize { rows, columns });
    if let Some(size) = size.or(planned) {
        pty::resize(pty.master.as_fd(), size)?;
    }
    channel.send(&Message::Console(pty.master))?;
    Ok(pty.slave)
}

fn call_hooks_before_pivot(plan: &Plan, channel: &Channel) -> Result<(), StartError> {
    let hooks = &plan.hooks;
    if !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty() {
        channel.send(&Message::Hooks).or_fail(Step::Sync, "")?;
        channel.wait().or_fail(Step::Sync, "")?;
    }
    let state = hooks::state(hooks, "creating", rustix::process::getpid().as_raw_nonzero().get());
    hooks::run(&hooks.create_container, &state)
}

/// Everything of the host's that was still open goes with the old root.
fn pivot(plan: &Plan, root: Root, sources: Sources) -> Result<(), StartError> {
    drop(sources);
    rootfs::pivot(root.as_fd(), plan.no_pivot).or_fail(Step::Pivot, "")
}

/// Opened for both directions, so that neither this nor a writer ever waits for the other to open.
fn open_hold(path: &std::path::Path) -> Result<File, StartError> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let text = path.display().to_string();
    let fifo = rustix::fs::open(path, flags, Mode::empty()).or_fail(Step::Hold, text)?;
    Ok(File::from(fifo))
}

fn wait_for_order(hold: File) -> io::Result<()> {
    let mut order = [0u8; 1];
    loop {
        match rustix::io::read(&hold, &mut order) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
