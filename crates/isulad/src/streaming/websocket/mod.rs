//! WebSocket, as browsers and newer clients of Kubernetes speak it: every message begins with the
//! number of its channel.

mod forward;
mod frame;
mod remote;
mod tunnel;

use std::sync::Arc;

use tokio::{sync::mpsc, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::protocol::{Role, WebSocketConfig},
};

use self::{
    frame::Coding,
    remote::{Reader, ToChannels},
    tunnel::Tunnel,
};
use super::{
    call::{CLOSING, Call},
    remote::join,
    request::{Duplex, PortForwardRequest},
    spdy,
    status::Dialect,
    tokens::Remote,
};

/// Bytes of a message. Some clients send a whole file in one.
const MESSAGE_MAX: usize = 16 << 20;
/// Bytes of the buffers, which grow with a message and are small without.
const BUFFER: usize = 8 << 10;

/// A subprotocol of exec and attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RemoteProtocol {
    coding: Coding,
    dialect: Dialect,
    /// Channel 255 closes another one.
    closes: bool,
}

impl RemoteProtocol {
    /// The names, the best first.
    pub(super) const NAMES: [(Self, &'static str); 5] = [
        (Self::new(Coding::Binary, Dialect::Json, true), "v5.channel.k8s.io"),
        (Self::new(Coding::Binary, Dialect::Json, false), "v4.channel.k8s.io"),
        (Self::new(Coding::Base64, Dialect::Json, false), "v4.base64.channel.k8s.io"),
        (Self::OLDEST, "channel.k8s.io"),
        (Self::new(Coding::Base64, Dialect::Text, false), "base64.channel.k8s.io"),
    ];
    /// What a client speaks that names none.
    pub(super) const OLDEST: Self = Self::new(Coding::Binary, Dialect::Text, false);

    const fn new(coding: Coding, dialect: Dialect, closes: bool) -> Self {
        Self { coding, dialect, closes }
    }
}

/// A subprotocol of port-forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForwardProtocol {
    /// Two channels for each port.
    Channels(Coding),
    /// A SPDY session within the messages.
    Tunnel,
}

impl ForwardProtocol {
    /// The names, the best first.
    pub(super) const NAMES: [(Self, &'static str); 3] = [
        (Self::Tunnel, "SPDY/3.1+portforward.k8s.io"),
        (Self::OLDEST, "v4.channel.k8s.io"),
        (Self::Channels(Coding::Base64), "v4.base64.channel.k8s.io"),
    ];
    /// What a client speaks that names none.
    pub(super) const OLDEST: Self = Self::Channels(Coding::Binary);
}

type Socket = WebSocketStream<Box<dyn Duplex>>;

async fn accept(io: Box<dyn Duplex>) -> Socket {
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(1 << 20)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// Joins the client of an upgraded connection to a process.
pub(super) async fn remote(
    io: Box<dyn Duplex>,
    remote: &Remote,
    protocol: RemoteProtocol,
    call: &Call,
) {
    let (sink, stream) = futures_util::StreamExt::split(accept(io).await);
    let (incoming, from_client) = mpsc::channel(1);
    let mut reader = Reader::new(stream, protocol.coding, protocol.closes, incoming);
    let mut outlet = ToChannels::new(sink, protocol.coding);
    let session = async {
        // Clients wait for a message to know that they are connected.
        outlet.greet(remote.streams()).await?;
        let what = (&call.backend, remote);
        join(what, from_client, &mut outlet, protocol.dialect, &call.activity).await
    };
    tokio::select! {
        () = reader.run(remote.streams()) => {}
        // It fails when the client has gone.
        _ = session => {}
        () = call.idled() => {}
    }
    let farewell = async {
        outlet.close().await;
        reader.drain().await;
    };
    // A client that does not go is left.
    let _ = timeout(CLOSING, farewell).await;
}

/// Forwards ports for the client of an upgraded connection.
pub(super) async fn forward(
    io: Box<dyn Duplex>,
    request: &PortForwardRequest,
    protocol: ForwardProtocol,
    call: Arc<Call>,
) {
    let socket = accept(io).await;
    match protocol {
        ForwardProtocol::Channels(coding) => forward::serve(socket, request, coding, &call).await,
        ForwardProtocol::Tunnel => {
            spdy::forward(Box::new(Tunnel::new(socket)), request, call).await;
        }
    }
}
