//! A network namespace that stands for the host's: what a daemon does to the network stays in there.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output},
};

use anyhow::Result;

use crate::{daemon::Start, programs::succeed};

/// A network namespace, pinned at a path, that goes with its value.
pub struct Host(PathBuf);

impl Host {
    /// A new one, its loopback device up.
    pub fn new(pin: PathBuf) -> Result<Self> {
        fs::write(&pin, "")?;
        let pinned = format!("--net={}", pin.display());
        succeed(Command::new("unshare").args([&pinned, "true"]))?;
        let host = Self(pin);
        host.run(&["ip", "link", "set", "lo", "up"])?;
        Ok(host)
    }

    /// A command in there, not yet started.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.0.display())).args(arguments);
        command
    }

    /// Runs a command in there, which must succeed; gives its output.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        succeed(&mut self.command(arguments))
    }

    /// Runs a command in there, whatever comes of it.
    pub fn try_run(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command(arguments).output()?)
    }

    /// Has a daemon run in there from its next start on.
    pub fn enclose(&self, how: &mut Start) -> Result<()> {
        let script = how.root.join("isulad-in-namespace");
        let (pin, program) = (self.0.display(), how.program.display());
        let text = format!("#!/bin/sh\nexec nsenter --net={pin} {program} \"$@\"\n");
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        how.program = script;
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).status());
    }
}
