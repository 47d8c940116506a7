//! `port-forward` over SPDY: for each connection the client opens a pair of streams, one for data and
//! one for an error, with the same request number and the port in their headers.

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use super::{
    connection::{Broken, Connection, Event},
    frame::Reason,
    headers::Headers,
    writer::Writer,
};
use crate::streaming::{
    call::Call,
    forward::{self, Caller},
};

/// Connections at once in one session.
const PAIRS_MAX: usize = 256;
/// Pieces that wait for a port.
const PIECES: usize = 4;
/// How long one stream of a pair waits for the other.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Data,
    Error,
}

/// A stream that waits for the other one of its pair.
struct Half {
    role: Role,
    stream: u32,
    port: u16,
    since: Instant,
    /// Data may come before the pair is complete.
    receiver: Option<mpsc::Receiver<Bytes>>,
}

/// A data stream.
struct Way {
    sender: Option<mpsc::Sender<Bytes>>,
    task: Option<AbortHandle>,
}

/// All connections of a session.
pub(super) struct Forwards {
    call: Arc<Call>,
    sandbox: Arc<str>,
    writer: Arc<Writer>,
    halves: HashMap<String, Half>,
    ways: HashMap<u32, Way>,
    tasks: JoinSet<u32>,
}

impl Forwards {
    pub(super) fn new(call: Arc<Call>, sandbox: &str, writer: Arc<Writer>) -> Self {
        let (halves, ways, tasks) = (HashMap::new(), HashMap::new(), JoinSet::new());
        Self { call, sandbox: sandbox.into(), writer, halves, ways, tasks }
    }

    /// Serves until the client has gone.
    ///
    /// # Errors
    /// It broke the protocol, or the connection did.
    pub(super) async fn run(&mut self, connection: &mut Connection) -> Result<(), Broken> {
        while let Some(event) = connection.next().await? {
            self.sweep();
            self.call.activity.touch();
            match event {
                Event::Open { stream, headers, fin } => {
                    self.open(stream, &headers).await?;
                    if fin {
                        self.end(stream);
                    }
                }
                Event::Data { stream, bytes, fin } => {
                    let length = bytes.len();
                    self.data(stream, bytes).await;
                    if fin {
                        self.end(stream);
                    } else {
                        connection.taken(stream, length).await?;
                    }
                }
                Event::Reset { stream } => self.reset(stream),
            }
        }
        Ok(())
    }

    /// Forgets connections that have ended.
    fn sweep(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Ok(stream) = ended {
                self.ways.remove(&stream);
            }
        }
    }

    async fn open(&mut self, stream: u32, headers: &Headers) -> io::Result<()> {
        self.refuse_old_halves().await?;
        let role = match headers.get("streamtype") {
            Some("data") => Role::Data,
            Some("error") => Role::Error,
            _ => return self.writer.reset(stream, Reason::Refused).await,
        };
        let port = headers.get("port").and_then(|port| port.parse::<u16>().ok());
        let Some(port) = port.filter(|port| *port != 0) else {
            return self.writer.reset(stream, Reason::Refused).await;
        };
        // Old clients number no requests, but open the error stream first and the data stream next.
        let pair = headers.get("requestid").map_or_else(
            || match role {
                Role::Error => format!("stream {stream}"),
                Role::Data => format!("stream {}", stream.saturating_sub(2)),
            },
            str::to_owned,
        );
        let twice = self.halves.get(&pair).is_some_and(|half| half.role == role);
        if twice || self.halves.len() + self.tasks.len() >= PAIRS_MAX {
            return self.writer.reset(stream, Reason::Refused).await;
        }
        self.writer.accept(stream).await?;
        let mut half = Half { role, stream, port, since: Instant::now(), receiver: None };
        if role == Role::Data {
            let (sender, receiver) = mpsc::channel(PIECES);
            half.receiver = Some(receiver);
            self.ways.insert(stream, Way { sender: Some(sender), task: None });
        }
        match self.halves.remove(&pair) {
            None => drop(self.halves.insert(pair, half)),
            Some(other) if role == Role::Data => self.start(half, &other),
            Some(other) => self.start(other, &half),
        }
        Ok(())
    }

    async fn refuse_old_halves(&mut self) -> io::Result<()> {
        let old = self.halves.extract_if(|_, half| half.since.elapsed() > PATIENCE);
        for stream in old.map(|(_, half)| half.stream).collect::<Vec<_>>() {
            self.ways.remove(&stream);
            self.writer.reset(stream, Reason::Cancelled).await?;
        }
        Ok(())
    }

    fn start(&mut self, data: Half, error: &Half) {
        let Some(incoming) = data.receiver else { return };
        let pair =
            Pair { writer: Arc::clone(&self.writer), data: data.stream, error: error.stream };
        let (call, sandbox) = (Arc::clone(&self.call), Arc::clone(&self.sandbox));
        let task = self.tasks.spawn(async move {
            let (backend, activity) = (&*call.backend, &call.activity);
            forward::join(backend, (&sandbox, data.port), incoming, &pair, activity).await;
            pair.data
        });
        if let Some(way) = self.ways.get_mut(&data.stream) {
            way.task = Some(task);
        }
    }

    /// A port that does not read makes the whole connection wait: there is no other way to hold no
    /// more than a few pieces for a client that knows no windows.
    async fn data(&mut self, stream: u32, bytes: Bytes) {
        let sender = self.ways.get(&stream).and_then(|way| way.sender.as_ref());
        if let Some(sender) = sender
            && !bytes.is_empty()
        {
            // The port has closed; what is on the way to it is dropped.
            let _ = sender.send(bytes).await;
        }
    }

    fn end(&mut self, stream: u32) {
        if let Some(way) = self.ways.get_mut(&stream) {
            way.sender = None;
        }
    }

    fn reset(&mut self, stream: u32) {
        if let Some(task) = self.ways.remove(&stream).and_then(|way| way.task) {
            task.abort();
        }
    }
}

/// The streams of one connection.
struct Pair {
    writer: Arc<Writer>,
    data: u32,
    error: u32,
}

#[async_trait]
impl Caller for Pair {
    async fn data(&self, bytes: Bytes) -> io::Result<()> {
        self.writer.data(self.data, bytes).await
    }

    async fn end(&self) -> io::Result<()> {
        self.writer.finish(self.data).await?;
        self.writer.finish(self.error).await
    }

    async fn fail(&self, reason: String) -> io::Result<()> {
        self.writer.data(self.error, reason.into()).await?;
        self.writer.finish(self.error).await?;
        self.writer.reset(self.data, Reason::Internal).await
    }
}
