//! The OCI runtime spec that a container becomes: a pure function of the container and of facts of
//! the host. Docker's defaults wherever a user says nothing.

mod cdi;
mod devices;
pub mod files;
mod hooks;
mod json;
mod linux;
mod mounts;
mod pod;
mod process;
mod recent;
mod resources;
pub mod seccomp;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    sync::Arc,
};

use oci_spec::runtime::{LinuxResources, LinuxSeccomp, Process, Root, Spec};

use crate::{
    cgroup::CgroupDriver,
    container::{
        Config, Container, ExecConfig, HostConfig, Invalid, NamespaceMode, Ulimit, check_ulimit,
    },
    error::ErrorKind,
    ports::{CdiEdits, DeviceNode, HostFacts},
    user::ResolvedUser,
};

pub use json::pretty;

/// The version of the runtime-spec that a spec is written for (the first with `domainname`).
pub const OCI_VERSION: &str = "1.1.0";

/// What the daemon's configuration gives every container.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Defaults {
    /// Resource limits, unless the container has one of the same name.
    pub ulimits: Vec<Ulimit>,
    /// Cgroup below which containers are made that name none, absolute.
    pub cgroup_parent: String,
    /// Who makes cgroups.
    pub cgroup_driver: CgroupDriver,
    /// OCI hooks that run before the container's own.
    pub hooks: Option<serde_json::Value>,
    /// The umask of the init process.
    pub umask: u32,
}

impl Defaults {
    /// Checks what a configuration file says.
    ///
    /// # Errors
    /// Names the limit or the hook that is wrong.
    pub fn verify(&self) -> Result<(), SpecError> {
        hooks::build([self.hooks.as_ref(), None, None])?;
        self.ulimits.iter().try_for_each(check_ulimit)?;
        Ok(())
    }
}

/// What a spec depends on beside the container.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The host.
    pub host: &'a HostFacts,
    /// The daemon's configuration.
    pub defaults: &'a Defaults,
    /// The container's directory, where `hosts`, `hostname` and `resolv.conf` are.
    pub directory: PathBuf,
    /// `root.path`: the runtime is told the parts of an overlay beside the spec.
    pub rootfs: PathBuf,
    /// Whom the init process runs as.
    pub user: ResolvedUser,
    /// Whose namespaces it joins.
    pub joined: Joined,
    /// The source of each of the container's mounts, in their order, without symbolic links.
    pub sources: Vec<String>,
    /// For a container of a sandbox.
    pub pod: Option<PodFacts>,
    /// The device nodes of `--device`; with `--privileged` all of the host.
    pub devices: Vec<Device>,
    /// What devices of the Container Device Interface change.
    pub cdi: CdiEdits,
}

/// Files of the namespaces that are joined.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Joined {
    /// `--network container:X`, or the sandbox's.
    pub network: Option<PathBuf>,
    /// `--ipc container:X`, or the sandbox's.
    pub ipc: Option<PathBuf>,
    /// `--pid container:X`, or the sandbox's.
    pub pid: Option<PathBuf>,
    /// The sandbox's.
    pub uts: Option<PathBuf>,
    /// The sandbox's.
    pub user: Option<PathBuf>,
    /// What the sandbox has for `/dev/shm`.
    pub shm: Option<PathBuf>,
}

/// What a container gets of its sandbox, and through it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PodFacts {
    /// Where `hosts`, `hostname` and `resolv.conf` of the sandbox are.
    pub files: PathBuf,
    /// The source of each of the container's mounts, in their order.
    pub sources: Vec<PodSource>,
}

/// Where a mount of a container of a sandbox comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PodSource {
    /// A path of the host without symbolic links.
    Host(String),
    /// The layers of an image, topmost first.
    Layers(Vec<PathBuf>),
}

/// A device node that the container gets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Device {
    /// As it is on the host.
    pub node: DeviceNode,
    /// Its path in the container.
    pub path: String,
    /// Some of `r`, `w`, `m`.
    pub access: String,
}

impl Facts<'_> {
    /// Changes when a fact that can change between two starts of one container has changed.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.user, &self.joined, &self.sources, &self.devices).hash(&mut hasher);
        (&self.pod, &self.cdi).hash(&mut hasher);
        hasher.finish()
    }
}

/// Why a container can't become a spec.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// An option that `create` should have refused.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The user's seccomp profile.
    #[error(transparent)]
    Profile(#[from] seccomp::ProfileError),
    /// The hooks are not what the runtime-spec says.
    #[error("invalid hooks: {0}")]
    Hooks(String),
    /// There is no seccomp profile for this machine.
    #[error("there is no default seccomp profile for the architecture {0:?}")]
    Architecture(String),
}

impl SpecError {
    /// The class of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(error) => error.kind(),
            Self::Profile(_) | Self::Hooks(_) => ErrorKind::InvalidInput,
            Self::Architecture(_) => ErrorKind::Unsupported,
        }
    }
}

/// A spec, and the profile of its filter beside it: that is most of a spec, and the same for nearly
/// all containers.
#[derive(Debug, Clone)]
pub struct Built {
    /// Without `linux.seccomp`.
    pub spec: Spec,
    /// What stands for `linux.seccomp`.
    pub seccomp: Option<Arc<LinuxSeccomp>>,
}

/// The spec with the profile of its filter, unless it is `None`.
#[must_use]
pub fn whole(mut spec: Spec, seccomp: Option<&LinuxSeccomp>) -> Spec {
    if let (Some(linux), Some(profile)) = (spec.linux_mut(), seccomp) {
        linux.set_seccomp(Some(profile.clone()));
    }
    spec
}

/// The spec of a container.
///
/// # Errors
/// [`SpecError`]; a container that passed [`crate::container::verify`] fails only for its seccomp
/// profile, its hooks, or a machine without a default profile.
pub fn build(container: &Container, facts: &Facts<'_>) -> Result<Built, SpecError> {
    let Container { config, host, .. } = container;
    let (linux, seccomp) = linux::build(container, facts)?;
    let mut root = Root::default();
    root.set_path(facts.rootfs.clone()).set_readonly(Some(host.readonly_rootfs));
    let mut spec = Spec::default();
    spec.set_version(OCI_VERSION.to_owned())
        .set_root(Some(root))
        .set_process(Some(process::init(container, facts)?))
        .set_mounts(Some(mounts::build(container, facts)?))
        .set_linux(Some(linux))
        .set_hooks(hooks::build([
            facts.defaults.hooks.as_ref(),
            host.hooks.as_ref(),
            cdi::hooks(&facts.cdi).as_ref(),
        ])?)
        .set_hostname(own_hostname(config, host, facts))
        .set_domainname(config.domainname.clone())
        .set_annotations(None);
    if !config.annotations.is_empty() {
        let annotations = config.annotations.clone().into_iter().collect();
        spec.set_annotations(Some(annotations));
    }
    Ok(Built { spec, seccomp })
}

/// The limits of a container that runs, without the rules for devices.
#[must_use]
pub fn limits(host: &HostConfig, facts: &HostFacts) -> LinuxResources {
    resources::limits(host, facts)
}

/// The process of an `exec`.
///
/// # Errors
/// As [`build`].
pub fn exec_process(
    container: &Container,
    exec: &ExecConfig,
    user: &ResolvedUser,
    facts: (&HostFacts, &Defaults),
) -> Result<Process, SpecError> {
    process::exec(container, exec, user, facts)
}

/// Gives a process the groups of the container's devices.
pub fn add_groups(process: &mut Process, edits: &CdiEdits) {
    cdi::add_groups(process, edits);
}

/// With the host's UTS namespace there is no host name to set; the sandbox's has it already.
fn own_hostname(config: &Config, host: &HostConfig, facts: &Facts<'_>) -> Option<String> {
    let own = host.uts != NamespaceMode::Host && facts.joined.uts.is_none();
    own.then(|| config.hostname.clone())
}

#[cfg(test)]
mod tests;
