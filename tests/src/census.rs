//! Counts everything a test could leave behind: mounts, cgroups, namespaces, network devices and
//! processes of ours. Two censuses that differ tell what leaked.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};

/// Everything of interest that exists now, each as a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census(BTreeSet<String>);

impl Census {
    /// Counts.
    pub fn take() -> Result<Self> {
        let mut found = BTreeSet::new();
        for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
            if let Some(point) = line.split(' ').nth(4) {
                found.insert(format!("mount {point}"));
            }
        }
        cgroups(Path::new("/sys/fs/cgroup"), 0, &mut found);
        for entry in fs::read_dir("/sys/class/net")? {
            found.insert(format!("network device {}", entry?.file_name().to_string_lossy()));
        }
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            let Some(pid) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if pid.bytes().all(|byte| byte.is_ascii_digit()) {
                process(&path, &mut found);
            }
        }
        Ok(Self(found))
    }

    /// What exists in `self` and did not in `before`. The engine's own parent cgroup may stay.
    #[must_use]
    pub fn since(&self, before: &Self) -> Vec<String> {
        let new = self.0.difference(&before.0);
        new.filter(|line| !line.ends_with("/isulad") || line.starts_with("process"))
            .cloned()
            .collect()
    }
}

fn cgroups(directory: &Path, depth: u32, found: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if depth < 5 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            // Depth 0 holds the controllers' mount points; what is made by others is not ours.
            let path = entry.path();
            if depth > 0 && path.to_string_lossy().contains("isula") {
                found.insert(format!("cgroup {}", path.display()));
            }
            cgroups(&path, depth + 1, found);
        }
    }
}

/// A process counts by its program if it is ours, and by its namespaces if they are not the host's.
fn process(path: &Path, found: &mut BTreeSet<String>) {
    let Ok(name) = fs::read_to_string(path.join("comm")) else { return };
    let name = name.trim();
    let zombie = fs::read_to_string(path.join("stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")));
    // What a dead daemon left is reaped by the system's init, in its own time.
    let orphan = fs::read_to_string(path.join("status"))
        .is_ok_and(|status| status.lines().any(|line| line == "PPid:\t1"));
    if zombie && orphan {
        return;
    }
    if ["isula", "isulad", "isulad-shim", "lcr", "runc"].contains(&name) {
        let state = if zombie { " (zombie)" } else { "" };
        found.insert(format!("process {} {name}{state}", path.display()));
    }
    for kind in ["mnt", "net", "pid", "ipc", "uts"] {
        let own = fs::read_link(Path::new("/proc/self/ns").join(kind));
        let theirs = fs::read_link(path.join("ns").join(kind));
        if let (Ok(own), Ok(theirs)) = (own, theirs)
            && own != theirs
        {
            found.insert(format!("namespace {} of {name}", theirs.display()));
        }
    }
}

/// The proportional set size of a process, in KiB, once it has not changed for 33 seconds: a
/// daemon that is asked nothing for 15 to 30 gives memory back.
pub fn settled_pss(pid: u32) -> Result<u64> {
    let pause = std::time::Duration::from_millis(200);
    let (mut last, mut same) = (pss(pid)?, 0);
    for _ in 0..500 {
        std::thread::sleep(pause);
        let now = pss(pid)?;
        (last, same) = if now == last { (now, same + 1) } else { (now, 0) };
        if same == 165 {
            break;
        }
    }
    Ok(last)
}

/// The shims of a daemon.
pub fn shims(daemon: u32) -> Result<Vec<u32>> {
    children(daemon, "isulad-shim")
}

/// The process that a daemon copies its shims from.
pub fn template(daemon: u32) -> Result<Option<u32>> {
    Ok(children(daemon, "isulad-template")?.first().copied())
}

/// The children of a process that have this name.
fn children(parent: u32, wanted: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else {
            continue;
        };
        // One that has just ended is none.
        let status = fs::read_to_string(path.join("status")).unwrap_or_default();
        let field =
            |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        if field("Name:") == Some(wanted) && field("PPid:") == Some(&parent.to_string()) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Proportional set size of a process in KiB.
pub fn pss(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).context("no Pss")?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
}
