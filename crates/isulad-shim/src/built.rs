//! Containers of the built-in runtime: a plan, and one `clone3`.

use std::os::fd::OwnedFd;

use lcr::cgroup::Cgroup;
use lcr::checkpoint::Restore;
use lcr::plan::Hooks;
use lcr::{Plan, Stdio};

use crate::failure::{failure, other, refused};
use crate::protocol::Failure;
use crate::stdio::{self, Sides};

/// What building a container leaves.
#[derive(Debug)]
pub struct Built {
    /// The init process.
    pub pid: i32,
    /// A descriptor of it; it is a child of ours.
    pub pidfd: OwnedFd,
    /// The master of its terminal.
    pub console: Option<OwnedFd>,
    /// What could not be given in full.
    pub warnings: Vec<String>,
    /// Its control group, if that is known.
    pub cgroup: Option<Cgroup>,
    /// What is called after its end.
    pub hooks: Hooks,
}

/// Builds a container with the built-in runtime; with `restore` from processes that were written
/// down.
///
/// # Errors
/// Says what could not be done; nothing of it is left then.
pub fn build(
    plan: &[u8],
    open_stdin: bool,
    size: Option<(u16, u16)>,
    restore: Option<&Restore>,
) -> Result<(Built, Sides), Failure> {
    let plan = Plan::decode(plan).map_err(|error| other(error.to_string()))?;
    let (stdio, sides) = if plan.process.terminal {
        (Stdio::Terminal(size.map(stdio::window)), Sides::terminal())
    } else {
        let (theirs, ours) = stdio::pipes(open_stdin)
            .map_err(|error| failure("make the container's streams", &error))?;
        let [stdin, stdout, stderr] = theirs;
        (Stdio::Streams { stdin, stdout, stderr }, ours)
    };
    let init = match restore {
        None => lcr::init::spawn(&plan, stdio),
        Some(how) => lcr::checkpoint::restore(&plan, how, stdio),
    };
    let mut init = init.map_err(|error| refused(&error))?;
    let mut warnings = plan.warnings;
    warnings.append(&mut init.warnings);
    let built = Built {
        pid: init.pid,
        pidfd: init.pidfd,
        console: init.console,
        warnings,
        cgroup: Some(plan.cgroup.cgroup().clone()),
        hooks: plan.hooks,
    };
    Ok((built, sides))
}
