//! The engine under measurement: a daemon of its own with the built-in runtime.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use isula_tests::{
    census::pss,
    daemon::{Daemon, Start},
    images,
    programs::program,
};

use crate::{Cost, group::Group, measure};

/// A running daemon with the image `busybox`.
pub struct Engine {
    daemon: Option<Daemon>,
    client: PathBuf,
    root: tempfile::TempDir,
    rootfs: PathBuf,
}

type Rows = Vec<(&'static str, Cost)>;

impl Engine {
    /// Starts it; its containers' cgroups are made below the group.
    pub fn start(group: &Group) -> Result<Self> {
        let root = tempfile::Builder::new().prefix("isula-bench.").tempdir()?;
        fs::write(root.path().join("daemon.json"), "{}\n")?;
        let flags = ["--cgroup-parent", &format!("/{}/containers", group.name()), "--shim"];
        let mut flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        flags.push(program("isulad-shim")?.display().to_string());
        let start = Start {
            program: program("isulad")?,
            root: root.path().to_owned(),
            // The level that people run with, not the tests' own.
            log_level: "warn",
            flags,
            env: Vec::new(),
        };
        let rootfs = root.path().join("rootfs");
        images::busybox_rootfs(&rootfs)?;
        let daemon = Some(start.start()?);
        let engine = Self { daemon, client: program("isula")?, root, rootfs };
        engine.ok(&["load", "-i", &images::busybox_docker_archive()?.display().to_string()])?;
        Ok(engine)
    }

    /// A root file system like the image's, for peers.
    pub fn rootfs(&self) -> &Path {
        &self.rootfs
    }

    fn spawn(&self, arguments: &[&str]) -> Result<Child> {
        Ok(Command::new(&self.client)
            .arg("-H")
            .arg(format!("unix://{}", self.root.path().join("sock").display()))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?)
    }

    fn ok(&self, arguments: &[&str]) -> Result<()> {
        let status = self.spawn(arguments)?.wait()?;
        ensure!(status.success(), "isula {arguments:?}: {status}");
        Ok(())
    }

    /// One container through its life, each step measured.
    pub fn life(&self, group: &Group, name: &str) -> Result<Rows> {
        let step = |arguments: &[&str]| measure(group, || self.ok(arguments));
        let rows = vec![
            ("version", step(&["version"])?),
            ("create", step(&["create", "--name", name, "busybox", "sleep", "1000"])?),
            ("start", step(&["start", name])?),
            ("exec", step(&["exec", name, "true"])?),
            ("stop -t 0", step(&["stop", "-t", "0", name])?),
            ("rm", step(&["rm", name])?),
            ("run -d", step(&["run", "-d", "--name", name, "busybox", "sleep", "1000"])?),
            ("rm -f", step(&["rm", "-f", name])?),
            ("run --rm", step(&["run", "--rm", "busybox", "true"])?),
        ];
        Ok(rows)
    }

    /// Many clients at once; the cost is that of all of them together.
    pub fn crowd(&self, group: &Group, size: usize) -> Result<Rows> {
        let names: Vec<String> = (0..size).map(|number| format!("c{number}")).collect();
        let all = |arguments: &dyn Fn(&str) -> Vec<String>| {
            measure(group, || {
                let mut children = Vec::new();
                for name in &names {
                    let arguments = arguments(name);
                    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                    children.push(self.spawn(&arguments)?);
                }
                for mut child in children {
                    ensure!(child.wait()?.success(), "a client failed");
                }
                Ok(())
            })
        };
        let words = |text: &str, name: &str| -> Vec<String> {
            text.replace("NAME", name).split(' ').map(str::to_owned).collect()
        };
        Ok(vec![
            ("100 x create", all(&|name| words("create --name NAME busybox sleep 1000", name))?),
            ("100 x start", all(&|name| words("start NAME", name))?),
            ("100 x stop -t 0", all(&|name| words("stop -t 0 NAME", name))?),
            ("100 x rm", all(&|name| words("rm NAME", name))?),
            ("100 x run -d", all(&|name| words("run -d --name NAME busybox sleep 1000", name))?),
            ("100 x rm -f", all(&|name| words("rm -f NAME", name))?),
        ])
    }

    /// Memory of the daemon and of each shim with so many containers running.
    pub fn memory(&self, counts: &[usize]) -> Result<String> {
        let mut text =
            String::from("| containers | daemon PSS, KiB | shim PSS, KiB each |\n|---|---|---|\n");
        let mut running = 0;
        for &count in counts {
            while running < count {
                self.ok(&[
                    "run",
                    "-d",
                    "--name",
                    &format!("m{running}"),
                    "busybox",
                    "sleep",
                    "1000",
                ])?;
                running += 1;
            }
            let daemon = self.daemon.as_ref().context("no daemon")?.pid();
            let mut shims = 0;
            for pid in children(daemon)? {
                shims += pss(pid)?;
            }
            let each = shims.checked_div(running as u64).unwrap_or_default();
            writeln!(text, "| {running} | {} | {each} |", pss(daemon)?)?;
        }
        for number in 0..running {
            self.ok(&["rm", "-f", &format!("m{number}")])?;
        }
        Ok(text)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            drop(daemon.stop());
        }
    }
}

/// The shims, which are children of the daemon that started them.
fn children(pid: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("children"))?;
        found.extend(text.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
    }
    Ok(found)
}
