//! The native gRPC API: each handler parses, acts and renders.

mod containers;
mod convert;
mod image_filter;
mod images;
mod inspect;
mod inspect_image;
mod session;
mod status;
mod storage;
mod system;
mod top;

use std::{path::PathBuf, sync::Arc};

use isula_api::v1::{
    containers_server::ContainersServer, images_server::ImagesServer,
    storage_server::StorageServer, system_server::SystemServer,
};
use isula_engine::Engine;
use tonic::{
    Status,
    transport::{Server, server::Router},
};

/// Bytes of the largest request; archives and input come in pieces.
const MESSAGE: usize = 16 << 20;
/// Requests at once on one connection.
const STREAMS: u32 = 100;
/// Bytes of the headers of one request.
const HEADERS: u32 = 64 << 10;
/// Bytes that a client may send ahead on one stream, and on one connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Streams that a client opened and reset at once before they were looked at (CVE-2023-44487).
const RESETS: usize = 32;

/// What `info` says beside what the engine knows.
#[derive(Debug, Clone)]
pub struct About {
    /// Where things are.
    pub paths: Paths,
    /// Mirrors of docker.io.
    pub mirrors: Vec<String>,
    /// Registries that need no TLS.
    pub insecure_registries: Vec<String>,
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

/// The server of all services.
pub fn server(engine: Arc<Engine>, about: About) -> Router {
    let api = Api { engine, about: Arc::new(about) };
    Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_pending_accept_reset_streams(Some(RESETS))
        .add_service(ContainersServer::new(api.clone()).max_decoding_message_size(MESSAGE))
        .add_service(ImagesServer::new(api.clone()).max_decoding_message_size(MESSAGE))
        .add_service(StorageServer::new(api.clone()).max_decoding_message_size(MESSAGE))
        .add_service(SystemServer::new(api).max_decoding_message_size(MESSAGE))
}
