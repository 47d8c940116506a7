//! The `Networks` port: pinned network namespaces, and CNI networks from conflists.

mod error;
mod namespaces;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use isula_core::{
    error::PortError,
    id::ContainerId,
    ports::{Attachment, Network, NetworkRequest, Networks, Result},
};

use error::NetworkError;
use namespaces::Namespaces;

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
}

impl CniNetworks {
    /// The networks that these settings describe.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let namespaces = Namespaces::below(&settings.state_dir);
        Self(Arc::new(Core { settings, namespaces }))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> Result<T, NetworkError> + Send + 'static,
    ) -> Result<T> {
        let core = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || work(&core)).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(PortError::new(
                isula_core::error::ErrorKind::Internal,
                "work on a network was cut short",
            )),
        }
    }

    fn nothing<T>(&self) -> Result<T> {
        Err(NetworkError::NoneConfigured(self.0.settings.conf_dir.clone()).into())
    }
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

    async fn attach(&self, _: &NetworkRequest) -> Result<Attachment> {
        self.nothing()
    }

    async fn detach(&self, _: &NetworkRequest) -> Result<()> {
        Ok(())
    }

    async fn check(&self, _: &NetworkRequest) -> Result<()> {
        self.nothing()
    }

    async fn status(&self) -> Result<()> {
        self.nothing()
    }

    fn list(&self) -> Vec<Network> {
        Vec::new()
    }

    async fn collect(&self, alive: &[ContainerId]) -> Result<()> {
        let alive = alive.to_vec();
        let work = move |core: &Core| {
            let pinned = core.namespaces.list()?;
            let dead = pinned.iter().filter(|id| !alive.contains(id));
            let failures = dead.filter_map(|id| core.namespaces.remove(id).err()).collect();
            NetworkError::all(failures)
        };
        self.blocking(work).await
    }
}
