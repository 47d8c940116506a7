//! Docker: dockerd with a containerd of its own, as Debian packages them.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Result, ensure};
use isula_tests::images;

use super::{Engine, Service, first_line, installed, isula::docker_like, quiet, tail};
use crate::{
    op::{ImageOp, Op, Step, Target},
    place::{Home, Host, Place},
};

const PATH: &str = "/usr/bin:/usr/sbin:/bin:/sbin";

struct Docker {
    place: Place,
    containerd: Option<Service>,
    dockerd: Option<Service>,
}

/// Starts it.
pub fn start(home: &Home) -> Result<Option<Box<dyn Engine>>> {
    if installed("sbin/dockerd").is_none() {
        return Ok(None);
    }
    let place = home.place("docker", Host::AsIs)?;
    let config = format!(
        "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = \"{}\"\n",
        place.path("containerd"),
        place.path("state/containerd"),
        place.path("containerd.sock")
    );
    fs::write(place.path("containerd.toml"), config)?;
    fs::write(place.path("docker.json"), "{}")?;
    let mut docker = Docker { place, containerd: None, dockerd: None };
    docker.restart()?;
    let archive = images::busybox_docker_archive()?.display().to_string();
    let loaded = docker.client(&["load", "-q", "-i", &archive])?.status()?;
    ensure!(loaded.success(), "docker load: {}", tail(&docker.place.path("errors")));
    Ok(Some(Box::new(docker)))
}

impl Docker {
    fn command(&self) -> Command {
        let mut command = Command::new("/usr/bin/docker");
        command
            .env("DOCKER_CONFIG", self.place.path("client"))
            .env("PATH", PATH)
            .args(["-H", &format!("unix://{}", self.place.path("docker.sock"))]);
        command
    }

    fn client(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.command();
        command.args(arguments);
        quiet(command, &self.place)
    }
}

impl Engine for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn version(&self) -> Result<String> {
        self.place.enter()?;
        first_line(Command::new("/usr/sbin/dockerd").arg("--version"))
    }

    fn programs(&self) -> Vec<PathBuf> {
        let names = [
            "bin/docker",
            "sbin/dockerd",
            "bin/containerd",
            "bin/containerd-shim-runc-v2",
            "sbin/runc",
        ];
        names.into_iter().filter_map(installed).collect()
    }

    fn steps(&self, op: Op, target: &Target) -> Result<Option<Vec<Step>>> {
        let arguments = docker_like(op, target, "busybox:latest");
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Ok(Some(vec![Step::Run(Box::new(self.client(&words)?))]))
    }

    fn image(&self, op: &ImageOp<'_>) -> Result<Option<Command>> {
        let arguments = match op {
            ImageOp::Pull(reference) => vec!["pull", "-q", reference],
            ImageOp::Load(file) => vec!["load", "-q", "-i", file],
            ImageOp::Save(reference, file) => vec!["save", "-o", file, reference],
            ImageOp::Export(container, file) => vec!["export", "-o", file, container],
            ImageOp::Create(reference, name) => {
                vec!["create", "--name", name, "--network", "none", reference, "/bin/true"]
            }
            ImageOp::RemoveContainer(name) => vec!["rm", name],
            ImageOp::Remove(reference) => vec!["rmi", reference],
        };
        self.client(&arguments).map(Some)
    }

    fn daemons(&self) -> Vec<u32> {
        self.containerd.iter().chain(&self.dockerd).map(Service::pid).collect()
    }

    fn networks(&self) -> Result<Vec<&'static str>> {
        Ok(vec!["bridge"])
    }

    fn end(&mut self) -> Result<()> {
        for mut service in [self.dockerd.take(), self.containerd.take()].into_iter().flatten() {
            service.end()?;
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        let place = &self.place;
        place.enter()?;
        let log = place.path("log");
        let mut command = Command::new("/usr/bin/containerd");
        command.env("PATH", PATH).args(["--log-level", "warn", "--config"]);
        command.arg(place.path("containerd.toml"));
        let mut containerd = Service::start(&mut command, &log)?;
        let mut ctr = Command::new("/usr/bin/ctr");
        ctr.args(["-a", &place.path("containerd.sock"), "version"]);
        containerd.answers(&mut ctr, &log)?;
        self.containerd = Some(containerd);
        let mut command = Command::new("/usr/sbin/dockerd");
        command
            .env("PATH", PATH)
            .args(["--config-file", &place.path("docker.json"), "--log-level", "warn"])
            .args(["--data-root", &place.path("data"), "--exec-root", &place.path("state/docker")])
            .args(["--pidfile", &place.path("pid"), "-H"])
            .arg(format!("unix://{}", place.path("docker.sock")))
            .args(["--containerd", &place.path("containerd.sock")])
            .args(["--storage-driver", "overlay2", "--iptables=false", "--ip-masq=false"])
            .args(["--userland-proxy=false", "--exec-opt", "native.cgroupdriver=cgroupfs"])
            .args(["--cgroup-parent", &place.account().containers()]);
        let mut dockerd = Service::start(&mut command, &log)?;
        dockerd.answers(self.command().arg("version"), &log)?;
        self.dockerd = Some(dockerd);
        Ok(())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        drop(self.end());
        drop(self.place.kill_the_rest());
    }
}
