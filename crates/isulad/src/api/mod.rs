//! The native gRPC API: each handler parses, acts and renders.

mod containers;
mod convert;
mod image_filter;
mod images;
mod inspect;
mod inspect_image;
mod ports;
mod session;
pub(crate) mod status;
mod storage;
mod system;
mod top;

use std::{path::PathBuf, sync::Arc};

use isula_engine::Engine;
use tonic::Status;

/// What `info` says beside what the engine knows.
#[derive(Debug, Clone)]
pub struct About {
    /// Where things are.
    pub paths: Paths,
    /// Mirrors of docker.io.
    pub mirrors: Vec<String>,
    /// Registries that need no TLS.
    pub insecure_registries: Vec<String>,
    /// Proxies of the configuration, which come before those of the environment.
    pub proxies: crate::config::ProxyEntry,
}

/// Where things are.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Containers, images, volumes.
    pub data_root: PathBuf,
    /// What runs.
    pub state_dir: PathBuf,
}

/// The services on an engine.
#[derive(Clone)]
pub struct Api {
    engine: Arc<Engine>,
    about: Arc<About>,
}

impl Api {
    /// The services on this engine.
    pub fn new(engine: Arc<Engine>, about: About) -> Self {
        Self { engine, about: Arc::new(about) }
    }

    /// Runs a use case as a task of its own, so that a client that hangs up leaves nothing half
    /// done.
    async fn carry_out<T, F>(&self, work: impl FnOnce(Arc<Engine>) -> F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = isula_engine::Result<T>> + Send + 'static,
    {
        match tokio::spawn(work(Arc::clone(&self.engine))).await {
            Ok(outcome) => outcome.map_err(|error| status::of(&error)),
            Err(error) => Err(Status::internal(format!("the request was broken off: {error}"))),
        }
    }
}
