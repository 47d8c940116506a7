//! A container that may write where its own log is: whatever it puts there, the engine neither writes
//! to nor reads from another file of the host.

use std::{fs, path::Path};

use anyhow::{Result, bail, ensure};
use isula_tests::{
    Node,
    cri::{script, volume},
};

/// Says a word whenever it is given one, in its log.
const SAYING: &str =
    "mkfifo /tmp/ask; while :; do read -r word </tmp/ask && echo \"said $word\"; done";

/// What is outside, and must stay as it is: a file of each name that a log could have.
struct Canary<'a>(&'a Path);

impl<'a> Canary<'a> {
    const NAMES: [&'static str; 2] = ["0.log", "evil/0.log"];

    fn put(directory: &'a Path) -> Result<Self> {
        fs::create_dir_all(directory.join("evil"))?;
        for name in Self::NAMES {
            let secret = "2026-01-01T00:00:00.000000000Z stdout F secret\n";
            fs::write(directory.join(name), secret)?;
        }
        Ok(Self(directory))
    }

    fn check(&self) -> Result<()> {
        for name in Self::NAMES {
            let text = fs::read_to_string(self.0.join(name))?;
            ensure!(text.lines().count() == 1, "{name} was written to: {text}");
        }
        let names: Vec<_> = fs::read_dir(self.0)?.flatten().collect();
        ensure!(names.len() == 2, "{names:?}");
        Ok(())
    }
}

/// Has the container say a word.
fn say(node: &Node, id: &str, word: &str) -> Result<()> {
    node.shell(id, &format!("echo {word} >/tmp/ask"))?;
    Ok(())
}

/// Waits until a log has what the container said: between the two there is the shim.
fn heard(node: &Node, id: &str, log: &Path, word: &str) -> Result<()> {
    for _ in 0..100 {
        if fs::read_to_string(log)?.contains(&format!("said {word}")) {
            return Ok(());
        }
        node.shell(id, "sleep 0.1")?;
    }
    bail!("{word:?} is not in {}", log.display())
}

#[test]
fn no_link_in_the_place_of_a_log_leads_out_of_it() -> Result<()> {
    let node = Node::new()?;
    let (logs, outside) = (node.world.path("logs"), node.world.path("outside"));
    let canary = Canary::put(&outside)?;
    let pod = node.run_pod(node.pod("a"))?;
    let mut config = script("evil", SAYING);
    // All of the logs, not just its own: what a shipper of logs is given.
    config.mounts = vec![volume(&logs)];
    let id = node.run(&pod, config)?;
    node.shell(&id, "until [ -p /tmp/ask ]; do :; done")?;
    say(&node, &id, "first")?;
    let own = logs.join("a/evil/0.log");
    heard(&node, &id, &own, "first")?;
    let (out, logs) = (outside.display(), logs.display());
    for (what, at, plant, undo) in [
        ("the file", "a/evil", "rm 0.log; ln -s OUT/0.log 0.log", "rm 0.log"),
        ("a link to nothing", "a/evil", "ln -s OUT/new 0.log", "rm 0.log"),
        ("the directory", "a", "mv evil good; ln -s OUT evil", "rm evil; mv good evil"),
        ("the pod", ".", "mv a good; ln -s OUT a", "rm a; mv good a"),
        ("all of them", "a", "mv evil good; ln -s /proc/1/cwd evil", "rm evil; mv good evil"),
        ("a FIFO", "a/evil", "mkfifo 0.log", "rm 0.log"),
        ("a device", "a/evil", "mknod 0.log c 1 3", "rm 0.log"),
        ("a directory", "a/evil", "mkdir 0.log", "rmdir 0.log"),
    ] {
        let plant = plant.replace("OUT", &out.to_string());
        node.shell(&id, &format!("cd {logs}/{at}; {plant}"))?;
        ensure!(node.reopen_log(&id).is_err(), "{what}: the log was opened");
        // It goes on in the file it has, and what is read by the name is not the host's.
        say(&node, &id, "more")?;
        let read = node.world.run(&["logs", &id])?;
        ensure!(!read.stdout.contains("secret"), "{what}: {read:?}");
        canary.check()?;
        node.shell(&id, &format!("cd {logs}/{at}; {undo}"))?;
    }
    node.reopen_log(&id)?;
    say(&node, &id, "last")?;
    heard(&node, &id, &own, "last")?;
    canary.check()?;
    node.finish()
}

#[test]
fn a_container_whose_log_would_lie_elsewhere_does_not_start() -> Result<()> {
    let node = Node::new()?;
    let (logs, outside) = (node.world.path("logs"), node.world.path("outside"));
    let canary = Canary::put(&outside)?;
    let pod = node.run_pod(node.pod("a"))?;
    let mut config = script("planter", "sleep 1000");
    config.mounts = vec![volume(&logs)];
    let planter = node.run(&pod, config)?;
    let (out, logs) = (outside.display(), logs.display());
    let refused = |name: &str, plant: &str| -> Result<()> {
        node.shell(&planter, &format!("cd {logs}; {plant}"))?;
        let id = node.create(&pod, script(name, "echo out"))?;
        let error = node.start(&id).unwrap_err();
        ensure!(error.message().contains("log"), "{name}: {error:?}");
        canary.check()
    };
    refused("evil", &format!("ln -s {out} a/evil"))?;
    refused("evil2", &format!("mv a good; ln -s {out} a"))?;
    // A pod whose directory is a link before it is there.
    node.shell(&planter, &format!("ln -s {out} {logs}/b"))?;
    let error = node.run_pod(node.pod("b")).unwrap_err();
    ensure!(error.message().contains("log_directory"), "{error:?}");
    canary.check()?;
    node.shell(&planter, &format!("cd {logs}; rm a b; mv good a"))?;
    node.finish()
}

#[test]
fn a_log_lies_beneath_the_directory_of_its_pod_behind_links_of_the_operators() -> Result<()> {
    let node = Node::new()?;
    let real = node.world.path("real-logs");
    fs::create_dir(&real)?;
    std::os::unix::fs::symlink(&real, node.world.path("logs"))?;
    let pod = node.run_pod(node.pod("a"))?;
    for path in ["../x.log", "/etc/x.log", "x/../../y", ".", "a//b", "x\0y"] {
        let mut config = script("web", "true");
        config.log_path = path.to_owned();
        let error = node.create(&pod, config).unwrap_err();
        ensure!(error.code() == tonic::Code::InvalidArgument, "{path:?}: {error:?}");
        ensure!(error.message().contains("log_path"), "{path:?}: {error:?}");
    }
    let id = node.run(&pod, script("web", SAYING))?;
    node.shell(&id, "until [ -p /tmp/ask ]; do :; done")?;
    say(&node, &id, "word")?;
    heard(&node, &id, &real.join("a/web/0.log"), "word")?;
    node.reopen_log(&id)?;
    ensure!(node.world.ok(&["logs", &id])?.contains("said word"));
    node.finish()
}
