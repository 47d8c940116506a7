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
use crate::process::{LabelFiles, Setup, Streams, set_oom_score};
use crate::root::Root;

/// What a child is given.
pub(crate) struct Start<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) stdio: Stdio,
    pub(crate) channel: Channel,
    pub(crate) sources: Option<Sources>,
    pub(crate) born_in_cgroup: bool,
}

/// `CLONE_NEW*` bits that the clone of the init takes. The others come later: a cgroup namespace
/// shows the group its process is in when it is made, and clocks are set before the clone.
pub(crate) fn new_namespaces(namespaces: &Namespaces) -> u32 {
    namespaces.new & !(NamespaceKind::Cgroup.bit() | NamespaceKind::Time.bit())
}

/// The whole life of a child up to its program.
pub(crate) fn run(start: Start<'_>) -> u8 {
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
    let root = rootfs::attach(plan, &sources.rootfs)?;
    let root = Root::new(root);
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
    let setup = Setup {
        process: &plan.process,
        channel: &channel,
        streams,
        labels,
        preserve_fds: plan.preserve_fds,
    };
    let ready = setup.prepare(&root)?;
    rootfs::finish(plan)?;
    if let Some(hold) = hold {
        channel.send(&Message::Held).or_fail(Step::Sync, "")?;
        *held = true;
        wait_for_order(hold)?;
    }
    let state = hooks::state(&plan.hooks, "created", own_pid(plan));
    hooks::run(&plan.hooks.start_container, &state)?;
    Err(ready.run(!*held))
}
