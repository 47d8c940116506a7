//! The `Networks` port: pinned network namespaces, and CNI networks from conflists.

mod attach;
mod cache;
mod call;
mod chain;
mod conflist;
mod directory;
mod error;
mod namespaces;
mod native;
mod netlink;
mod own;
mod ports;
mod program;
mod reaper;
mod result;
mod version;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use isula_core::{
    error::{ErrorKind, PortError},
    id::ContainerId,
    ports::{Attachment, BRIDGE, Network, NetworkRequest, Networks, PortMapping, Result},
};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

pub use attach::FAULT_POINTS;
use cache::Cache;
use conflist::Conflist;
use directory::Directory;
use error::NetworkError;
use namespaces::Namespaces;
pub use own::Bridge;
use program::Programs;
use reaper::Reaper;

/// What the networks depend on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where namespaces are pinned, in `netns/`; it may vanish with a restart of the machine.
    pub state_dir: PathBuf,
    /// Where results are kept, in `cni/`.
    pub data_root: PathBuf,
    /// Where conflists are.
    pub conf_dir: PathBuf,
    /// Where plugins are looked for, in order.
    pub bin_dirs: Vec<PathBuf>,
    /// The network `bridge`, where no file describes it.
    pub bridge: Option<Bridge>,
    /// Plugins that are built in are used instead of programs.
    pub native: bool,
    /// How long one attachment or detachment may take.
    pub timeout: Duration,
}

/// The networks of this machine.
#[derive(Debug, Clone)]
pub struct CniNetworks(Arc<Core>);

#[derive(Debug)]
struct Core {
    settings: Settings,
    namespaces: Namespaces,
    directory: Directory,
    cache: Cache,
    programs: Programs,
    reaper: Reaper,
    turns: Mutex<HashMap<ContainerId, Arc<AsyncMutex<()>>>>,
}

impl CniNetworks {
    /// The networks that these settings describe.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let own = settings.bridge.as_ref().and_then(|bridge| {
            let network = own::network(bridge, &settings.data_root);
            network.inspect_err(|message| tracing::error!("network {BRIDGE}: {message}")).ok()
        });
        Self(Arc::new(Core {
            namespaces: Namespaces::below(&settings.state_dir),
            directory: Directory::new(settings.conf_dir.clone(), own.map(Arc::new)),
            cache: Cache::below(&settings.data_root),
            programs: Programs::new(settings.bin_dirs.clone()),
            reaper: Reaper::default(),
            turns: Mutex::default(),
            settings,
        }))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> Result<T, NetworkError> + Send + 'static,
    ) -> Result<T> {
        let core = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || work(&core)).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(cut_short()),
        }
    }

    /// Carries work out to its end, even when nobody waits for it any longer: half an attachment
    /// would be nobody's.
    async fn to_the_end<T: Send + 'static, F>(&self, work: impl FnOnce(Arc<Core>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, NetworkError>> + Send + 'static,
    {
        match tokio::spawn(work(Arc::clone(&self.0))).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(cut_short()),
        }
    }
}

fn cut_short() -> PortError {
    PortError::new(ErrorKind::Internal, "work on a network was cut short")
}

impl Core {
    /// The right to change what a namespace is attached to.
    async fn turn(&self, id: &ContainerId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(id.clone()).or_default())
        };
        turn.lock_owned().await
    }

    /// Frees what the built-in plugins of a network keep on disk from before the machine started,
    /// where the network's own clean-up does not: once after each start of the machine.
    async fn reclaim(
        &self,
        network: &Conflist,
        valid: Vec<(String, String)>,
    ) -> Option<NetworkError> {
        let started = machine_start()?;
        let network = network.clone();
        let work = tokio::task::spawn_blocking(move || {
            let bridges = network.plugins.iter().filter(|plugin| plugin.kind == "bridge");
            for plugin in bridges {
                if let Err(message) =
                    native::reclaim(&plugin.conf, (&network.name, started), &valid)
                {
                    let plugin = plugin.kind.clone();
                    return Some(NetworkError::Plugin { plugin, command: "GC", code: 0, message });
                }
            }
            None
        });
        work.await.ok().flatten()
    }
}

/// When the machine started, by its clock.
fn machine_start() -> Option<SystemTime> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

#[async_trait]
impl Networks for CniNetworks {
    async fn make_namespace(&self, id: &ContainerId) -> Result<PathBuf> {
        let id = id.clone();
        self.blocking(move |core| core.namespaces.make(&id)).await
    }

    async fn pin_namespace(&self, id: &ContainerId, source: &Path) -> Result<PathBuf> {
        let (id, source) = (id.clone(), source.to_owned());
        self.blocking(move |core| core.namespaces.adopt(&id, &source)).await
    }

    async fn remove_namespace(&self, id: &ContainerId) -> Result<()> {
        let id = id.clone();
        self.blocking(move |core| core.namespaces.remove(&id)).await
    }

    fn namespace_path(&self, id: &ContainerId) -> PathBuf {
        self.0.namespaces.path(id)
    }

    async fn attach(&self, request: &NetworkRequest) -> Result<Attachment> {
        let request = request.clone();
        self.to_the_end(|core| async move { core.attach(&request).await }).await
    }

    async fn detach(&self, request: &NetworkRequest) -> Result<()> {
        let request = request.clone();
        self.to_the_end(|core| async move { core.detach(&request).await }).await
    }

    async fn check(&self, request: &NetworkRequest) -> Result<()> {
        let request = request.clone();
        self.to_the_end(|core| async move { core.check(&request).await }).await
    }

    async fn status(&self) -> Result<()> {
        self.to_the_end(|core| async move { core.status().await }).await
    }

    fn list(&self) -> Vec<Network> {
        self.0.directory.current().all().map(|network| network.shown()).collect()
    }

    fn free_port(&self, mapping: &PortMapping) -> Result<u16> {
        Ok(ports::free(mapping)?)
    }

    async fn collect(&self, alive: &[ContainerId]) -> Result<()> {
        let alive = alive.to_vec();
        self.to_the_end(|core| async move { core.collect(&alive).await }).await
    }
}
