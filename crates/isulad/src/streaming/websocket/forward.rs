//! `port-forward` over WebSocket: channel 2n carries the data of the n-th port that was asked for,
//! channel 2n+1 its error. Both begin with the number of the port.

use std::{io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    future::join_all,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    sync::{Mutex, mpsc},
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    Socket,
    frame::Coding,
    remote::{broken, farewell},
};
use crate::streaming::{
    call::{CLOSING, Call},
    forward::{Caller, join},
    request::PortForwardRequest,
};

type Sink = Arc<Mutex<SplitSink<Socket, Message>>>;

/// Serves until every port has ended or the client has gone.
pub(super) async fn serve(
    socket: Socket,
    request: &PortForwardRequest,
    coding: Coding,
    call: &Call,
) {
    let (sink, mut stream) = socket.split();
    let sink: Sink = Arc::new(Mutex::new(sink));
    let mut senders = Vec::new();
    let mut forwards = Vec::new();
    for (index, port) in (0_u8..).zip(&request.ports) {
        let (sender, incoming) = mpsc::channel(1);
        senders.push(sender);
        let Some(data) = index.checked_mul(2) else { break };
        let caller = ToChannels { sink: Arc::clone(&sink), coding, data };
        forwards.push(async move {
            let told = caller.name(*port).await;
            if told.is_ok() {
                let what = (request.sandbox.as_str(), *port);
                join(&*call.backend, what, incoming, &caller, &call.activity).await;
            }
        });
    }
    tokio::select! {
        _ = join_all(forwards) => {}
        () = read(&mut stream, coding, &senders) => {}
        () = call.idled() => {}
    }
    let leave = async {
        // It may have gone.
        let _ = sink.lock().await.send(farewell()).await;
        while let Some(Ok(_)) = stream.next().await {}
    };
    let _ = timeout(CLOSING, leave).await;
}

async fn read(stream: &mut SplitStream<Socket>, coding: Coding, senders: &[mpsc::Sender<Bytes>]) {
    while let Some(Ok(message)) = stream.next().await {
        if message.is_close() {
            return;
        }
        if !message.is_binary() && !message.is_text() {
            continue;
        }
        let Some((channel, bytes)) = coding.unpack(message.into_data()) else { continue };
        if channel.is_multiple_of(2)
            && !bytes.is_empty()
            && let Some(sender) = senders.get(usize::from(channel / 2))
        {
            // The port has closed; what is on the way to it is dropped.
            let _ = sender.send(bytes).await;
        }
    }
}

/// The channels of one port.
struct ToChannels {
    sink: Sink,
    coding: Coding,
    data: u8,
}

impl ToChannels {
    async fn send(&self, channel: u8, bytes: &[u8]) -> io::Result<()> {
        let message = self.coding.pack(channel, bytes);
        self.sink.lock().await.send(message).await.map_err(broken)
    }

    async fn name(&self, port: u16) -> io::Result<()> {
        self.send(self.data, &port.to_le_bytes()).await?;
        self.send(self.data + 1, &port.to_le_bytes()).await
    }
}

#[async_trait]
impl Caller for ToChannels {
    async fn data(&self, bytes: Bytes) -> io::Result<()> {
        self.send(self.data, &bytes).await
    }

    /// A channel ends with the connection.
    async fn end(&self) -> io::Result<()> {
        Ok(())
    }

    async fn fail(&self, reason: String) -> io::Result<()> {
        self.send(self.data + 1, reason.as_bytes()).await
    }
}
