//! From a `config.json` to a [`Plan`]: every field is honoured or refused with its name.
//!
//! Properties that the runtime-spec does not define are ignored, as it demands. The host is looked
//! at where a value means nothing without it (its control groups, its security modules), nothing
//! is changed.

mod hooks;
mod linux;
mod mounts;
mod options;
mod process;

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use oci_spec::runtime::{LinuxSeccomp, Spec};

use crate::cgroup::{Cgroup, CgroupPlan, Hierarchies};
use crate::error::Error;
use crate::plan::{NamespaceKind, Plan, ProcessPlan, Rootfs};
use crate::seccomp::{FilterCache, Profile};

pub use options::KNOWN_OPTIONS;
pub use process::compile_process;

/// What a plan depends on beside the configuration.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// Identity of the container.
    pub id: &'a str,
    /// The bundle's directory, absolute.
    pub bundle: &'a Path,
    /// The root file system, where it is not the directory that `root.path` names.
    pub rootfs: Option<&'a Rootfs>,
    /// As [`Plan::rootfs_idmapped`].
    pub rootfs_idmapped: bool,
    /// Control groups of the host.
    pub hierarchies: &'a Hierarchies,
    /// The container's group, where `linux.cgroupsPath` is not its path.
    pub cgroup: Option<&'a Cgroup>,
    /// The group that the container's is made in when `linux.cgroupsPath` is absent or relative.
    pub cgroup_parent: &'a str,
    /// The profile of the filter, where it is not what `linux.seccomp` says.
    pub seccomp: Option<&'a Arc<LinuxSeccomp>>,
    /// Where compiled seccomp programs are kept for the next container.
    pub filters: Option<&'a FilterCache>,
}

/// Checks a configuration and turns it into a plan.
///
/// # Errors
/// Names the field that is missing, means nothing, or is not supported.
pub fn compile(spec: &Spec, setting: &Setting<'_>) -> Result<Plan, Error> {
    check_version(spec.version())?;
    refuse_other_platforms(spec)?;
    let process = spec.process().as_ref().ok_or(Error::Missing("process"))?;
    let linux = spec.linux().as_ref().ok_or(Error::Missing("linux"))?;
    linux::refuse_unsupported(linux)?;
    let namespaces = linux::namespaces(linux)?;
    let root = spec.root().as_ref().ok_or(Error::Missing("root"))?;
    let rootfs = match setting.rootfs {
        Some(rootfs) => rootfs.clone(),
        None => Rootfs::Directory(root_directory(root.path(), setting.bundle)?),
    };
    let cgroup = cgroup(linux, setting)?;
    let profile = match setting.seccomp {
        Some(shared) => Some(Profile::Shared(shared)),
        None => linux.seccomp().as_ref().map(Profile::Own),
    };
    let mut process = compile_process(process, profile, setting.filters)?;
    // "This setting is not applicable to the container's init process" (config.md).
    process.cpus_initial.clear();
    process.cpus_final.clear();
    let mounts = mounts::compile(spec, setting, &cgroup)?;
    let mut plan = Plan {
        id: setting.id.to_owned(),
        bundle: setting.bundle.to_owned(),
        rootfs,
        rootfs_idmapped: setting.rootfs_idmapped,
        rootfs_readonly: root.readonly().unwrap_or(false),
        rootfs_propagation: linux::rootfs_propagation(linux)?,
        populate_dev: mounts::populates_dev(&mounts),
        mounts,
        devices: linux::devices(linux)?,
        masked_paths: linux::paths("linux.maskedPaths", linux.masked_paths().as_ref())?,
        readonly_paths: linux::paths("linux.readonlyPaths", linux.readonly_paths().as_ref())?,
        sysctls: linux::sysctls(linux, &namespaces)?,
        hostname: host_name("hostname", spec.hostname().as_ref(), &namespaces)?,
        domainname: host_name("domainname", spec.domainname().as_ref(), &namespaces)?,
        mount_label: linux::mount_label(linux)?,
        personality: linux::personality(linux)?,
        hooks: hooks::compile(spec, setting)?,
        namespaces,
        cgroup,
        warnings: Vec::new(),
        process,
        no_pivot: false,
        hold: None,
        preserve_fds: 0,
    };
    if !plan.process.terminal {
        plan.process.console_size = None;
    }
    plan.warnings.append(&mut plan.process.warnings);
    plan.warnings.extend(plan.cgroup.warnings().iter().cloned());
    Ok(plan)
}

/// Every 1.x release can be read by a runtime of any later one (config.md, "Specification
/// version").
fn check_version(version: &str) -> Result<(), Error> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    let well_formed =
        numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok());
    if version.is_empty() {
        Err(Error::Missing("ociVersion"))
    } else if !well_formed {
        Err(Error::invalid("ociVersion", format!("{version} is no version")))
    } else if numbers.first() != Some(&"1") {
        Err(Error::unsupported("ociVersion", format!("{version}; this runtime reads 1.x")))
    } else {
        Ok(())
    }
}

fn refuse_other_platforms(spec: &Spec) -> Result<(), Error> {
    let present = [
        ("solaris", spec.solaris().is_some()),
        ("windows", spec.windows().is_some()),
        ("vm", spec.vm().is_some()),
        ("zos", spec.zos().is_some()),
    ];
    match present.into_iter().find(|(_, present)| *present) {
        Some((field, _)) => Err(Error::unsupported(field, "it is for another platform")),
        None => Ok(()),
    }
}

fn root_directory(path: &Path, bundle: &Path) -> Result<PathBuf, Error> {
    if path.as_os_str().is_empty() {
        return Err(Error::Missing("root.path"));
    }
    let path = bundle.join(path);
    // Links on the way belong to the host. As a root, a link at the end would be the container's.
    let real = path.canonicalize().map_err(|source| Error::Read { path, source })?;
    if real == Path::new("/") {
        return Err(Error::invalid("root.path", "it is the root of the host"));
    }
    Ok(real)
}

fn cgroup(linux: &oci_spec::runtime::Linux, setting: &Setting<'_>) -> Result<CgroupPlan, Error> {
    let nothing = oci_spec::runtime::LinuxResources::default();
    let resources = linux.resources().as_ref().unwrap_or(&nothing);
    if let Some(cgroup) = setting.cgroup {
        return Ok(CgroupPlan::of(cgroup.clone(), resources)?);
    }
    let path = match linux.cgroups_path() {
        Some(path) => {
            let text = path
                .to_str()
                .ok_or_else(|| Error::invalid("linux.cgroupsPath", "it is not UTF-8"))?;
            if path.components().any(|component| component == Component::ParentDir) {
                return Err(Error::invalid("linux.cgroupsPath", "it contains .."));
            }
            if path.is_absolute() {
                text.to_owned()
            } else {
                format!("{}/{text}", setting.cgroup_parent)
            }
        }
        None => format!("{}/{}", setting.cgroup_parent, setting.id),
    };
    Ok(CgroupPlan::new(setting.hierarchies, Path::new(&path), resources)?)
}

fn host_name(
    field: &'static str,
    name: Option<&String>,
    namespaces: &crate::plan::Namespaces,
) -> Result<Option<String>, Error> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
    if !namespaces.separates(NamespaceKind::Uts) {
        return Err(Error::invalid(field, "there is no uts namespace to set it in"));
    }
    // __NEW_UTS_LEN of linux/utsname.h.
    if name.len() > 64 || name.contains('\0') {
        return Err(Error::invalid(field, "it is longer than 64 bytes or has a zero byte"));
    }
    Ok(Some(name.clone()))
}

/// An absolute path without `.`, doubled and trailing slashes; `..` stays, the kernel resolves it.
fn tidy(path: &Path) -> Option<String> {
    let text = path.to_str().filter(|text| text.starts_with('/') && !text.contains('\0'))?;
    let names: Vec<&str> =
        text.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    Some(format!("/{}", names.join("/")))
}

impl ProcessPlan {
    fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_release_of_the_first_version_is_read_and_nothing_else() {
        for version in ["1.0.0", "1.0.2-dev", "1.3.0", "1.2.1+dev"] {
            check_version(version).unwrap();
        }
        for version in ["", "1", "1.0", "0.9.0", "2.0.0", "one", "1.0.x"] {
            check_version(version).unwrap_err();
        }
    }

    #[test]
    fn a_tidy_path_is_absolute_and_keeps_its_meaning() {
        let tidy = |path: &str| tidy(Path::new(path));
        assert_eq!(tidy("//dev/./pts/").as_deref(), Some("/dev/pts"));
        assert_eq!(tidy("/a/../b").as_deref(), Some("/a/../b"));
        assert_eq!(tidy("relative"), None);
        assert_eq!(tidy("/"), Some("/".into()));
    }
}
