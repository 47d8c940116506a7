//! The log of a container: all of it, parts of it, and as it grows.

use std::io::{BufRead, BufReader};

use anyhow::{Context, Result};
use isula_tests::World;

both!(parts_of_a_log_are_shown, a_log_is_followed_to_its_end);

/// Waits until the log has so many lines, reading it as it grows.
pub fn wait_for_lines(world: &World, name: &str, lines: usize) -> Result<()> {
    let mut follow = world.isula(&["logs", "-f", name])?;
    let mut follow = follow.stdout(std::process::Stdio::piped()).spawn()?;
    let output = follow.stdout.take().context("no stdout")?;
    let seen = BufReader::new(output).lines().take(lines).count();
    follow.kill()?;
    follow.wait()?;
    anyhow::ensure!(seen == lines, "{name} wrote {seen} lines of {lines}");
    Ok(())
}

fn parts_of_a_log_are_shown(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let script = "echo line 1; sleep 0.2; for i in 2 3 4 5; do echo line $i; done; sleep 0.2; echo oops >&2; printf 'no end'";
    world.ok(&["run", "--name", "x", "busybox", "sh", "-c", script])?;
    let all = world.run(&["logs", "x"])?;
    assert_eq!(all.stdout, "line 1\nline 2\nline 3\nline 4\nline 5\nno end", "{all:#?}");
    assert_eq!(all.stderr, "oops\n");
    assert_eq!(world.run(&["logs", "--tail", "0", "x"])?.stdout, "");
    let tail = world.run(&["logs", "--tail", "3", "x"])?;
    assert_eq!(
        (tail.stdout.as_str(), tail.stderr.as_str()),
        ("line 5\nno end", "oops\n"),
        "{tail:#?}"
    );
    let stamped = world.run(&["logs", "-t", "x"])?.stdout;
    let (time, line) =
        stamped.lines().next().context("no line")?.split_once(' ').context("no time")?;
    assert_eq!(line, "line 1");
    assert!(time.ends_with('Z') && time.contains('T') && time.contains('.'), "{time}");
    // Since the time of the first line everything is there; until then nothing after it.
    assert_eq!(world.run(&["logs", "--since", time, "x"])?.stdout, all.stdout);
    assert_eq!(world.run(&["logs", "--until", time, "x"])?.stdout, "line 1\n");
    assert_eq!(world.run(&["logs", "--since", "2100-01-01T00:00:00Z", "x"])?.stdout, "");
    world.refused(&["logs", "--since", "yesterday-ish", "x"], 125, "yesterday-ish")?;
    world.finish()
}

fn a_log_is_followed_to_its_end(runtime: &str) -> Result<()> {
    let world = World::new(runtime)?;
    let script = "trap 'echo end; exit' TERM; echo begin; while true; do sleep 0.05; done";
    world.ok(&["run", "-d", "--name", "x", "busybox", "sh", "-c", script])?;
    let mut follow = world.isula(&["logs", "-f", "x"])?;
    let mut follow = follow.stdout(std::process::Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(follow.stdout.take().context("no stdout")?).lines();
    assert_eq!(lines.next().context("no line")??, "begin");
    world.ok(&["stop", "x"])?;
    assert_eq!(lines.next().context("no line")??, "end");
    assert!(lines.next().is_none());
    assert!(follow.wait()?.success());
    world.finish()
}

#[test]
fn a_log_is_rotated_and_stays_bounded() -> Result<()> {
    let world = World::new("lcr")?;
    let id = world.ok(&[
        "create",
        "--name",
        "x",
        "--log-opt",
        "max-size=64k",
        "--log-opt",
        "max-file=3",
        "busybox",
        "sh",
        "-c",
        "i=0; while [ $i -lt 5000 ]; do i=$((i + 1)); echo this is line number $i; done",
    ])?;
    world.ok(&["start", "-a", "x"])?;
    let bundle = world.bundle("lcr", &id);
    let mut total = 0;
    let mut files = 0;
    for entry in std::fs::read_dir(bundle)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("console.log") {
            files += 1;
            total += entry.metadata()?.len();
        }
    }
    assert_eq!(files, 3);
    assert!(total <= 3 * 66 * 1024, "{total}");
    // What is left is the end, in order.
    let log = world.ok(&["logs", "x"])?;
    assert!(log.ends_with("this is line number 5000"));
    let numbers: Vec<u32> =
        log.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    world.finish()
}

#[test]
fn no_byte_of_a_container_forges_a_record() -> Result<()> {
    let world = World::new("lcr")?;
    let forged = r#"{"log":"forged\n","stream":"stderr","time":"2020-01-01T00:00:00Z"}"#;
    let script = format!(
        "printf '%s\\n' '\",\"stream\":\"stderr\"' '{forged}'; printf '\\377\\000\\033\\n'"
    );
    world.ok(&["run", "--name", "x", "busybox", "sh", "-c", &script])?;
    let log = world.run(&["logs", "x"])?;
    assert_eq!(log.stderr, "");
    assert!(log.stdout.starts_with(&format!("\",\"stream\":\"stderr\"\n{forged}\n")), "{log:#?}");
    let id = world.ok(&["inspect", "-f", "{{.Id}}", "x"])?;
    for line in std::fs::read_to_string(world.bundle("lcr", &id).join("console.log"))?.lines() {
        let record: serde_json::Value = serde_json::from_str(line)?;
        assert_eq!(record["stream"], "stdout");
    }
    world.finish()
}
