//! The daemon dies; containers, their logs, exit codes and times do not.

use std::fs;

use anyhow::{Context, Result};
use isula_tests::{World, census::Census};
use rustix::process::{Pid, Signal, kill_process};

both!(
    ten_containers_survive_the_death_of_the_daemon,
    what_ended_meanwhile_is_told_truly,
    a_polite_end_leaves_containers_running,
);

fn ten_containers_survive_the_death_of_the_daemon(runtime: &str) -> Result<()> {
    let mut world = World::new(runtime)?;
    let script = "i=0; while true; do i=$((i + 1)); echo line $i; sleep 0.05; done";
    let mut before = Vec::new();
    for number in 0..10 {
        let name = format!("n{number}");
        world.ok(&["run", "-d", "--name", &name, "busybox", "sh", "-c", script])?;
        before.push(world.ok(&["inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}}", &name])?);
    }
    world.take_daemon()?.kill()?;
    // They go on without it.
    let pid = before[0].split(' ').next().context("pid")?;
    assert!(fs::exists(format!("/proc/{pid}"))?);
    world.start()?;
    for (number, was) in before.iter().enumerate() {
        let name = format!("n{number}");
        let is = world.ok(&["inspect", "-f", "{{.State.Pid}} {{.State.StartedAt}}", &name])?;
        assert_eq!(&is, was);
        assert_eq!(world.ok(&["exec", &name, "echo", "alive"])?, "alive");
    }
    assert_eq!(world.ok(&["ps", "-q"])?.lines().count(), 10);
    // The log has no gap: every line from the first on is there, once.
    let log = world.ok(&["logs", "n3"])?;
    for (number, line) in log.lines().enumerate() {
        assert_eq!(line, format!("line {}", number + 1));
    }
    // And goes on.
    let have = log.lines().count();
    super::logs::wait_for_lines(&world, "n3", have + 3)?;
    for number in 0..10 {
        assert_eq!(world.ok(&["stop", "-t", "0", &format!("n{number}")])?, format!("n{number}"));
    }
    world.finish()
}

fn what_ended_meanwhile_is_told_truly(runtime: &str) -> Result<()> {
    let mut world = World::new(runtime)?;
    let fifo = "trap 'echo last words; exit 37' USR1; echo ready; while true; do sleep 0.05; done";
    let mut pids = Vec::new();
    for name in ["a", "b"] {
        world.ok(&["run", "-d", "--name", name, "busybox", "sh", "-c", fifo])?;
        super::life::ready(&world, name)?;
        pids.push(world.ok(&["inspect", "-f", "{{.State.Pid}}", name])?);
    }
    world.ok(&["run", "-d", "--rm", "--name", "brief", "busybox", "sleep", "1000"])?;
    pids.push(world.ok(&["inspect", "-f", "{{.State.Pid}}", "brief"])?);
    world.take_daemon()?.kill()?;
    for (pid, signal) in pids.iter().zip([Signal::USR1, Signal::KILL, Signal::KILL]) {
        let pid = Pid::from_raw(pid.parse()?).context("pid")?;
        let watched = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
        kill_process(pid, signal)?;
        let mut wanted = [rustix::event::PollFd::new(&watched, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut wanted, None)?;
    }
    world.start()?;
    let told = |name: &str| {
        world.ok(&[
            "inspect",
            "-f",
            "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}",
            name,
        ])
    };
    assert_eq!(told("a")?, "exited 37 false");
    assert_eq!(told("b")?, "exited 137 false");
    assert_eq!(world.ok(&["logs", "a"])?, "ready\nlast words");
    assert_eq!(world.ok(&["wait", "a"])?, "37");
    let times = world.ok(&["inspect", "-f", "{{.State.StartedAt}} {{.State.FinishedAt}}", "a"])?;
    let (started, finished) = times.split_once(' ').context("two times")?;
    assert!(started < finished && !finished.starts_with("0001"), "{times}");
    // --rm holds although nobody looked when it ended.
    assert_eq!(world.ok(&["ps", "-aq", "--filter", "name=brief"])?, "");
    assert_eq!(world.ok(&["start", "b"])?, "b");
    world.finish()
}

fn a_polite_end_leaves_containers_running(runtime: &str) -> Result<()> {
    let mut world = World::new(runtime)?;
    world.ok(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"])?;
    let pid = world.ok(&["inspect", "-f", "{{.State.Pid}}", "web"])?;
    let began = std::time::Instant::now();
    assert!(world.take_daemon()?.stop()?.success());
    // One second is the promise; a busy machine is given some more before this is called broken.
    assert!(began.elapsed().as_secs() < 5);
    assert!(fs::exists(format!("/proc/{pid}"))?);
    world.start()?;
    assert_eq!(world.ok(&["inspect", "-f", "{{.State.Pid}}", "web"])?, pid);
    world.finish()
}

#[test]
fn a_killed_shim_hurts_one_container_only() -> Result<()> {
    let world = World::new("lcr")?;
    let before = Census::take()?;
    world.ok(&["run", "-d", "--name", "a", "busybox", "sleep", "1000"])?;
    let shim = Census::take()?.since(&before);
    let shim = shim.iter().find(|line| line.starts_with("process")).context("no shim")?;
    let pid = shim.split(['/', ' ']).find_map(|word| word.parse().ok()).context("no pid")?;
    world.ok(&["run", "-d", "--name", "b", "busybox", "sleep", "1000"])?;
    kill_process(Pid::from_raw(pid).context("pid")?, Signal::KILL)?;
    assert_eq!(world.ok(&["wait", "a"])?, "255");
    assert_eq!(world.ok(&["inspect", "-f", "{{.State.Status}}", "a"])?, "exited");
    assert_eq!(world.ok(&["exec", "b", "echo", "fine"])?, "fine");
    assert_eq!(world.ok(&["start", "a"])?, "a");
    assert_eq!(world.ok(&["exec", "a", "echo", "again"])?, "again");
    world.finish()
}
