//! From a launch to what the shim is sent.

use std::path::Path;
use std::sync::Arc;

use isula_core::cgroup::{CgroupDriver, ContainerScope};
use isula_core::container::{LogConfig, LogDriver};
use isula_core::error::{ErrorKind, PortError};
use isula_core::ports::{Launch, Result, Rootfs};
use isula_core::spec;
use isulad_shim::protocol::{CriLog, External, Overlay, Rotation, Start};
use lcr::cgroup::{Cgroup, Hierarchies};
use lcr::seccomp::{Filter, FilterCache, Profile};
use oci_spec::runtime::{LinuxNamespaceType, MountBuilder, RootBuilder, Spec};

use super::session;
use crate::systemd::{self, Systemd};

/// The built-in runtime's name.
pub const BUILT_IN: &str = "lcr";

/// An external runtime, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalRuntime {
    /// Its program: a path, or a name that is looked up in the usual directories.
    pub path: String,
    /// Arguments before its command.
    pub args: Vec<String>,
}

impl ExternalRuntime {
    /// Has it ask systemd for control groups, as runc and crun do it.
    pub(super) fn use_systemd(&mut self) {
        const FLAG: &str = "--systemd-cgroup";
        if !self.args.iter().any(|argument| argument == FLAG) {
            self.args.push(FLAG.to_owned());
        }
    }
}

/// What of the host goes into every launch.
pub struct Compiler {
    /// Control groups.
    pub hierarchies: Hierarchies,
    /// Where containers' control groups are made.
    pub cgroup_parent: String,
    /// Who makes them.
    pub cgroup_driver: CgroupDriver,
    /// Filters of the profiles used last.
    pub filters: FilterCache,
    /// The shim's program, which is also the tiny init.
    pub shim_path: std::path::PathBuf,
}

/// The filter that exec processes of a container get.
#[derive(Debug, Clone)]
pub enum ExecFilter {
    /// The container's own, or none if it has none.
    Known(Option<Arc<Filter>>),
    /// The container's configuration can't be read any more: exec would be less than confined.
    Lost,
}

/// What the shim is sent.
#[derive(Debug)]
pub struct Compiled {
    /// The request.
    pub start: Start,
    /// The plan; for an external runtime the control group.
    pub payload: Vec<u8>,
    /// `config.json` for an external runtime.
    pub config: Option<Vec<u8>>,
    /// The control group, if it is known.
    pub cgroup: Option<Cgroup>,
    /// The scope that systemd has to make before.
    pub scope: Option<Scope>,
    /// For exec.
    pub filter: ExecFilter,
}

/// A scope of systemd, with the limits that it begins with.
#[derive(Debug)]
pub struct Scope {
    /// Which.
    pub scope: ContainerScope,
    /// Files of the control group and the values for them.
    pub limits: Vec<(String, String)>,
}

impl Compiler {
    /// Everything for one launch, by the built-in or an external runtime.
    pub fn compile(
        &self,
        launch: &Launch,
        external: Option<&ExternalRuntime>,
        (directory, runtime_root): (&Path, &Path),
    ) -> Result<Compiled> {
        let own = || launch.spec.linux().as_ref()?.seccomp().as_ref().map(Profile::Own);
        let shared = launch.seccomp.as_ref().map(Profile::Shared);
        let filter = self.filter(shared.or_else(own));
        let start = start(launch, directory)?;
        let with_init;
        let spec = if launch.init {
            with_init = with_init_process(&launch.spec, &self.shim_path)?;
            &with_init
        } else {
            &*launch.spec
        };
        match external {
            None => {
                let scope = self.scope(spec)?;
                let plan =
                    self.plan(launch, spec, scope.as_ref()).map_err(|error| refused(&error))?;
                let payload = plan.encode().map_err(|error| refused(&error))?;
                let cgroup = Some(plan.cgroup.cgroup().clone());
                let limits = || systemd::owned(plan.cgroup.limits());
                let scope = scope.map(|scope| Scope { scope, limits: limits() });
                Ok(Compiled { start, payload, config: None, cgroup, scope, filter: filter? })
            }
            Some(_) if has_user_namespace(spec) => {
                let text = format!(
                    "runtime {}: user namespaces are for the built-in runtime",
                    launch.runtime
                );
                Err(PortError::new(ErrorKind::Unsupported, text))
            }
            Some(external) => {
                // What only the other runtime understands is its own business; the control group
                // is where both of them put it.
                let scope = self.scope(spec)?;
                let plan = self.plan(launch, spec, scope.as_ref());
                let cgroup = plan.ok().map(|plan| plan.cgroup.cgroup().clone());
                let payload = match &cgroup {
                    Some(cgroup) => postcard::to_stdvec(cgroup).unwrap_or_default(),
                    None => Vec::new(),
                };
                let spec = spec::whole(spec.clone(), launch.seccomp.as_deref());
                let (overlay, config) = external_bundle(launch, &spec, directory)?;
                let terminal = spec.process().as_ref().and_then(|p| p.terminal()).unwrap_or(false);
                let external = External {
                    program: external.path.clone(),
                    arguments: external.args.clone(),
                    root: text(runtime_root)?,
                    overlay,
                    terminal,
                };
                let start = Start { external: Some(external), ..start };
                // The other runtime confines exec processes itself.
                let filter = ExecFilter::Known(None);
                // Whoever is called with --systemd-cgroup asks systemd itself.
                let scope = None;
                Ok(Compiled { start, payload, config: Some(config), cgroup, scope, filter })
            }
        }
    }

    /// The scope that a spec names, if systemd makes the groups.
    fn scope(&self, spec: &Spec) -> Result<Option<ContainerScope>> {
        if self.cgroup_driver == CgroupDriver::Cgroupfs {
            return Ok(None);
        }
        let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_ref());
        let text = path.and_then(|path| path.to_str()).unwrap_or_default();
        let scope = ContainerScope::parse(text);
        scope.map(Some).map_err(|error| PortError::new(error.kind(), error.to_string()))
    }

    fn plan(
        &self,
        launch: &Launch,
        spec: &Spec,
        scope: Option<&ContainerScope>,
    ) -> std::result::Result<lcr::Plan, lcr::Error> {
        let group = scope.map(|scope| Systemd::group(&self.hierarchies, scope)).transpose()?;
        let rootfs = match &launch.rootfs {
            Rootfs::Directory(path) => lcr::Rootfs::Directory(path.clone()),
            Rootfs::Overlay { lower, upper, work, volatile } => lcr::Rootfs::Overlay {
                lower: lower.clone(),
                upper: upper.clone(),
                work: work.clone(),
                volatile: *volatile,
            },
        };
        let setting = lcr::Setting {
            id: launch.id.as_str(),
            bundle: &launch.bundle,
            rootfs: Some(&rootfs),
            rootfs_idmapped: has_user_namespace(spec),
            hierarchies: &self.hierarchies,
            cgroup: group.as_ref(),
            cgroup_parent: &self.cgroup_parent,
            seccomp: launch.seccomp.as_ref(),
            filters: Some(&self.filters),
        };
        lcr::compile(spec, &setting)
    }

    /// The filter of a profile, compiled now or before.
    pub fn filter(&self, profile: Option<Profile<'_>>) -> Result<ExecFilter> {
        let filter = profile.map(|profile| self.filters.get(profile)).transpose();
        filter.map(ExecFilter::Known).map_err(|error| refused(&error.into()))
    }
}

fn has_user_namespace(spec: &Spec) -> bool {
    let namespaces = spec.linux().iter().flat_map(|linux| linux.namespaces());
    namespaces.flatten().any(|one| one.typ() == LinuxNamespaceType::User)
}

fn start(launch: &Launch, directory: &Path) -> Result<Start> {
    Ok(Start {
        id: launch.id.as_str().to_owned(),
        directory: text(directory)?,
        bundle: text(&launch.bundle)?,
        external: None,
        open_stdin: launch.open_stdin,
        stdin_once: launch.stdin_once,
        log: rotation(&launch.log),
        cri_log: launch
            .cri_log
            .clone()
            .map(|log| CriLog { directory: log.directory, path: log.path }),
        attach: launch.attach.map(session::streams),
        restore: None,
    })
}

fn rotation(log: &LogConfig) -> Option<Rotation> {
    match log.driver {
        LogDriver::None => None,
        LogDriver::JsonFile => {
            Some(Rotation { max_size: log.max_size, max_files: log.max_files.max(1) })
        }
    }
}

/// The same, with the tiny init before the command and bound to where it is called.
fn with_init_process(spec: &Spec, shim: &Path) -> Result<Spec> {
    let built = |error| PortError::with_source(ErrorKind::Internal, "cannot add the init", error);
    let mut spec = spec.clone();
    let mount = MountBuilder::default()
        .destination(isulad_shim::INIT_PATH)
        .typ("bind")
        .source(shim)
        .options(["bind", "ro", "nosuid", "nodev"].map(str::to_owned))
        .build()
        .map_err(built)?;
    spec.mounts_mut().get_or_insert_default().push(mount);
    if let Some(process) = spec.process_mut() {
        let args = process.args().iter().flatten().cloned();
        let args = [isulad_shim::INIT_PATH.to_owned()].into_iter().chain(args).collect();
        process.set_args(Some(args));
    }
    Ok(spec)
}

/// The overlay that the shim mounts, and a `config.json` whose root is where it does that.
fn external_bundle(
    launch: &Launch,
    spec: &Spec,
    directory: &Path,
) -> Result<(Option<Overlay>, Vec<u8>)> {
    let (root, overlay) = match &launch.rootfs {
        Rootfs::Directory(path) => (path.clone(), None),
        Rootfs::Overlay { lower, upper, work, volatile } => {
            let overlay = Overlay {
                lower: lower.iter().map(|layer| text(layer)).collect::<Result<_>>()?,
                upper: text(upper)?,
                work: text(work)?,
                volatile: *volatile,
            };
            (directory.join("rootfs"), Some(overlay))
        }
    };
    let readonly = spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false);
    let root = RootBuilder::default().path(root).readonly(readonly).build();
    let root = root.map_err(|error| {
        PortError::with_source(ErrorKind::Internal, "cannot name the root file system", error)
    })?;
    let mut spec = spec.clone();
    spec.set_root(Some(root));
    let config = serde_json::to_vec(&spec).map_err(|error| {
        PortError::with_source(ErrorKind::Internal, "cannot write config.json", error)
    })?;
    Ok((overlay, config))
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let message = format!("path is not UTF-8: {}", path.display());
        PortError::new(ErrorKind::InvalidInput, message)
    })
}

/// An error of compilation; its text names the field.
pub fn refused(error: &lcr::Error) -> PortError {
    use lcr::cgroup::CgroupError;
    let kind = match error {
        lcr::Error::Unsupported { .. }
        | lcr::Error::Cgroup(CgroupError::NoController { .. } | CgroupError::NotMounted) => {
            ErrorKind::Unsupported
        }
        lcr::Error::Invalid { .. }
        | lcr::Error::Missing(_)
        | lcr::Error::Seccomp(_)
        | lcr::Error::Cgroup(CgroupError::Field { .. })
        | lcr::Error::Encoding(_) => ErrorKind::InvalidInput,
        lcr::Error::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            ErrorKind::NotFound
        }
        _ => ErrorKind::Internal,
    };
    PortError::new(kind, error.to_string())
}
