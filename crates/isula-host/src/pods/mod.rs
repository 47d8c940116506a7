//! The `Pods` port: namespaces of sandboxes without a process, pinned by bind mounts of their files.
//!
//! ```text
//!   STATE/pods/<id>/    0711
//!     boot              the boot they belong to
//!     uts ipc net user  pins, those that were asked for
//!     pid               pin of the shared pid namespace, and in
//!     init              pid and start time of its process 1
//!     shm/              a tmpfs
//! ```
//!
//! All of it outlives the daemon and goes with the machine. A crash between two steps leaves what
//! `sweep` takes away.

mod pins;
mod remove;

use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use isula_core::cgroup::{CgroupDriver, Slice};
use isula_core::container::{HostConfig, Resources};
use isula_core::error::{ErrorKind, PortError};
use isula_core::id::ContainerId;
use isula_core::ports::{HostFacts, PodNetwork, PodPaths, PodRequest, Pods, Result, Usage};
use isula_core::sandbox::{IdMapping, InterfaceUsage, UserNamespace};
use lcr::cgroup::{Cgroup, CgroupError, CgroupPlan, Hierarchies, Maker};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxResources};

use crate::program::Program;
use crate::systemd::{self, Systemd};
use crate::usage::usage;
use pins::{Directory, IPC, NETWORK, PID, USER, UTS};

/// What the namespaces of sandboxes depend on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where run directories are made, absolute.
    pub state_dir: PathBuf,
    /// The program `isulad-shim`, absolute.
    pub shim_path: PathBuf,
    /// The control group that the sandboxes' own are made in, as `pod-<id>`.
    pub cgroup_parent: String,
    /// Who makes control groups; with systemd they are slices in the one that the parent is.
    pub cgroup_driver: CgroupDriver,
    /// The host.
    pub facts: HostFacts,
}

/// The namespaces of sandboxes on this host.
#[derive(Clone)]
pub struct HostPods {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    program: Arc<Program>,
    hierarchies: Hierarchies,
    cgroup_parent: String,
    systemd: Option<Systemd>,
    facts: HostFacts,
    boot: String,
    /// One at a time makes the init of a sandbox; there is little to wait for.
    inits: std::sync::Mutex<()>,
}

impl HostPods {
    /// Takes hold of the program.
    ///
    /// # Errors
    /// The shim's program, the control groups or systemd can't be used.
    pub fn new(settings: Settings) -> Result<Self> {
        let Settings { state_dir, shim_path, cgroup_parent, cgroup_driver, facts } = settings;
        let text = format!("cannot use the shim {}", shim_path.display());
        let program = Program::open(&shim_path).map_err(|error| PortError::io(text, error))?;
        let program = Arc::new(program);
        let hierarchies =
            Hierarchies::detect().map_err(|error| cgroup(error, "use control groups"))?;
        let systemd = match cgroup_driver {
            CgroupDriver::Cgroupfs => None,
            CgroupDriver::Systemd => Some(Systemd::open(&hierarchies, Arc::clone(&program))?),
        };
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let inits = std::sync::Mutex::default();
        let root = state_dir.join("pods");
        let shared =
            Shared { root, program, hierarchies, cgroup_parent, systemd, facts, boot, inits };
        Ok(Self { shared: Arc::new(shared) })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || work(&shared)).await.unwrap_or_else(|error| {
            let text = "a task of the daemon broke off";
            Err(PortError::with_source(ErrorKind::Internal, text, error))
        })
    }
}

fn cgroup(error: CgroupError, what: &str) -> PortError {
    PortError::with_source(ErrorKind::Internal, format!("cannot {what}"), error)
}

fn cannot(what: &'static str, id: &ContainerId) -> impl Fn(io::Error) -> PortError {
    let text = format!("cannot {what} of sandbox {id}");
    move |error| PortError::io(text.clone(), error)
}

impl Shared {
    fn directory(&self, id: &ContainerId) -> Directory {
        Directory::new(self.root.join(id.as_str()))
    }

    fn make(&self, id: &ContainerId, request: &PodRequest) -> Result<PodPaths> {
        if let Some(resources) = &request.own_cgroup {
            self.make_group(&request.cgroup, resources)?;
        }
        match self.make_pins(id, request) {
            Ok(paths) => Ok(paths),
            Err(error) => {
                let own = request.own_cgroup.is_some().then_some(request.cgroup.as_str());
                if let Err(error) = self.remove(id, own) {
                    tracing::warn!(%id, %error, "a failed start was not undone");
                }
                Err(error)
            }
        }
    }

    fn make_group(&self, path: &str, resources: &Resources) -> Result<()> {
        let failed = |error| cgroup(error, "make the control group of the sandbox");
        let limits = self.limits(resources, true);
        let plan = CgroupPlan::of(self.group(path)?, &limits).map_err(failed)?;
        if let Some(systemd) = &self.systemd {
            let slice = Slice::parse("cgroup_parent", path)
                .map_err(|error| PortError::new(error.kind(), error.to_string()))?;
            systemd.start_slice(&slice, &systemd::owned(plan.limits()))?;
        }
        let made = plan.create();
        made.map_err(|error| {
            self.end_group(path);
            failed(error)
        })
    }

    /// Ends the unit of a group that could not be set up.
    fn end_group(&self, path: &str) {
        let Some(systemd) = &self.systemd else { return };
        if let Err(error) = self.group(path).and_then(|group| systemd.stop_group(&group)) {
            tracing::warn!(path, %error, "a slice is left");
        }
    }

    fn make_pins(&self, id: &ContainerId, request: &PodRequest) -> Result<PodPaths> {
        let directory = self.directory(id);
        directory.make(&self.boot).map_err(cannot("make the run directory", id))?;
        match &request.user {
            None => pins::make(&directory, request).map_err(cannot("make the namespaces", id))?,
            Some(user) => self.make_owned(&directory, request, user, id)?,
        }
        if let Some(size) = request.shm_size {
            let owner = request.user.as_ref().and_then(|user| user.uids.first());
            let owner = owner.map_or(0, |mapping| mapping.host);
            directory.make_shm(size, owner).map_err(cannot("make /dev/shm", id))?;
        }
        directory.paths().map_err(cannot("find the namespaces", id))
    }

    /// Namespaces that a new user namespace owns: a process has to make them.
    fn make_owned(
        &self,
        directory: &Directory,
        request: &PodRequest,
        user: &UserNamespace,
        id: &ContainerId,
    ) -> Result<()> {
        let kinds = USER.bit
            | if request.hostname.is_some() { UTS.bit } else { 0 }
            | if request.shm_size.is_some() { IPC.bit } else { 0 }
            | if request.network == PodNetwork::Make { NETWORK.bit } else { 0 };
        let failed = cannot("make the user namespace", id);
        let mut holder = self
            .program
            .command()
            .arg(isulad_shim::pod::HOLDER)
            .arg(kinds.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(&failed)?;
        let held = first_line(&mut holder).and_then(|_| {
            let pid = i32::try_from(holder.id()).unwrap_or(0);
            let lines = |list: &[IdMapping]| -> String {
                let line =
                    |one: &IdMapping| format!("{} {} {}\n", one.container, one.host, one.length);
                list.iter().map(line).collect()
            };
            isula_sys::namespace::map_ids(pid, &lines(&user.uids), &lines(&user.gids))?;
            pins::pin_of(directory, pid, kinds)?;
            pins::set_up(directory, request)
        });
        // Its standard input goes with it.
        let _ = holder.kill();
        let _ = holder.wait();
        held.map_err(failed)
    }

    /// The limits of a sandbox's own control group; devices are left to its containers.
    fn limits(&self, resources: &Resources, fresh: bool) -> LinuxResources {
        let host = HostConfig { resources: resources.clone(), ..HostConfig::default() };
        let mut limits = isula_core::spec::limits(&host, &self.facts);
        if fresh {
            let mut all = LinuxDeviceCgroup::default();
            all.set_allow(true).set_access(Some("rwm".to_owned()));
            limits.set_devices(Some(vec![all]));
        }
        limits
    }

    fn pid_namespace(&self, id: &ContainerId) -> Result<PathBuf> {
        let directory = self.directory(id);
        let failed = cannot("make the pid namespace", id);
        let _one = self.inits.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if directory.is_pinned(PID) && directory.init().is_some_and(|init| init.lives()) {
            return Ok(directory.pin(PID));
        }
        if !directory.exists() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        let mut command = self.program.command();
        command.arg(isulad_shim::pod::INIT);
        if directory.is_pinned(USER) {
            command.arg(directory.pin(USER));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut launcher = command.spawn().map_err(&failed)?;
        let pid = first_line(&mut launcher).and_then(|line| {
            line.trim().parse::<i32>().map_err(|_| io::ErrorKind::InvalidData.into())
        });
        let ended = launcher.wait();
        let pinned = pid.and_then(|pid| {
            ended?;
            directory.keep_init(pid)?;
            pins::pin_of(&directory, pid, PID.bit)
        });
        pinned.map_err(failed)?;
        Ok(directory.pin(PID))
    }

    fn find(&self, id: &ContainerId) -> Result<Option<PodPaths>> {
        let directory = self.directory(id);
        if !directory.is_of(&self.boot) {
            return Ok(None);
        }
        match directory.paths() {
            Ok(paths) => Ok(Some(paths)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot("find the namespaces", id)(error)),
        }
    }

    fn group(&self, path: &str) -> Result<Cgroup> {
        let group = Cgroup::new(&self.hierarchies, Path::new(path));
        let group = group.map_err(|error| cgroup(error, "use the control group of the sandbox"))?;
        // One of before the driver was changed is not systemd's.
        let is_unit = self.systemd.is_some() && path.ends_with(".slice");
        Ok(group.made_by(if is_unit { Maker::Manager } else { Maker::Runtime }))
    }
}

/// What a helper says first; when it says nothing, what it says on standard error.
fn first_line(child: &mut std::process::Child) -> io::Result<String> {
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line)?;
    }
    if !line.is_empty() {
        return Ok(line);
    }
    let mut text = String::new();
    if let Some(out) = child.stderr.take() {
        BufReader::new(out).read_line(&mut text)?;
    }
    Err(io::Error::other(text.trim().to_owned()))
}

#[async_trait]
impl Pods for HostPods {
    async fn make(&self, id: &ContainerId, request: &PodRequest) -> Result<PodPaths> {
        let (id, request) = (id.clone(), request.clone());
        self.blocking(move |shared| shared.make(&id, &request)).await
    }

    async fn pid_namespace(&self, id: &ContainerId, _: &str) -> Result<PathBuf> {
        let id = id.clone();
        self.blocking(move |shared| shared.pid_namespace(&id)).await
    }

    async fn find(&self, id: &ContainerId) -> Result<Option<PodPaths>> {
        // A few calls that answer from memory.
        self.shared.find(id)
    }

    async fn remove(&self, id: &ContainerId, own_cgroup: Option<&str>) -> Result<()> {
        let (id, own) = (id.clone(), own_cgroup.map(str::to_owned));
        self.blocking(move |shared| shared.remove(&id, own.as_deref())).await
    }

    async fn sweep(&self, known: &[ContainerId]) -> Result<Vec<ContainerId>> {
        let known = known.to_vec();
        self.blocking(move |shared| shared.sweep(&known)).await
    }

    async fn usage(&self, cgroup: &str) -> Result<Usage> {
        let path = cgroup.to_owned();
        self.blocking(move |shared| usage(&shared.group(&path)?)).await
    }

    async fn limit(&self, cgroup: &str, resources: &Resources) -> Result<()> {
        let (path, resources) = (cgroup.to_owned(), resources.clone());
        self.blocking(move |shared| {
            let failed = |error| self::cgroup(error, "set the limits of the sandbox");
            let group = shared.group(&path)?;
            let plan = group.plan_update(&shared.limits(&resources, false)).map_err(failed)?;
            if let Some(systemd) = &shared.systemd {
                systemd.set_group(&group, &systemd::owned(plan.limits()))?;
            }
            plan.update().map_err(failed)
        })
        .await
    }

    async fn interfaces(&self, namespace: &Path) -> Result<Vec<InterfaceUsage>> {
        let path = namespace.to_owned();
        self.blocking(move |_| {
            let text = format!("cannot read the interfaces of {}", path.display());
            pins::interfaces(&path).map_err(|error| PortError::io(text, error))
        })
        .await
    }
}
