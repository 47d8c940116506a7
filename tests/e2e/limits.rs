//! Resource limits hold, on the cgroup hierarchy that this machine has.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use isula_tests::World;

both!(
    limits_are_in_the_cgroup,
    memory_beyond_the_limit_ends_the_container,
    processes_beyond_the_limit_are_refused
);

/// A file of the cgroup that process `pid` is in, for either version of the hierarchy.
fn value(pid: &str, controller: &str, v1: &str, v2: &str) -> Result<String> {
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    for line in lines.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next().context("names")?, parts.next().context("path")?);
        let path = path.trim_start_matches('/');
        let file = match names {
            "" => PathBuf::from("/sys/fs/cgroup").join(path).join(v2),
            _ if names.split(',').any(|name| name == controller) => {
                PathBuf::from("/sys/fs/cgroup").join(names).join(path).join(v1)
            }
            _ => continue,
        };
        if file.exists() {
            return Ok(fs::read_to_string(file)?.trim().to_owned());
        }
    }
    anyhow::bail!("no cgroup of {pid} has {v1} or {v2}: {lines}")
}

fn limits_are_in_the_cgroup(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    world.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "-m",
        "64m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "20",
        "--cpuset-cpus",
        "0",
        "--cpu-shares",
        "512",
        "busybox",
        "sleep",
        "1000",
    ])?;
    let pid = world.ok(&["inspect", "-f", "{{.State.Pid}}", "web"])?;
    assert_eq!(value(&pid, "memory", "memory.limit_in_bytes", "memory.max")?, "67108864");
    assert_eq!(value(&pid, "pids", "pids.max", "pids.max")?, "20");
    assert_eq!(value(&pid, "cpuset", "cpuset.cpus", "cpuset.cpus")?, "0");
    let quota = value(&pid, "cpu", "cpu.cfs_quota_us", "cpu.max")?;
    assert!(quota == "50000" || quota == "50000 100000", "{quota}");
    assert_eq!(world.ok(&["inspect", "-f", "{{.HostConfig.Memory}}", "web"])?, "67108864");
    world.finish()
}

fn memory_beyond_the_limit_ends_the_container(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let outcome = world.run(&[
        "run",
        "--name",
        "x",
        "-m",
        "16m",
        "busybox",
        "sh",
        "-c",
        "exec tail /dev/zero",
    ])?;
    assert_eq!(outcome.code, 137, "{outcome:#?}");
    assert_eq!(world.ok(&["inspect", "-f", "{{.State.OOMKilled}}", "x"])?, "true");
    world.ok(&["run", "--name", "y", "-m", "16m", "busybox", "true"])?;
    assert_eq!(world.ok(&["inspect", "-f", "{{.State.OOMKilled}}", "y"])?, "false");
    world.finish()
}

fn processes_beyond_the_limit_are_refused(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done";
    let outcome =
        world.run(&["run", "--rm", "--pids-limit", "5", "busybox", "sh", "-c", script])?;
    assert!(outcome.stderr.contains("can't fork"), "{outcome:#?}");
    world.finish()
}
