//! The `Runtime` port: containers kept by shims, built by the built-in runtime or an external one.
//!
//! The daemon holds one socket and one task for each container, and no thread. Whatever the kernel
//! does for a pid or a control group is asked of the kernel; the shim is asked for what only the
//! parent of the processes can do. Nothing polls, and every answer has a deadline.

mod checkpoint;
mod compile;
mod directory;
mod failure;
mod keeper;
mod link;
mod processes;
mod remains;
mod roots;
mod session;
mod shims;
mod start;
mod tree;
mod update;

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use isula_core::cgroup::CgroupDriver;
use isula_core::container::{Exit, Run};
use isula_core::error::{ErrorKind, PortError};
use isula_core::id::ContainerId;
use isula_core::ports::{
    Attach, ExecStarted, Found, ItemStream, Launch, LogOptions, LogRecord, LogSource, ProcessId,
    Result, Runtime, Session, Usage,
};
use isula_core::signal::Signal;
use lcr::cgroup::Hierarchies;
use lcr::seccomp::FilterCache;
use oci_spec::runtime::{LinuxResources, Process};

pub use compile::ExternalRuntime;
use compile::{BUILT_IN, Compiler};
pub(crate) use directory::Named;
use directory::RunDirectory;
use keeper::Keeper;
use processes::cannot;
use roots::Roots;
use shims::Shims;

use crate::{program::Program, systemd::Systemd};

/// What the runtimes depend on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where run directories are made, absolute; it may vanish with a restart of the machine.
    pub state_dir: PathBuf,
    /// The program `isulad-shim`, absolute.
    pub shim_path: PathBuf,
    /// External runtimes by name. `lcr` is the built-in one and can't be replaced.
    pub runtimes: BTreeMap<String, ExternalRuntime>,
    /// The control group that those of containers are made in.
    pub cgroup_parent: String,
    /// Who makes control groups; with systemd the parent is the path of a slice.
    pub cgroup_driver: CgroupDriver,
    /// How long a shim may take to start a container or a process in it.
    pub start_timeout: Duration,
}

impl Settings {
    /// Two minutes: hooks and large images on slow disks take their time.
    pub const START_TIMEOUT: Duration = Duration::from_mins(2);
}

/// Clean-ups that may go on at once.
const TURNS: usize = 64;

/// The runtimes of this host.
pub struct Runtimes {
    state_dir: PathBuf,
    shims: Shims,
    compiler: Compiler,
    external: BTreeMap<String, ExternalRuntime>,
    /// Where it makes the control groups.
    systemd: Option<Systemd>,
    patience: Duration,
    containers: Mutex<HashMap<ContainerId, Arc<Keeper>>>,
    roots: Roots,
    /// Who cleans up after a container waits for whoever does so already: half of a directory is
    /// nothing to build a new run on. A container's turn is the one of the first byte of its id.
    cleaning: [tokio::sync::Mutex<()>; TURNS],
}

impl Runtimes {
    /// Prepares the state directory and the parent of all control groups.
    ///
    /// # Errors
    /// The shim's program, the control groups or systemd can't be used, a runtime is named `lcr`, or
    /// the state directory can't be made.
    pub fn new(settings: Settings) -> Result<Self> {
        let Settings { state_dir, shim_path, mut runtimes, cgroup_parent, .. } = settings;
        let (cgroup_driver, patience) = (settings.cgroup_driver, settings.start_timeout);
        if runtimes.contains_key(BUILT_IN) {
            let text = format!("runtime {BUILT_IN}: the built-in runtime can't be replaced");
            return Err(PortError::new(ErrorKind::InvalidInput, text));
        }
        let text = format!("cannot use the shim {}", shim_path.display());
        let program = Program::open(&shim_path).map_err(|error| PortError::io(text, error))?;
        let program = Arc::new(program);
        let text = format!("cannot make the state directory {}", state_dir.display());
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&state_dir)
            .map_err(|error| PortError::io(text, error))?;
        let hierarchies =
            Hierarchies::detect().map_err(|error| cannot(error, "use control groups"))?;
        let systemd = match cgroup_driver {
            CgroupDriver::Cgroupfs => {
                hierarchies
                    .prepare_parent(Path::new(&cgroup_parent))
                    .map_err(|error| cannot(error, "make the parent of all control groups"))?;
                None
            }
            CgroupDriver::Systemd => {
                for runtime in runtimes.values_mut() {
                    runtime.use_systemd();
                }
                Some(Systemd::open(&hierarchies, Arc::clone(&program))?)
            }
        };
        let filters = FilterCache::new();
        let compiler = Compiler { hierarchies, cgroup_parent, cgroup_driver, filters, shim_path };
        Ok(Self {
            state_dir,
            shims: Shims::new(program),
            systemd,
            compiler,
            external: runtimes,
            patience,
            containers: Mutex::default(),
            roots: Roots::default(),
            cleaning: std::array::from_fn(|_| tokio::sync::Mutex::default()),
        })
    }

    /// The turn to clean up after a container.
    async fn turn(&self, id: &ContainerId) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let byte = id.as_str().get(..2).and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let turn = self.cleaning.get(byte.unwrap_or_default() % TURNS)?;
        Some(turn.lock().await)
    }

    fn containers(&self) -> MutexGuard<'_, HashMap<ContainerId, Arc<Keeper>>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &ContainerId) -> Option<Arc<Keeper>> {
        self.containers().get(id).cloned()
    }

    fn directory(&self, id: &ContainerId) -> RunDirectory {
        RunDirectory::of(&self.state_dir, id.as_str())
    }

    /// Where an external runtime keeps its state.
    fn runtime_root(&self, runtime: &str) -> PathBuf {
        self.state_dir.join("runtimes").join(runtime)
    }

    /// The external runtime of this name, `None` for the built-in one.
    fn external(&self, name: &str) -> Result<Option<&ExternalRuntime>> {
        if name == BUILT_IN {
            return Ok(None);
        }
        let unknown =
            || PortError::new(ErrorKind::InvalidInput, format!("unknown runtime: {name}"));
        self.external.get(name).map(Some).ok_or_else(unknown)
    }
}

#[async_trait]
impl Runtime for Runtimes {
    fn runtimes(&self) -> Vec<String> {
        let external = self.external.keys().cloned();
        [BUILT_IN.to_owned()].into_iter().chain(external).collect()
    }

    fn verify(&self, launch: &Launch) -> Result<()> {
        let external = self.external(&launch.runtime)?;
        let directory = self.directory(&launch.id);
        let root = self.runtime_root(&launch.runtime);
        self.compiler.compile(launch, external, (directory.path(), &root)).map(drop)
    }

    async fn start(&self, launch: &Launch) -> Result<(Run, Option<Session>)> {
        self.start_container(launch).await
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit> {
        let Some(keeper) = self.find(id) else { return Err(start::not_running(id)) };
        let mut exit = keeper.exit();
        let ended = exit.wait_for(Option::is_some).await;
        let ended = ended.ok().and_then(|exit| exit.clone());
        ended.ok_or_else(|| start::not_running(id))
    }

    async fn kill(&self, id: &ContainerId, signal: Signal, all: bool) -> Result<()> {
        self.kill_container(id, signal, all).await
    }

    async fn pause(&self, id: &ContainerId) -> Result<()> {
        self.freeze(id, true).await
    }

    async fn resume(&self, id: &ContainerId) -> Result<()> {
        self.freeze(id, false).await
    }

    async fn exec(
        &self,
        id: &ContainerId,
        exec: &ProcessId,
        process: &Process,
        attach: Option<Attach>,
    ) -> Result<ExecStarted> {
        self.exec_process(id, exec, process, attach).await
    }

    async fn attach(&self, id: &ContainerId, attach: Attach) -> Result<Session> {
        self.attach_client(id, attach).await
    }

    async fn read(
        &self,
        id: &ContainerId,
        paths: &[&'static str],
        limit: u64,
    ) -> Result<Vec<Option<Vec<u8>>>> {
        self.read_files(id, paths.to_vec(), limit).await
    }

    async fn usage(&self, id: &ContainerId) -> Result<Usage> {
        self.usage_of(id).await
    }

    async fn update(&self, id: &ContainerId, resources: &LinuxResources) -> Result<()> {
        self.update_limits(id, resources).await
    }

    async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        self.reopen_log_of(id).await
    }

    fn can_checkpoint(&self) -> Result<()> {
        self.criu_is_there()
    }

    async fn checkpoint(&self, launch: &Launch, directory: &Path) -> Result<()> {
        self.checkpoint_container(launch, directory).await
    }

    async fn kill_tree(&self, id: &ContainerId, pid: i32) -> Result<()> {
        self.kill_tree_of(id, pid).await
    }

    async fn pids(&self, id: &ContainerId) -> Result<Vec<i32>> {
        self.pids_of(id).await
    }

    async fn logs(&self, source: LogSource, options: LogOptions) -> Result<ItemStream<LogRecord>> {
        let ended = self.find(&source.id).map(|keeper| keeper.exit());
        crate::logs::read(source, options, ended).await
    }

    async fn recover(&self, id: &ContainerId, runtime: &str, bundle: PathBuf) -> Result<Found> {
        self.recover_container(id, runtime, bundle).await
    }

    async fn clean(&self, id: &ContainerId, runtime: &str) -> Result<()> {
        self.clean_container(id, runtime).await
    }

    async fn sweep(&self, known: &[ContainerId]) -> Result<Vec<ContainerId>> {
        self.sweep_unknown(known).await
    }
}

/// Runs what may take a moment in the kernel where nobody else has to wait for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(PortError::with_source(ErrorKind::Internal, "a task of the daemon broke off", error))
    })
}
