//! Killing an exec process with all that it has started.
//!
//! What belongs to it: its children and theirs, and whatever is in a session that one of them
//! leads; the exec process leads one itself. So a daemon that has left its parent is found as long
//! as it stayed in its session. The group is frozen meanwhile, so that nothing escapes between two
//! looks.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;

use isula_core::id::ContainerId;
use isula_core::ports::Result;
use isula_sys::signal::Signal;
use lcr::cgroup::Cgroup;

use super::processes::cannot;
use super::{Runtimes, blocking};

impl Runtimes {
    pub(super) async fn kill_tree_of(&self, id: &ContainerId, pid: i32) -> Result<()> {
        let keeper = self.running(id)?;
        let cgroup = keeper.cgroup()?;
        let init = keeper.init().pid;
        blocking(move || {
            if pid == init {
                return Ok(());
            }
            // A container that can't be frozen now is no reason to let the process live.
            let frozen = cgroup.freeze().is_ok();
            let killed = kill(&cgroup, pid, init);
            if frozen {
                cgroup.thaw().map_err(|error| cannot(error, "resume the container"))?;
            }
            killed
        })
        .await
    }
}

/// What `/proc/PID/stat` tells of a process.
#[derive(Debug, Clone, Copy)]
struct Process {
    parent: i32,
    session: i32,
}

fn kill(cgroup: &Cgroup, root: i32, init: i32) -> Result<()> {
    let pids = cgroup.pids().map_err(|error| cannot(error, "list the processes"))?;
    let all: BTreeMap<i32, Process> =
        pids.into_iter().filter_map(|pid| Some((pid, process(pid)?))).collect();
    for pid in family(&all, root, init) {
        if let Ok(pidfd) = isula_sys::process::open(pid) {
            // It may have ended by now.
            let _ = isula_sys::process::send_signal(pidfd.as_fd(), Signal::KILL.number());
        }
    }
    Ok(())
}

/// The process and all that belongs to it; never the init process or what is in its session.
fn family(all: &BTreeMap<i32, Process>, root: i32, init: i32) -> BTreeSet<i32> {
    let apart = all.get(&init).map(|init| init.session);
    let mut family = BTreeSet::from([root]);
    loop {
        let belongs = |process: &Process| {
            let led = family.contains(&process.session) && Some(process.session) != apart;
            led || family.contains(&process.parent)
        };
        let more: Vec<i32> = all
            .iter()
            .filter(|(pid, process)| **pid != init && !family.contains(*pid) && belongs(process))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return family;
        }
        family.extend(more);
    }
}

fn process(pid: i32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything (proc_pid_stat(5)).
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Process { parent, session })
}

#[cfg(test)]
mod tests {
    use super::{Process, family, process};
    use std::collections::BTreeMap;

    #[test]
    fn children_and_sessions_belong_to_a_process_and_the_init_does_not() {
        let all = [
            (1, 0, 1),   // the init
            (2, 1, 1),   // its child
            (10, 0, 10), // the exec process
            (11, 10, 10),
            (12, 11, 12), // leads a session of its own
            (13, 1, 12),  // left its parent, stayed in that session
            (14, 1, 10),
            (20, 0, 20), // another exec process
        ];
        let all: BTreeMap<i32, Process> = all
            .into_iter()
            .map(|(pid, parent, session)| (pid, Process { parent, session }))
            .collect();
        let found: Vec<i32> = family(&all, 10, 1).into_iter().collect();
        assert_eq!(found, [10, 11, 12, 13, 14]);
        assert_eq!(family(&all, 20, 1).len(), 1);
    }

    #[test]
    fn a_process_is_read_from_procfs() {
        let own = process(std::process::id().try_into().unwrap()).unwrap();
        assert_eq!(i64::from(own.parent), i64::from(std::os::unix::process::parent_id()));
    }
}
