//! The engine under measurement, with the built-in runtime.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use isula_tests::{
    daemon::{Daemon, Start},
    images,
    programs::program,
};

use super::{Engine, first_line, quiet};
use crate::{
    op::{ImageOp, Op, Program, Step, Target},
    place::{Home, Host, Place},
};

/// A running daemon with the image `busybox`.
pub struct Isula {
    place: Place,
    daemon: Option<Daemon>,
    start: Start,
    client: PathBuf,
}

/// Starts it.
pub fn start(home: &Home) -> Result<Option<Box<dyn Engine>>> {
    Ok(Some(Box::new(Isula::new(home, "isula")?)))
}

impl Isula {
    /// One more of them, in a place called `name`.
    pub fn new(home: &Home, name: &str) -> Result<Self> {
        let place = home.place(name, Host::AsIs)?;
        fs::write(place.path("daemon.json"), "{}\n")?;
        let shim = program("isulad-shim")?.display().to_string();
        let flags = ["--cgroup-parent", &place.account().containers(), "--shim", &shim];
        let start = Start {
            program: program("isulad")?,
            root: place.path("").into(),
            // The level that people run with, not the tests' own.
            log_level: "warn",
            flags: flags.iter().map(ToString::to_string).collect(),
            env: Vec::new(),
        };
        let archive = images::busybox_docker_archive()?.display().to_string();
        let client = program("isula")?;
        let mut engine = Self { place, daemon: None, start, client };
        engine.restart()?;
        let loaded = engine.client(&["load", "-i", &archive])?.status()?;
        ensure!(loaded.success(), "isula load: {}", super::tail(&engine.place.path("errors")));
        Ok(engine)
    }

    fn client(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(&self.client);
        command.arg("-H").arg(format!("unix://{}", self.place.path("sock"))).args(arguments);
        quiet(command, &self.place)
    }

    /// Whether the client knows this command.
    fn has(&self, command: &str) -> Result<bool> {
        Ok(self.client(&[command, "--help"])?.status()?.success())
    }
}

impl Engine for Isula {
    fn name(&self) -> &'static str {
        "isula"
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn version(&self) -> Result<String> {
        first_line(Command::new(&self.client).arg("--version"))
    }

    fn programs(&self) -> Vec<PathBuf> {
        ["isula", "isulad", "isulad-shim", "lcr"]
            .into_iter()
            .filter_map(|name| program(name).ok())
            .collect()
    }

    fn steps(&self, op: Op, target: &Target) -> Result<Option<Vec<Step>>> {
        let arguments = docker_like(op, target, "busybox");
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Ok(Some(vec![Step::Run(Box::new(self.client(&words)?))]))
    }

    fn image(&self, op: &ImageOp<'_>) -> Result<Option<Command>> {
        let (name, arguments) = match op {
            ImageOp::Pull(reference) => ("pull", vec!["pull", "-q", reference]),
            ImageOp::Load(file) => ("load", vec!["load", "-i", file]),
            ImageOp::Save(reference, file) => ("save", vec!["save", "-o", file, reference]),
            ImageOp::Export(container, file) => ("export", vec!["export", "-o", file, container]),
            ImageOp::Create(reference, name) => {
                ("create", vec!["create", "--name", name, reference, "/bin/true"])
            }
            ImageOp::RemoveContainer(name) => ("rm", vec!["rm", name]),
            ImageOp::Remove(reference) => ("rmi", vec!["rmi", reference]),
        };
        if !self.has(name)? {
            return Ok(None);
        }
        self.client(&arguments).map(Some)
    }

    fn daemons(&self) -> Vec<u32> {
        self.daemon.iter().map(Daemon::pid).collect()
    }

    fn networks(&self) -> Result<Vec<&'static str>> {
        self.place.enter()?;
        let arguments = ["run", "--rm", "--network", "bridge", "busybox", "true"];
        let bridge = self.client(&arguments)?.status()?.success();
        Ok(if bridge { vec!["bridge"] } else { Vec::new() })
    }

    fn most(&self) -> usize {
        1000
    }

    fn is_slow(&self) -> bool {
        false
    }

    fn end(&mut self) -> Result<()> {
        let Some(daemon) = self.daemon.take() else { return Ok(()) };
        let status = daemon.stop()?;
        ensure!(status.success(), "isulad: {status}: {}", self.start.log_tail());
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        self.place.enter()?;
        self.daemon = Some(self.start.start().context("isulad")?);
        Ok(())
    }
}

/// The arguments for engines with Docker's command line.
pub fn docker_like(op: Op, target: &Target, image: &str) -> Vec<String> {
    let name = target.name.as_str();
    let network = target.network;
    let deaf = target.program == Program::Deaf;
    let mut words = match op {
        Op::Version => vec!["version"],
        Op::Create => vec!["create", "--name", name, "--network", network, image],
        Op::Start => vec!["start", name],
        Op::Exec => vec!["exec", name, "/bin/true"],
        Op::StopNow => vec!["stop", "-t", "0", name],
        Op::StopPolite => vec!["stop", name],
        Op::Remove => vec!["rm", name],
        Op::RunDetached => vec!["run", "-d", "--name", name, "--network", network, image],
        Op::RemoveForce => vec!["rm", "-f", name],
        Op::RunRemove => vec!["run", "--rm", "--name", name, "--network", network, image],
    };
    debug_assert!(op != Op::StopPolite || !deaf, "it would wait for ten seconds");
    if matches!(op, Op::Create | Op::RunDetached | Op::RunRemove) {
        words.extend(target.program.arguments());
    }
    words.into_iter().map(str::to_owned).collect()
}

impl Drop for Isula {
    fn drop(&mut self) {
        drop(self.end());
        drop(self.place.kill_the_rest());
    }
}
