//! `exec` and `attach` over SPDY: a stream for each channel, opened by the client.

use std::{collections::BTreeMap, io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{
    connection::{Broken, Connection, Event},
    frame::Reason,
    headers::Headers,
    writer::Writer,
};
use crate::streaming::{
    remote::{Channel, Incoming, Outlet},
    request::Streams,
    resize::Sizes,
    status::Dialect,
};

/// Pieces of input that wait for the process.
pub(super) const PIECES: usize = 8;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::streaming) enum Version {
    V1,
    V2,
    V3,
    V4,
}

impl Version {
    /// The names, the best first.
    pub(in crate::streaming) const NAMES: [(Self, &'static str); 4] = [
        (Self::V4, "v4.channel.k8s.io"),
        (Self::V3, "v3.channel.k8s.io"),
        (Self::V2, "v2.channel.k8s.io"),
        (Self::V1, "channel.k8s.io"),
    ];

    pub(super) fn dialect(self) -> Dialect {
        if self >= Self::V4 { Dialect::Json } else { Dialect::Text }
    }

    /// How many streams the client opens before anything begins.
    pub(super) fn expected(self, streams: Streams) -> usize {
        let resize = streams.tty && self >= Self::V3;
        1 + [streams.stdin, streams.stdout, streams.stderr, resize]
            .into_iter()
            .filter(|wanted| *wanted)
            .count()
    }
}

/// The stream of each channel.
pub(super) type Roles = BTreeMap<Channel, u32>;

/// Reads what the client does, up to its end.
pub(super) struct Reader {
    expected: usize,
    roles: Roles,
    sizes: Sizes,
    complete: Option<oneshot::Sender<Roles>>,
    incoming: mpsc::Sender<Incoming>,
}

impl Reader {
    /// `complete` gets the streams when all of those expected are open.
    pub(super) fn new(
        expected: usize,
        complete: oneshot::Sender<Roles>,
        incoming: mpsc::Sender<Incoming>,
    ) -> Self {
        let roles = Roles::new();
        Self { expected, roles, sizes: Sizes::default(), complete: Some(complete), incoming }
    }

    /// # Errors
    /// The client broke the protocol, or the connection did.
    pub(super) async fn run(
        mut self,
        connection: &mut Connection,
        writer: &Writer,
    ) -> Result<(), Broken> {
        while let Some(event) = connection.next().await? {
            match event {
                Event::Open { stream, headers, fin } => {
                    self.open(writer, stream, &headers).await?;
                    if fin {
                        self.end(stream).await;
                    }
                }
                Event::Data { stream, bytes, fin } => {
                    let length = bytes.len();
                    self.data(stream, bytes).await;
                    if fin {
                        self.end(stream).await;
                    } else {
                        connection.taken(stream, length).await?;
                    }
                }
                Event::Reset { stream } => self.end(stream).await,
            }
        }
        Ok(())
    }

    async fn open(&mut self, writer: &Writer, stream: u32, headers: &Headers) -> io::Result<()> {
        let channel = match headers.get("streamtype") {
            Some("error") => Channel::Error,
            Some("stdin") => Channel::Stdin,
            Some("stdout") => Channel::Stdout,
            Some("stderr") => Channel::Stderr,
            Some("resize") => Channel::Resize,
            _ => return writer.reset(stream, Reason::Refused).await,
        };
        if self.roles.contains_key(&channel) {
            return writer.reset(stream, Reason::Refused).await;
        }
        writer.accept(stream).await?;
        self.roles.insert(channel, stream);
        if self.roles.len() == self.expected
            && let Some(complete) = self.complete.take()
        {
            // Whoever waits for it may have given up.
            let _ = complete.send(self.roles.clone());
        }
        Ok(())
    }

    fn is(&self, channel: Channel, stream: u32) -> bool {
        self.roles.get(&channel) == Some(&stream)
    }

    /// Output channels carry nothing this way; what comes on them is dropped.
    async fn data(&mut self, stream: u32, bytes: Bytes) {
        let incoming = if self.is(Channel::Stdin, stream) && !bytes.is_empty() {
            Some(Incoming::Input(bytes))
        } else if self.is(Channel::Resize, stream) {
            self.sizes.push(&bytes).map(Incoming::Resize)
        } else {
            None
        };
        if let Some(incoming) = incoming {
            // The process has ended; the session is about to.
            let _ = self.incoming.send(incoming).await;
        }
    }

    async fn end(&mut self, stream: u32) {
        if self.is(Channel::Stdin, stream) {
            // The same.
            let _ = self.incoming.send(Incoming::InputEnd).await;
        }
    }
}

/// The streams to the client.
pub(super) struct ToStreams {
    pub(super) writer: Arc<Writer>,
    pub(super) roles: Roles,
}

#[async_trait]
impl Outlet for ToStreams {
    async fn write(&mut self, channel: Channel, bytes: Bytes) -> io::Result<()> {
        let Some(stream) = self.roles.get(&channel) else { return Ok(()) };
        match self.writer.data(*stream, bytes).await {
            // It does not want this stream any more; it may want the others.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            sent => sent,
        }
    }

    async fn end(&mut self, channel: Channel) -> io::Result<()> {
        match self.roles.get(&channel) {
            Some(stream) => self.writer.finish(*stream).await,
            None => Ok(()),
        }
    }
}
