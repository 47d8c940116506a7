//! `exec` and `attach` over WebSocket: a number for each channel.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{Socket, frame::Coding};
use crate::streaming::{
    remote::{Channel, Incoming, Outlet},
    request::Streams,
    resize::Sizes,
};

/// Bytes in a message of ours.
const PIECE: usize = 32 << 10;
const STDIN: u8 = 0;
const RESIZE: u8 = 4;
/// The fifth version: the channel named in the message is closed.
const CLOSE: u8 = 255;

fn number(channel: Channel) -> u8 {
    match channel {
        Channel::Stdin => STDIN,
        Channel::Stdout => 1,
        Channel::Stderr => 2,
        Channel::Error => 3,
        Channel::Resize => RESIZE,
    }
}

/// The end that clients take as one: without a code they report an error.
pub(super) fn farewell() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

pub(super) fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// Reads what the client does, up to its end.
pub(super) struct Reader {
    stream: SplitStream<Socket>,
    coding: Coding,
    closes: bool,
    sizes: Sizes,
    incoming: mpsc::Sender<Incoming>,
}

impl Reader {
    pub(super) fn new(
        stream: SplitStream<Socket>,
        coding: Coding,
        closes: bool,
        incoming: mpsc::Sender<Incoming>,
    ) -> Self {
        Self { stream, coding, closes, sizes: Sizes::default(), incoming }
    }

    pub(super) async fn run(&mut self, wanted: Streams) {
        // Pings are answered by the library while it reads.
        while let Some(Ok(message)) = self.stream.next().await {
            if message.is_close() {
                return;
            }
            if !message.is_binary() && !message.is_text() {
                continue;
            }
            let Some((channel, bytes)) = self.coding.unpack(message.into_data()) else { continue };
            if let Some(incoming) = self.incoming(channel, bytes, wanted) {
                // The process has ended; the session is about to.
                let _ = self.incoming.send(incoming).await;
            }
        }
    }

    fn incoming(&mut self, channel: u8, bytes: Bytes, wanted: Streams) -> Option<Incoming> {
        match channel {
            STDIN if wanted.stdin && !bytes.is_empty() => Some(Incoming::Input(bytes)),
            RESIZE if wanted.tty => self.sizes.push(&bytes).map(Incoming::Resize),
            CLOSE if self.closes && wanted.stdin && *bytes == [STDIN] => Some(Incoming::InputEnd),
            _ => None,
        }
    }

    /// Reads and drops what the client still sends, until it closes.
    pub(super) async fn drain(&mut self) {
        while let Some(Ok(_)) = self.stream.next().await {}
    }
}

/// The channels to the client.
pub(super) struct ToChannels {
    sink: SplitSink<Socket, Message>,
    coding: Coding,
}

impl ToChannels {
    pub(super) fn new(sink: SplitSink<Socket, Message>, coding: Coding) -> Self {
        Self { sink, coding }
    }

    /// An empty message on the first channel that the client reads.
    pub(super) async fn greet(&mut self, wanted: Streams) -> io::Result<()> {
        let channel = match wanted {
            Streams { stdout: true, .. } => Channel::Stdout,
            Streams { stderr: true, .. } => Channel::Stderr,
            _ => Channel::Error,
        };
        self.write(channel, Bytes::new()).await
    }

    /// Says that nothing more comes.
    pub(super) async fn close(&mut self) {
        // It may have gone.
        let _ = self.sink.send(farewell()).await;
    }
}

#[async_trait]
impl Outlet for ToChannels {
    async fn write(&mut self, channel: Channel, mut bytes: Bytes) -> io::Result<()> {
        while bytes.len() > PIECE {
            let piece = self.coding.pack(number(channel), &bytes.split_to(PIECE));
            self.sink.send(piece).await.map_err(broken)?;
        }
        self.sink.send(self.coding.pack(number(channel), &bytes)).await.map_err(broken)
    }

    /// A channel of a WebSocket ends with the connection.
    async fn end(&mut self, _: Channel) -> io::Result<()> {
        Ok(())
    }
}
