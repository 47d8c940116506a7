//! containerd with its own client `ctr`: what is below Docker and many a kubelet.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use isula_tests::images;

use super::{Engine, Service, first_line, installed, quiet, tail};
use crate::{
    op::{ImageOp, Op, Step, Target},
    place::{Home, Place},
};

const PATH: &str = "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin";
const IMAGE: &str = "docker.io/library/busybox:latest";

struct Containerd {
    place: Place,
    /// Where its programs are: the newest that is installed.
    bin: PathBuf,
    service: Option<Service>,
}

/// Starts it.
pub fn start(home: &Home) -> Result<Option<Box<dyn Engine>>> {
    let newest = installed("local/bin/containerd").or_else(|| installed("bin/containerd"));
    let Some(program) = newest else { return Ok(None) };
    let bin = program.parent().context("no directory")?.to_owned();
    let place = home.place_beside("containerd")?;
    let config = format!(
        "version = 2\nroot = \"{}\"\nstate = \"{}\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \
         \"io.containerd.cri.v1.runtime\"]\n[grpc]\naddress = \"{}\"\n",
        place.path("data"),
        place.path("state"),
        place.path("sock")
    );
    fs::write(place.path("config.toml"), config)?;
    let mut engine = Containerd { place, bin, service: None };
    engine.restart()?;
    let archive = images::busybox_docker_archive()?.display().to_string();
    let loaded = engine.client(&["images", "import", "--no-unpack=false", &archive])?.status()?;
    ensure!(loaded.success(), "ctr images import: {}", tail(&engine.place.path("errors")));
    Ok(Some(Box::new(engine)))
}

impl Containerd {
    fn command(&self) -> Command {
        let mut command = Command::new(self.bin.join("ctr"));
        // Its containers' cgroups are named after its namespace.
        let containers = self.place.account().containers();
        let namespace = containers.trim_start_matches('/');
        command.env("PATH", PATH).args(["-a", &self.place.path("sock"), "-n", namespace]);
        command
    }

    fn client(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.command();
        command.args(arguments);
        quiet(command, &self.place)
    }

    fn step(&self, arguments: &[&str]) -> Result<Step> {
        Ok(Step::Run(Box::new(self.client(arguments)?)))
    }
}

impl Engine for Containerd {
    fn name(&self) -> &'static str {
        "containerd"
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn version(&self) -> Result<String> {
        self.place.enter()?;
        first_line(Command::new(self.bin.join("containerd")).arg("--version"))
    }

    fn programs(&self) -> Vec<PathBuf> {
        let mut programs: Vec<PathBuf> = ["ctr", "containerd", "containerd-shim-runc-v2"]
            .into_iter()
            .map(|name| self.bin.join(name))
            .collect();
        programs.extend(installed("sbin/runc"));
        programs
    }

    fn steps(&self, op: Op, target: &Target) -> Result<Option<Vec<Step>>> {
        let name = target.name.as_str();
        let account = self.place.account();
        let gone = || Step::Gone(account.directory().join(name));
        let whole = |first: &[&str], flags: &[&str]| {
            let mut words = first.to_vec();
            words.extend(flags);
            words.extend([IMAGE, name]);
            words.extend(target.program.arguments());
            self.step(&words)
        };
        let steps = match op {
            Op::Version => vec![self.step(&["version"])?],
            Op::Create => vec![whole(&["containers", "create"], &[])?],
            Op::Start => vec![self.step(&["tasks", "start", "-d", "--null-io", name])?],
            Op::Exec => {
                vec![self.step(&["tasks", "exec", "--exec-id", "e", name, "/bin/true"])?]
            }
            Op::StopNow => vec![self.step(&["tasks", "delete", "-f", name])?],
            Op::StopPolite => vec![
                self.step(&["tasks", "kill", "-s", "SIGTERM", name])?,
                gone(),
                self.step(&["tasks", "delete", name])?,
            ],
            Op::Remove => vec![self.step(&["containers", "delete", name])?],
            Op::RunDetached => vec![whole(&["run"], &["-d", "--null-io"])?],
            Op::RemoveForce => vec![
                self.step(&["tasks", "delete", "-f", name])?,
                self.step(&["containers", "delete", name])?,
            ],
            Op::RunRemove => vec![whole(&["run"], &["--rm"])?],
        };
        Ok(Some(steps))
    }

    fn image(&self, op: &ImageOp<'_>) -> Result<Option<Command>> {
        let arguments = match op {
            ImageOp::Pull(reference) => vec!["images", "pull", "--plain-http", reference],
            ImageOp::Load(file) => vec!["images", "import", file],
            ImageOp::Save(reference, file) => vec!["images", "export", file, reference],
            ImageOp::Export(..) | ImageOp::Create(..) | ImageOp::RemoveContainer(_) => {
                return Ok(None);
            }
            ImageOp::Remove(reference) => vec!["images", "delete", "--sync", reference],
        };
        self.client(&arguments).map(Some)
    }

    fn daemons(&self) -> Vec<u32> {
        self.service.iter().map(Service::pid).collect()
    }

    fn end(&mut self) -> Result<()> {
        self.service.take().map_or(Ok(()), |mut service| service.end())
    }

    fn restart(&mut self) -> Result<()> {
        self.place.enter()?;
        let log = self.place.path("log");
        let mut command = Command::new(self.bin.join("containerd"));
        command.env("PATH", PATH).args(["--log-level", "warn", "--config"]);
        command.arg(self.place.path("config.toml"));
        let mut service = Service::start(&mut command, &log)?;
        service.answers(self.command().arg("version"), &log)?;
        self.service = Some(service);
        Ok(())
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        drop(self.end());
        drop(self.place.kill_the_rest());
    }
}
