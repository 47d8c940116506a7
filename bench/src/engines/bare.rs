//! Bare OCI runtimes on a prepared root file system: no daemon, no image, no state that outlives a
//! power cut, and nobody who knows how a container ended.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use isula_tests::images;
use serde_json::{Value, json};

use super::{Engine, first_line, installed, quiet};
use crate::{
    op::{ImageOp, Op, Step, Target},
    place::{Home, Host, Place},
};

struct Bare {
    name: &'static str,
    place: Place,
    program: PathBuf,
    template: Value,
}

/// runc alone.
pub fn start_runc(home: &Home) -> Result<Option<Box<dyn Engine>>> {
    start(home, "runc", "sbin/runc", Host::AsIs)
}

/// crun alone.
pub fn start_crun(home: &Home) -> Result<Option<Box<dyn Engine>>> {
    // It refuses to see both versions of control groups.
    start(home, "crun", "bin/crun", Host::WithoutUnified)
}

fn start(
    home: &Home,
    name: &'static str,
    program: &str,
    host: Host,
) -> Result<Option<Box<dyn Engine>>> {
    let Some(program) = installed(program) else { return Ok(None) };
    let place = home.place(name, host)?;
    images::busybox_rootfs(place.path("rootfs").as_ref())?;
    place.enter()?;
    let status = Command::new(&program).arg("spec").current_dir(place.path("")).status()?;
    ensure!(status.success(), "{name} spec: {status}");
    let template = serde_json::from_slice(&fs::read(place.path("config.json"))?)?;
    Ok(Some(Box::new(Bare { name, place, program, template })))
}

impl Bare {
    /// Writes a bundle, which is the caller's business with an OCI runtime.
    fn bundle(&self, target: &Target) -> Result<String> {
        let bundle = self.place.path(&format!("bundles/{}", target.name));
        fs::create_dir_all(&bundle)?;
        let mut spec = self.template.clone();
        let change = [
            ("/process/args", json!(target.program.arguments())),
            ("/process/terminal", json!(false)),
            ("/root/path", json!(self.place.path("rootfs"))),
        ];
        for (pointer, value) in change {
            if let Some(place) = spec.pointer_mut(pointer) {
                *place = value;
            }
        }
        if let Some(linux) = spec.pointer_mut("/linux").and_then(Value::as_object_mut) {
            let path = format!("{}/{}", self.place.account().containers(), target.name);
            linux.insert("cgroupsPath".to_owned(), json!(path));
        }
        fs::write(Path::new(&bundle).join("config.json"), serde_json::to_vec(&spec)?)?;
        Ok(bundle)
    }

    fn step(&self, arguments: &[&str]) -> Result<Step> {
        let mut command = Command::new(&self.program);
        command.args(["--root", &self.place.path("state")]).args(arguments);
        Ok(Step::Run(Box::new(quiet(command, &self.place)?)))
    }
}

impl Engine for Bare {
    fn name(&self) -> &'static str {
        self.name
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn version(&self) -> Result<String> {
        self.place.enter()?;
        first_line(Command::new(&self.program).arg("--version"))
    }

    fn programs(&self) -> Vec<PathBuf> {
        vec![self.program.clone()]
    }

    fn steps(&self, op: Op, target: &Target) -> Result<Option<Vec<Step>>> {
        let name = target.name.as_str();
        let gone = || Step::Gone(self.place.account().directory().join(name));
        let steps = match op {
            Op::Version => vec![self.step(&["--version"])?],
            Op::Create => vec![self.step(&["create", "-b", &self.bundle(target)?, name])?],
            Op::Start => vec![self.step(&["start", name])?],
            Op::Exec => vec![self.step(&["exec", name, "/bin/true"])?],
            Op::StopNow => vec![self.step(&["kill", name, "KILL"])?, gone()],
            Op::StopPolite => vec![self.step(&["kill", name, "TERM"])?, gone()],
            Op::Remove => vec![self.step(&["delete", name])?],
            Op::RunDetached => {
                vec![self.step(&["run", "-d", "-b", &self.bundle(target)?, name])?]
            }
            Op::RemoveForce => vec![self.step(&["delete", "-f", name])?],
            Op::RunRemove => vec![self.step(&["run", "-b", &self.bundle(target)?, name])?],
        };
        Ok(Some(steps))
    }

    fn image(&self, _op: &ImageOp<'_>) -> Result<Option<Command>> {
        Ok(None)
    }

    fn daemons(&self) -> Vec<u32> {
        Vec::new()
    }

    fn is_slow(&self) -> bool {
        false
    }

    fn end(&mut self) -> Result<()> {
        Ok(())
    }

    fn restart(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.place.kill_the_rest());
    }
}
