//! The promises of the hot path that can be counted: processes, mounts, memory, wake-ups.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context, Result};
use isula_tests::{
    World,
    census::{Census, pss, settled_pss, shims, template},
};

#[test]
fn a_template_that_is_killed_is_replaced_and_no_start_fails() -> Result<()> {
    let mut world = World::new("lcr")?;
    let daemon = world.daemon()?.pid();
    let mut killed = Vec::new();
    for number in 0..3 {
        let found = template(daemon)?.context("no template")?;
        assert!(!killed.contains(&found), "{found} was killed");
        let pid = rustix::process::Pid::from_raw(found.try_into()?).context("pid")?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        killed.push(found);
        world.ok(&["run", "-d", "--name", &format!("n{number}"), "busybox", "sleep", "1000"])?;
        // The start found it dead and put another in its place, or the next one does.
        world.ok(&["run", "-d", "--name", &format!("m{number}"), "busybox", "sleep", "1000"])?;
    }
    world.finish()
}

#[test]
fn a_running_container_is_one_shim_and_no_mount_of_the_host() -> Result<()> {
    let world = World::new("lcr")?;
    let before = Census::take()?;
    for number in 0..3 {
        world.ok(&["run", "-d", "--name", &format!("n{number}"), "busybox", "sleep", "1000"])?;
    }
    let new = Census::take()?.since(&before);
    let count = |kind: &str| new.iter().filter(|line| line.starts_with(kind)).count();
    assert_eq!(count("process"), 3, "{new:#?}");
    assert_eq!(count("mount"), 0, "{new:#?}");
    assert_eq!(count("network device"), 0, "{new:#?}");
    world.finish()
}

#[test]
fn a_start_is_two_clones_and_one_exec() -> Result<()> {
    let mut world = World::new("lcr")?;
    world.ok(&["create", "--name", "web", "busybox", "sleep", "1000"])?;
    let trace = world.path("trace");
    let daemon = world.daemon()?.pid();
    let pids = [daemon, template(daemon)?.context("no template")?];
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=clone,clone3,fork,vfork,execve", "-o"])
        .arg(&trace)
        .args(pids.iter().flat_map(|pid| ["-p".to_owned(), pid.to_string()]))
        .spawn()?;
    // strace has attached when the kernel names it as the tracer of both.
    for pid in pids {
        let status = format!("/proc/{pid}/status");
        while !fs::read_to_string(&status)?
            .lines()
            .any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
        {
            std::thread::yield_now();
        }
    }
    world.ok(&["start", "web"])?;
    let tracer = rustix::process::Pid::from_child(&strace);
    rustix::process::kill_process(tracer, rustix::process::Signal::INT)?;
    strace.wait()?;
    let text = fs::read_to_string(&trace)?;
    let mut calls: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines() {
        // A thread of the daemon's own pool is not a process.
        if line.contains("CLONE_THREAD") || line.contains("resumed") || line.contains("= -1") {
            continue;
        }
        for call in ["execve(", "clone3(", "clone(", "vfork(", "fork("] {
            if line.contains(&format!(" {call}")) {
                *calls.entry(call).or_default() += 1;
                break;
            }
        }
    }
    // The shim is cloned from the template, the init process from the shim; only the user's program
    // is executed.
    assert_eq!(calls.get("execve("), Some(&1), "{text}");
    let made: usize =
        calls.iter().filter(|(call, _)| **call != "execve(").map(|(_, count)| count).sum();
    assert_eq!(made, 2, "{text}");
    world.finish()
}

#[test]
fn an_idle_daemon_and_its_shims_are_small_and_asleep() -> Result<()> {
    let mut world = World::bare(&[])?;
    world.start()?;
    let layout = format!("oci:{}:latest", isula_tests::images::busybox()?.display());
    let reference = world.registry()?.push(&layout, "busybox:1")?;
    world.ok(&["pull", "-q", &reference])?;
    for _ in 0..20 {
        world.ok(&["run", "--rm", &reference, "true"])?;
        world.ok(&["run", "-d", &reference, "sleep", "1000"])?;
    }
    let daemon = world.daemon()?.pid();
    let memory = settled_pss(daemon)?;
    assert!(memory <= 8 * 1024, "the daemon uses {memory} KiB");
    let shims = shims(daemon)?;
    assert_eq!(shims.len(), 20);
    let mut all = 0;
    for pid in &shims {
        all += pss(*pid)?;
    }
    let each = all / 20;
    println!("daemon {memory} KiB, shim {each} KiB each");
    assert!(each <= 130, "a shim uses {each} KiB");
    // Threads that a burst of work needed go away by themselves; then nothing wakes anything.
    let switches = || -> Result<u64> {
        let mut sum = 0;
        for pid in shims.iter().chain([&daemon]) {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let text = fs::read_to_string(task?.path().join("status"))?;
                for line in text.lines().filter(|line| line.contains("ctxt_switches")) {
                    sum += line.split_whitespace().nth(1).context("number")?.parse::<u64>()?;
                }
            }
        }
        Ok(sum)
    };
    let mut last = (switches()?, 0);
    // Quiet for two observations in a row of two seconds each; a daemon with a timer never is.
    for _ in 0..20 {
        Command::new("sleep").arg("2").status()?;
        let now = switches()?;
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
        if last.1 == 2 {
            break;
        }
    }
    assert_eq!(last.1, 2, "the idle daemon or a shim wakes up");
    world.finish()
}
