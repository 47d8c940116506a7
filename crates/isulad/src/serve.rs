//! The server: all services behind one set of limits.

use std::io;

use isula_api::{
    runtime::v1::{
        image_service_server::ImageServiceServer, runtime_service_server::RuntimeServiceServer,
    },
    v1::{
        containers_server::ContainersServer, images_server::ImagesServer,
        storage_server::StorageServer, system_server::SystemServer,
    },
};
use tokio_stream::Stream;
use tonic::{
    service::InterceptorLayer,
    transport::{self, Server},
};
use tower::layer::layer_fn;

use crate::{api::Api, cri::Cri, deadline::Deadline, idle::Asked, listen::Connection};

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

/// What answers the requests.
pub struct Doors {
    pub api: Api,
    pub cri: Cri,
    /// Is told of each request.
    pub asked: Asked,
}

/// Serves all services until `stopped`. It pings nobody: the sockets are local, and their peers'
/// ends are seen at once.
///
/// # Errors
/// The listening sockets failed.
pub async fn serve(
    Doors { api, cri, asked }: Doors,
    incoming: impl Stream<Item = io::Result<Connection>>,
    stopped: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_pending_accept_reset_streams(Some(RESETS))
        .layer(InterceptorLayer::new(asked))
        .layer(layer_fn(Deadline))
        .add_service(ContainersServer::new(api.clone()).max_decoding_message_size(MESSAGE))
        .add_service(ImagesServer::new(api.clone()).max_decoding_message_size(MESSAGE))
        .add_service(StorageServer::new(api.clone()).max_decoding_message_size(MESSAGE))
        .add_service(SystemServer::new(api).max_decoding_message_size(MESSAGE))
        .add_service(RuntimeServiceServer::new(cri.clone()).max_decoding_message_size(MESSAGE))
        .add_service(ImageServiceServer::new(cri).max_decoding_message_size(MESSAGE))
        .serve_with_incoming_shutdown(incoming, stopped)
        .await
}
