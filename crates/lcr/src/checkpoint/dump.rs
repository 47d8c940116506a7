//! Writing down the processes of a running container.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use isula_sys::namespace;
use isula_sys::process::{self, Spawn, Spawned};
use serde::{Deserialize, Serialize};

use super::{SEARCH, complaint, key, survey::Outside};
use crate::error::{OrFail as _, StartError, Step};
use crate::plan::NamespaceKind;

/// CRIU's log in the work directory.
const DUMP_LOG: &str = "dump.log";

/// How to write down a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dump {
    /// The program `criu`.
    pub program: PathBuf,
    /// An empty directory for the images.
    pub images: PathBuf,
    /// A directory for the log.
    pub work: PathBuf,
    /// The directory of the container's control group that freezes it.
    pub freezer: PathBuf,
    /// Its mounts from outside.
    pub outside: Vec<Outside>,
}

/// Namespaces that CRIU enters, to take them for its own. (Not that of control groups: from inside
/// of it the container's group could not be thawed, cgroup_namespaces(7) and `nsdelegate`. CRIU
/// leaves that alone anyhow where it manages no control groups.)
pub(super) const SHARED: u32 =
    NamespaceKind::Network.bit() | NamespaceKind::Ipc.bit() | NamespaceKind::Uts.bit();

impl Dump {
    /// What went wrong, when [`dump`]'s process has ended with a status other than 0.
    #[must_use]
    pub fn complaint(&self) -> String {
        match complaint(&self.work.join(DUMP_LOG)) {
            Ok(text) if !text.is_empty() => format!("criu: {text}"),
            _ => "criu failed without saying why".to_owned(),
        }
    }

    fn command(&self, pid: i32) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["dump", "--leave-running", "--manage-cgroups=ignore", "--file-locks"]);
        command.args(["--tree", &pid.to_string(), "--log-file", DUMP_LOG, "-v2"]);
        command.arg("--images-dir").arg(&self.images).arg("--work-dir").arg(&self.work);
        command.arg("--freeze-cgroup").arg(&self.freezer);
        for (index, outside) in self.outside.iter().enumerate() {
            command.args(["--external", &format!("mnt[{}]:{}", outside.place, key(index))]);
        }
        command.env_clear().env("PATH", SEARCH);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

/// Starts CRIU on the container whose init process this is. The container may be frozen, and is
/// as it was when the process has ended, whatever came of it. The caller must have one thread.
///
/// # Errors
/// There is no further process.
pub fn dump((pid, pidfd): (i32, &OwnedFd), how: &Dump) -> Result<Spawned, StartError> {
    let mut command = how.command(pid);
    let log = how.work.join(DUMP_LOG);
    let child = || {
        let entered = namespace::join(pidfd.as_fd(), SHARED);
        let error = match entered.and_then(|()| isula_sys::signal::reset_all()) {
            Ok(()) => command.exec(),
            Err(error) => error,
        };
        // Where even that can't be written there is nobody to tell.
        let _ = std::fs::write(&log, isula_sys::errno::describe(&error));
        125
    };
    process::spawn(Spawn::default(), child).or_fail(Step::Checkpoint, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Origin;

    #[test]
    fn criu_is_told_of_every_mount_from_outside() {
        let how = Dump {
            program: "/usr/sbin/criu".into(),
            images: "/c/checkpoint".into(),
            work: "/c".into(),
            freezer: "/sys/fs/cgroup/freezer/x".into(),
            outside: vec![Outside { place: "/proc/kcore".to_owned(), origin: Origin::Null }],
        };
        let command = how.command(7);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        let text = words.join(" ");
        assert!(text.starts_with("dump --leave-running"), "{text}");
        assert!(text.contains("--tree 7 "), "{text}");
        assert!(text.ends_with("--external mnt[/proc/kcore]:isula-0"), "{text}");
        assert_eq!(how.complaint(), "criu failed without saying why");
    }
}
