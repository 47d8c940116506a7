//! Bare runc on the same root file system: no daemon, no image, no state that outlives a power cut.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{Cost, group::Group, measure};

/// runc with a state directory of its own.
pub struct Runc {
    root: tempfile::TempDir,
    rootfs: PathBuf,
    group: String,
}

type Rows = Vec<(&'static str, Cost)>;

impl Runc {
    /// Prepares for containers on `rootfs`, whose cgroups are made below the group.
    pub fn new(group: &Group, rootfs: &Path) -> Result<Self> {
        let root = tempfile::Builder::new().prefix("isula-bench-runc.").tempdir()?;
        Ok(Self { root, rootfs: rootfs.to_owned(), group: group.name().to_owned() })
    }

    fn bundle(&self, name: &str, arguments: &[&str]) -> Result<PathBuf> {
        let bundle = self.root.path().join("bundles").join(name);
        fs::create_dir_all(&bundle)?;
        drop(fs::remove_file(bundle.join("config.json")));
        let status = Command::new("runc").arg("spec").current_dir(&bundle).status()?;
        ensure!(status.success(), "runc spec: {status}");
        let file = bundle.join("config.json");
        let mut spec: Value = serde_json::from_slice(&fs::read(&file)?)?;
        if let Some(spec) = spec.as_object_mut() {
            let change = [
                ("/process/args", json!(arguments)),
                ("/process/terminal", json!(false)),
                ("/root/path", json!(self.rootfs)),
            ];
            let mut whole = Value::Object(std::mem::take(spec));
            for (pointer, value) in change {
                if let Some(place) = whole.pointer_mut(pointer) {
                    *place = value;
                }
            }
            if let Some(linux) = whole.pointer_mut("/linux").and_then(Value::as_object_mut) {
                let path = format!("/{}/containers/{name}", self.group);
                linux.insert("cgroupsPath".to_owned(), json!(path));
            }
            fs::write(&file, serde_json::to_vec(&whole)?)?;
        }
        Ok(bundle)
    }

    fn spawn(&self, arguments: &[&str]) -> Result<Child> {
        Ok(Command::new("runc")
            .arg("--root")
            .arg(self.root.path().join("state"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?)
    }

    fn ok(&self, arguments: &[&str]) -> Result<()> {
        let status = self.spawn(arguments)?.wait()?;
        ensure!(status.success(), "runc {arguments:?}: {status}");
        Ok(())
    }

    /// What of a container's life runc has.
    pub fn life(&self, group: &Group, name: &str) -> Result<Rows> {
        let sleeper = self.bundle(name, &["/bin/sleep", "1000"])?.display().to_string();
        let step = |arguments: &[&str]| measure(group, || self.ok(arguments));
        let run = step(&["run", "-d", "-b", &sleeper, name])?;
        let exec = step(&["exec", name, "/bin/true"])?;
        let remove = step(&["delete", "-f", name])?;
        let brief = self.bundle(name, &["/bin/true"])?.display().to_string();
        let whole = step(&["run", "-b", &brief, name])?;
        Ok(vec![("run -d", run), ("exec", exec), ("rm -f", remove), ("run --rm", whole)])
    }

    /// Many at once.
    pub fn crowd(&self, group: &Group, size: usize) -> Result<Rows> {
        let mut bundles = Vec::new();
        for number in 0..size {
            let name = format!("c{number}");
            let bundle = self.bundle(&name, &["/bin/sleep", "1000"])?.display().to_string();
            bundles.push((name, bundle));
        }
        let all = |start: &dyn Fn(&str, &str) -> Result<Child>| {
            measure(group, || {
                let mut children = Vec::new();
                for (name, bundle) in &bundles {
                    children.push(start(name, bundle)?);
                }
                for mut child in children {
                    ensure!(child.wait()?.success(), "runc failed");
                }
                Ok(())
            })
        };
        Ok(vec![
            ("100 x run -d", all(&|name, bundle| self.spawn(&["run", "-d", "-b", bundle, name]))?),
            ("100 x rm -f", all(&|name, _| self.spawn(&["delete", "-f", name]))?),
        ])
    }
}
