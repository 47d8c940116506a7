//! Further processes in a running container, and standard input and output without a terminal.

use std::{io::Write, process::Stdio};

use anyhow::{Context, Result};
use isula_tests::World;

both!(exec_honours_its_flags, streams_are_kept_apart_and_whole, signals_reach_the_command);

fn exec_honours_its_flags(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    world.ok(&[
        "run", "-d", "--name", "web", "-e", "BASE=1", "-w", "/etc", "busybox", "sleep", "1000",
    ])?;
    assert_eq!(world.ok(&["exec", "web", "pwd"])?, "/etc");
    assert_eq!(
        world.ok(&["exec", "-w", "/tmp", "-e", "A=b", "web", "sh", "-c", "pwd; echo $A$BASE"])?,
        "/tmp\nb1"
    );
    assert_eq!(
        world.ok(&["exec", "-u", "1000:2000", "web", "id"])?,
        "uid=1000(web) gid=2000(extra) groups=2000(extra)"
    );
    assert_eq!(
        world.ok(&["exec", "-u", "web", "web", "id"])?,
        "uid=1000(web) gid=1000(web) groups=1000(web),2000(extra)"
    );
    world.refused(&["exec", "-u", "stranger", "web", "id"], 125, "stranger")?;
    // Detached: the answer comes at once and the process is in the container.
    world.ok(&["exec", "-d", "web", "sh", "-c", "echo done > /tmp/mark; sleep 1000"])?;
    assert_eq!(
        world.ok(&[
            "exec",
            "web",
            "sh",
            "-c",
            "until [ -s /tmp/mark ]; do :; done; cat /tmp/mark"
        ])?,
        "done"
    );
    let processes = world.ok(&["top", "web"])?;
    assert!(processes.contains("sleep 1000"), "{processes}");
    // The same sandbox: capabilities, seccomp and cgroup are those of the init process.
    let facts = "grep -E '^(CapEff|CapInh|CapBnd|Seccomp|NoNewPrivs):' /proc/self/status; cat /proc/self/cgroup | sort";
    let of_init = facts.replace("/proc/self", "/proc/1");
    assert_eq!(
        world.ok(&["exec", "web", "sh", "-c", facts])?,
        world.ok(&["exec", "web", "sh", "-c", &of_init])?
    );
    world.ok(&["stop", "-t", "0", "web"])?;
    world.refused(&["exec", "web", "true"], 125, "not running")?;
    world.finish()
}

fn streams_are_kept_apart_and_whole(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let outcome = world.run(&[
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "echo out; echo err >&2; printf tail",
    ])?;
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\ntail", "err\n"));
    // A megabyte there and back, byte for byte.
    let bytes: Vec<u8> =
        (0..1_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut command =
        world.isula(&["run", "-i", "--rm", "--log-driver", "none", "busybox", "cat"])?;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent));
    let output = child.wait_with_output()?;
    writer.join().unwrap()?;
    assert!(output.stdout == bytes, "{} of {} bytes came back", output.stdout.len(), bytes.len());
    // The end of the input is an end for the command, in exec too.
    world.ok(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"])?;
    let outcome = world.run_with(&["exec", "-i", "web", "wc", "-c"], &bytes)?;
    assert_eq!(outcome.stdout.trim(), "1000000", "{outcome:#?}");
    // Without -i there is nothing to read.
    assert_eq!(world.run_with(&["exec", "web", "cat"], b"unread")?.stdout, "");
    world.finish()
}

fn signals_reach_the_command(runtime: &str) -> Result<()> {
    use std::io::{BufRead, BufReader};
    let world = World::new(runtime)?;
    let script = "trap 'echo caught; exit 12' INT; echo ready; while true; do sleep 0.05; done";
    let mut client = world.isula(&["run", "--rm", "busybox", "sh", "-c", script])?;
    let mut client = client.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(client.stdout.take().context("no stdout")?).lines();
    assert_eq!(lines.next().context("no line")??, "ready");
    let pid = rustix::process::Pid::from_child(&client);
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    assert_eq!(lines.next().context("no line")??, "caught");
    assert_eq!(client.wait()?.code(), Some(12));
    world.finish()
}

#[test]
fn a_client_that_does_not_read_stops_nothing() -> Result<()> {
    let world = World::new("lcr")?;
    world.ok(&[
        "run",
        "-d",
        "--name",
        "loud",
        "--log-opt",
        "max-size=1m",
        "busybox",
        "sh",
        "-c",
        "yes",
    ])?;
    let mut stuck = world.isula(&["attach", "loud"])?;
    let mut stuck = stuck.stdout(Stdio::piped()).spawn()?;
    // It reads nothing for as long as the container writes a thousand lines more, twice.
    for _ in 0..2 {
        super::logs::wait_for_lines(&world, "loud", 1000)?;
    }
    assert_eq!(world.ok(&["exec", "loud", "echo", "alive"])?, "alive");
    assert_eq!(world.ok(&["stop", "-t", "0", "loud"])?, "loud");
    stuck.kill()?;
    stuck.wait()?;
    world.finish()
}
