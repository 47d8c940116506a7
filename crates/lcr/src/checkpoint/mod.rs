//! Containers whose processes CRIU writes down and brings back (criu(8), 3.17).
//!
//! CRIU sees to the processes, their pid namespace and their mounts. Everything else is the
//! runtime's, at a restore as at a start: the control group, and the namespaces for network, names,
//! System V ipc and control groups. CRIU runs inside of those and so takes them for its own, which
//! it leaves alone. What is mounted from outside of the container has a key in the images, and is
//! taken anew from where the plan says.

mod dump;
mod restore;
mod survey;

pub use dump::{Dump, dump};
pub use restore::{Restore, restore};
pub use survey::{Origin, Outside, survey};

use std::io::{self, Read as _};
use std::path::Path;

use crate::plan::{NamespaceKind, Plan};

/// Where CRIU's own helpers (`tar`) are looked for.
const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// As much of a log is looked at.
const LOG_LIMIT: u64 = 4 << 20;

/// Why a container of this plan cannot be written down and brought back, if it cannot.
#[must_use]
pub fn obstacle(plan: &Plan) -> Option<&'static str> {
    let (namespaces, hooks) = (&plan.namespaces, &plan.hooks);
    let lists = [
        &hooks.prestart,
        &hooks.create_runtime,
        &hooks.create_container,
        &hooks.start_container,
        &hooks.poststart,
        &hooks.poststop,
    ];
    if plan.process.terminal {
        Some("it has a terminal")
    } else if namespaces.separates(NamespaceKind::User) {
        Some("it has a user namespace")
    } else if namespaces.separates(NamespaceKind::Time) {
        Some("it has a time namespace")
    } else if !namespaces.makes(NamespaceKind::Pid) {
        Some("it has no pid namespace of its own")
    } else if !namespaces.makes(NamespaceKind::Mount) {
        Some("it has no mount namespace of its own")
    } else if lists.iter().any(|list| !list.is_empty()) {
        Some("it has hooks")
    } else {
        None
    }
}

/// The key that CRIU's images have for a mount from outside.
fn key(index: usize) -> String {
    format!("isula-{index}")
}

/// What CRIU says went wrong: the first error in its log, or the last line.
fn complaint(log: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(log)?.take(LOG_LIMIT).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    // "exited, status=1" of a helper that was only tried (util.c) is not what went wrong.
    let is_error = |line: &&str| line.contains("Error (") && !line.contains("(criu/util.c:");
    let first = lines.clone().find(is_error);
    let line = first.or_else(|| lines.next_back()).unwrap_or_default();
    // "(00.012) 7: Error (criu/files.c:9): what": all but the last part is for CRIU's makers.
    let end = line.split_once("): ").map_or(line, |(_, rest)| rest);
    Ok(end.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{complaint, obstacle};
    use crate::plan::{Hook, NamespaceKind, tests::plan};

    #[test]
    fn the_first_error_of_a_log_is_told() {
        let directory = std::env::temp_dir().join(format!("lcr-log-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let log = directory.join("log");
        for (text, wanted) in [
            (
                "(00.01) Warn  (criu/x.c:1): w\n(00.01) Error (criu/util.c:641): exited, status=1\n\
                 (00.02)    7: Error (criu/files.c:9): no mount: /x\n\
                 (00.03) Error (criu/cr-dump.c:2): Dumping FAILED.\n",
                "no mount: /x",
            ),
            ("something else\n", "something else"),
            ("", ""),
        ] {
            std::fs::write(&log, text).unwrap();
            assert_eq!(complaint(&log).unwrap(), wanted);
        }
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(complaint(&log).is_err());
    }

    #[test]
    fn what_cannot_be_brought_back_is_known_beforehand() {
        let mut plan = plan();
        plan.namespaces.new = NamespaceKind::Pid.bit() | NamespaceKind::Mount.bit();
        assert_eq!(obstacle(&plan), None);
        let mut other = plan.clone();
        other.process.terminal = true;
        assert!(obstacle(&other).is_some());
        for (new, word) in [
            (NamespaceKind::Pid.bit(), "mount namespace"),
            (NamespaceKind::Mount.bit(), "pid namespace"),
            (plan.namespaces.new | NamespaceKind::User.bit(), "user namespace"),
            (plan.namespaces.new | NamespaceKind::Time.bit(), "time namespace"),
        ] {
            let mut other = plan.clone();
            other.namespaces.new = new;
            assert!(obstacle(&other).unwrap().contains(word));
        }
        let args = vec!["x".to_owned()];
        let hook = Hook { path: "/x".into(), args, env: Vec::new(), timeout: None };
        plan.hooks.poststop.push(hook);
        assert_eq!(obstacle(&plan), Some("it has hooks"));
    }
}
