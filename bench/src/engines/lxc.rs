//! LXC: no daemon, no images; containers are directories with a configuration. Its containers get
//! an overlay, a namespace of each kind and an empty network, as the others'.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use anyhow::Result;
use isula_tests::images;

use super::{Engine, first_line, installed, quiet};
use crate::{
    op::{ImageOp, Op, Program, Step, Target},
    place::{Home, Host, Place},
};

struct Lxc {
    place: Place,
}

/// Prepares for it.
pub fn start(home: &Home) -> Result<Option<Box<dyn Engine>>> {
    if installed("bin/lxc-start").is_none() {
        return Ok(None);
    }
    let place = home.place("lxc", Host::AsIs)?;
    images::busybox_rootfs(place.path("rootfs").as_ref())?;
    // What `lxc-execute` runs in the container.
    fs::create_dir_all(place.path("rootfs/usr/sbin"))?;
    fs::write(place.path("rootfs/usr/sbin/init.lxc.static"), "")?;
    let script = place.path("rootfs/bin/polite");
    let [_, _, text] = Program::Polite.arguments()[..] else { return Ok(None) };
    fs::write(&script, format!("#!/bin/sh\n{text}\n"))?;
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755))?;
    Ok(Some(Box::new(Lxc { place })))
}

impl Lxc {
    /// Writes the configuration of a container, which LXC has no fast command for.
    fn configure(&self, target: &Target) -> Result<()> {
        let directory = self.place.path(&format!("lxc/{}", target.name));
        fs::create_dir_all(format!("{directory}/upper"))?;
        let command = match target.program {
            // The configuration cannot hold a script.
            Program::Polite => "/bin/polite".to_owned(),
            program => program.arguments().join(" "),
        };
        let group = self.place.account().containers();
        let group = group.trim_start_matches('/');
        let config = format!(
            "lxc.rootfs.path = overlayfs:{}:{directory}/upper\nlxc.uts.name = {name}\n\
             lxc.net.0.type = empty\nlxc.signal.halt = SIGTERM\nlxc.signal.stop = SIGKILL\n\
             lxc.cgroup.dir.container = {group}/{name}\nlxc.cgroup.dir.monitor = {group}-monitor/{name}\n\
             lxc.mount.auto = proc:mixed sys:ro\nlxc.autodev = 1\nlxc.pty.max = 1\nlxc.tty.max = 0\n\
             lxc.cap.drop = sys_module sys_time sys_rawio sys_boot mac_admin mac_override\n\
             lxc.seccomp.profile = /usr/share/lxc/config/common.seccomp\n\
             lxc.log.file = {log}\nlxc.log.level = ERROR\nlxc.init.cmd = {command}\n",
            self.place.path("rootfs"),
            name = target.name,
            log = self.place.path("errors"),
        );
        Ok(fs::write(format!("{directory}/config"), config)?)
    }

    fn client(&self, program: &str, name: &str, arguments: &[&str]) -> Result<Step> {
        let mut command = Command::new(format!("/usr/bin/{program}"));
        command.args(["-P", &self.place.path("lxc"), "-n", name]).args(arguments);
        Ok(Step::Run(Box::new(quiet(command, &self.place)?)))
    }
}

impl Engine for Lxc {
    fn name(&self) -> &'static str {
        "lxc"
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn version(&self) -> Result<String> {
        self.place.enter()?;
        Ok(format!("lxc {}", first_line(Command::new("/usr/bin/lxc-start").arg("--version"))?))
    }

    fn programs(&self) -> Vec<PathBuf> {
        let names = ["bin/lxc-start", "bin/lxc-attach", "bin/lxc-stop", "bin/lxc-execute"];
        names.into_iter().filter_map(installed).collect()
    }

    fn steps(&self, op: Op, target: &Target) -> Result<Option<Vec<Step>>> {
        let name = target.name.as_str();
        if matches!(op, Op::Start | Op::RunRemove) {
            self.configure(target)?;
        }
        let step = match op {
            Op::Start => self.client("lxc-start", name, &["-d"])?,
            Op::Exec => self.client("lxc-attach", name, &["--", "/bin/true"])?,
            Op::StopNow => self.client("lxc-stop", name, &["-k"])?,
            Op::StopPolite => self.client("lxc-stop", name, &[])?,
            Op::RunRemove => self.client("lxc-execute", name, &["--", "/bin/true"])?,
            Op::Version => {
                let mut command = Command::new("/usr/bin/lxc-start");
                command.arg("--version");
                Step::Run(Box::new(quiet(command, &self.place)?))
            }
            Op::Create | Op::Remove | Op::RunDetached | Op::RemoveForce => return Ok(None),
        };
        Ok(Some(vec![step]))
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

impl Drop for Lxc {
    fn drop(&mut self) {
        drop(self.place.kill_the_rest());
    }
}
