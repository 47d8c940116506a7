//! The keys of control groups.

use isula_core::cgroup::{CgroupDriver, Slice};

use super::{ConfigError, keys::File, resolve::Sources};

/// Where containers are that ask for nothing else.
const PARENT: &str = "/isulad";
/// The same where systemd makes control groups.
const SLICE: &str = "isulad.slice";
/// The one option of `exec-opts` that Docker has, too.
const OPTION: &str = "native.cgroupdriver";

impl Sources<'_> {
    pub(super) fn cgroup_driver(&self, file: &File) -> Result<CgroupDriver, ConfigError> {
        let driver = |wanted| match wanted {
            true => CgroupDriver::Systemd,
            false => CgroupDriver::Cgroupfs,
        };
        let docker = self.exec_options(file)?;
        if self.flags.systemd_cgroup {
            return Ok(CgroupDriver::Systemd);
        }
        match (file.systemd_cgroup.map(driver), docker) {
            (Some(own), Some(docker)) if own != docker => {
                let message = format!("{OPTION}={} contradicts systemd-cgroup", docker.name());
                Err(self.wrong("exec-opts", message))
            }
            (own, docker) => Ok(own.or(docker).unwrap_or_default()),
        }
    }

    fn exec_options(&self, file: &File) -> Result<Option<CgroupDriver>, ConfigError> {
        let mut driver = None;
        for option in file.exec_opts.iter().flatten() {
            driver = match option.split_once('=') {
                Some((OPTION, "systemd")) => Some(CgroupDriver::Systemd),
                Some((OPTION, "cgroupfs")) => Some(CgroupDriver::Cgroupfs),
                Some((OPTION, other)) => {
                    let message = format!("{OPTION} {other:?}: it must be cgroupfs or systemd");
                    return Err(self.wrong("exec-opts", message));
                }
                _ => return Err(self.wrong("exec-opts", format!("unknown option {option:?}"))),
            };
        }
        Ok(driver)
    }

    pub(super) fn cgroup_parent(&self, file: &File) -> Result<String, ConfigError> {
        let driver = self.cgroup_driver(file)?;
        let key = file.cgroup_parent.clone().filter(|text| !text.is_empty());
        let flag = self.flags.cgroup_parent.clone();
        let said = self.either(("cgroup-parent", flag), &[("cgroup-parent", key)]);
        let (origin, parent) = match (said, driver) {
            (Some(said), _) => said,
            (None, CgroupDriver::Cgroupfs) => return Ok(PARENT.to_owned()),
            (None, CgroupDriver::Systemd) => (String::new(), SLICE.to_owned()),
        };
        let wrong = |message| ConfigError::Value { origin: origin.clone(), message };
        if driver == CgroupDriver::Systemd {
            let slice = Slice::parse("cgroup", &parent);
            return slice.map(|slice| slice.path()).map_err(|error| wrong(error.to_string()));
        }
        let part = |part: &str| !part.is_empty() && part != "." && part != "..";
        let inner = parent.strip_prefix('/').unwrap_or(&parent);
        if inner.split('/').all(part) {
            return Ok(format!("/{inner}"));
        }
        Err(wrong(format!("invalid cgroup {parent:?}: it must be a path such as /isulad")))
    }
}
