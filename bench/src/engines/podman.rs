//! Podman, which has no daemon: each command does the work, conmon stays with the container.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Result, ensure};
use isula_tests::images;

use super::{Engine, first_line, installed, isula::docker_like, quiet, tail};
use crate::{
    op::{ImageOp, Op, Step, Target},
    place::{Home, Host, Place},
};

struct Podman {
    name: &'static str,
    place: Place,
    runtime: PathBuf,
    has_bridge: bool,
}

/// Podman with the runtime it prefers.
pub fn start_with_crun(home: &Home) -> Result<Option<Box<dyn Engine>>> {
    // crun refuses to see both versions of control groups.
    start(home, "podman-crun", "bin/crun", Host::WithoutUnified)
}

/// Podman with Docker's runtime.
pub fn start_with_runc(home: &Home) -> Result<Option<Box<dyn Engine>>> {
    start(home, "podman-runc", "sbin/runc", Host::AsIs)
}

fn start(
    home: &Home,
    name: &'static str,
    runtime: &str,
    host: Host,
) -> Result<Option<Box<dyn Engine>>> {
    let (Some(_), Some(runtime)) = (installed("bin/podman"), installed(runtime)) else {
        return Ok(None);
    };
    let place = home.place(name, host)?;
    let plugins = installed("lib/cni/bridge").and_then(|path| path.parent().map(PathBuf::from));
    let networks = place.path("networks");
    fs::create_dir_all(&networks)?;
    let plugins_line = plugins.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    // Its own defaults are above what a machine without CAP_SYS_RESOURCE may set.
    let config = format!(
        "[network]\nnetwork_backend = \"cni\"\ncni_plugin_dirs = [\"{plugins_line}\"]\n\
         network_config_dir = \"{networks}\"\n[engine]\nevents_logger = \"file\"\n\
         [containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=32768:32768\"]\n"
    );
    fs::write(place.path("containers.conf"), config)?;
    fs::write(
        place.path("storage.conf"),
        format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            place.path("data"),
            place.path("state")
        ),
    )?;
    fs::write(place.path("registries.conf"), "")?;
    let bridge = serde_json::json!({
        "cniVersion": "0.4.0",
        "name": "podman",
        "plugins": [{
            "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "routes": [{ "dst": "0.0.0.0/0" }],
                "ranges": [[{ "subnet": "10.88.0.0/16", "gateway": "10.88.0.1" }]],
                "dataDir": place.path("leases")
            }
        }]
    });
    fs::write(format!("{networks}/87-podman.conflist"), bridge.to_string())?;
    place.enter()?;
    let podman = Podman { name, place, runtime, has_bridge: plugins.is_some() };
    let archive = images::busybox_docker_archive()?.display().to_string();
    let loaded = podman.client(&["load", "-q", "-i", &archive])?.status()?;
    ensure!(loaded.success(), "podman load: {}", tail(&podman.place.path("errors")));
    Ok(Some(Box::new(podman)))
}

impl Podman {
    fn client(&self, arguments: &[&str]) -> Result<Command> {
        let place = &self.place;
        let mut command = Command::new("/usr/bin/podman");
        command
            .env("CONTAINERS_CONF", place.path("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", place.path("storage.conf"))
            .env("CONTAINERS_REGISTRIES_CONF", place.path("registries.conf"))
            .env("XDG_RUNTIME_DIR", place.path("xdg"))
            .args(["--root", &place.path("data"), "--runroot", &place.path("state")])
            .args(["--tmpdir", &place.path("tmp"), "--cgroup-manager", "cgroupfs"])
            .args(["--conmon", "/usr/bin/conmon", "--log-level", "error", "--runtime"])
            .arg(&self.runtime)
            .args(arguments);
        quiet(command, place)
    }
}

impl Engine for Podman {
    fn name(&self) -> &'static str {
        self.name
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn version(&self) -> Result<String> {
        self.place.enter()?;
        let podman = first_line(Command::new("/usr/bin/podman").arg("--version"))?;
        Ok(format!("{podman}, {}", first_line(Command::new(&self.runtime).arg("--version"))?))
    }

    fn programs(&self) -> Vec<PathBuf> {
        let mut programs: Vec<PathBuf> =
            ["bin/podman", "bin/conmon"].into_iter().filter_map(installed).collect();
        programs.push(self.runtime.clone());
        programs
    }

    fn steps(&self, op: Op, target: &Target) -> Result<Option<Vec<Step>>> {
        let mut arguments = docker_like(op, target, "busybox:latest");
        if matches!(op, Op::Create | Op::RunDetached | Op::RunRemove) {
            let parent = format!("--cgroup-parent={}", self.place.account().containers());
            arguments.splice(1..1, [parent, "--pull=never".to_owned()]);
            if let Some(network) = arguments.iter_mut().find(|word| *word == "bridge") {
                "podman".clone_into(network);
            }
        }
        if op == Op::RemoveForce {
            // Otherwise it gives the process ten seconds.
            arguments.splice(1..1, ["-t".to_owned(), "0".to_owned()]);
        }
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Ok(Some(vec![Step::Run(Box::new(self.client(&words)?))]))
    }

    fn image(&self, op: &ImageOp<'_>) -> Result<Option<Command>> {
        let arguments = match op {
            ImageOp::Pull(reference) => vec!["pull", "-q", "--tls-verify=false", reference],
            ImageOp::Load(file) => vec!["load", "-q", "-i", file],
            ImageOp::Save(reference, file) => vec!["save", "-q", "-o", file, reference],
            ImageOp::Export(container, file) => vec!["export", "-o", file, container],
            ImageOp::Create(reference, name) => {
                vec!["create", "--name", name, "--network", "none", reference, "/bin/true"]
            }
            ImageOp::RemoveContainer(name) => vec!["rm", name],
            ImageOp::Remove(reference) => vec!["rmi", "-f", reference],
        };
        self.client(&arguments).map(Some)
    }

    fn daemons(&self) -> Vec<u32> {
        Vec::new()
    }

    fn networks(&self) -> Result<Vec<&'static str>> {
        Ok(if self.has_bridge { vec!["bridge"] } else { Vec::new() })
    }

    fn end(&mut self) -> Result<()> {
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        drop(self.place.kill_the_rest());
    }
}
