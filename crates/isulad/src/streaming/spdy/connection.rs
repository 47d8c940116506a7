//! The receiving half of a SPDY session: frames in, events out.
//!
//! Pings, settings and window updates are dealt with here. Nothing is buffered: whoever takes the
//! events decides when the next frame is read, and TCP makes the client wait meanwhile. Data comes in
//! pieces of at most 16 KiB, however long its frame is.

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, BufReader, ReadHalf};

use super::{
    frame::{self, FIN, HEAD, Head, Kind, Violation},
    headers::{Headers, Unpacker},
    writer::Writer,
};
use crate::streaming::request::Duplex;

/// Bytes of a control frame; those of Kubernetes' clients stay far below.
const CONTROL_MAX: usize = 16 << 10;
/// Bytes of data taken at once.
const PIECE: usize = 16 << 10;
/// Bytes taken in before the client is told that it may send as many again.
const UPDATE: u32 = 32 << 10;
const INITIAL_WINDOW: u32 = 7;

/// What a client does.
#[derive(Debug)]
pub(super) enum Event {
    /// It wants a stream.
    Open { stream: u32, headers: Headers, fin: bool },
    /// It sends; `fin` says that it sends no more.
    Data { stream: u32, bytes: Bytes, fin: bool },
    /// It ends a stream in both directions.
    Reset { stream: u32 },
}

/// Why the session broke.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Protocol(#[from] Violation),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The receiving half.
pub(super) struct Connection {
    io: BufReader<ReadHalf<Box<dyn Duplex>>>,
    unpacker: Unpacker,
    writer: Arc<Writer>,
    last: u32,
    /// The data frame under way: its stream, the bytes to come, whether it is the last one.
    under_way: Option<(u32, usize, bool)>,
    taken: (u32, u32),
    taken_in_session: u32,
}

impl Connection {
    pub(super) fn new(io: ReadHalf<Box<dyn Duplex>>, writer: Arc<Writer>) -> Self {
        Self {
            io: BufReader::with_capacity(PIECE, io),
            unpacker: Unpacker::new(),
            writer,
            last: 0,
            under_way: None,
            taken: (0, 0),
            taken_in_session: 0,
        }
    }

    /// The stream that was opened last.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// What the client does next; nothing when it has gone.
    ///
    /// # Errors
    /// It broke the protocol, or the connection did.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, Broken> {
        loop {
            if let Some((stream, left, fin)) = self.under_way.take() {
                return self.piece(stream, left, fin).await.map(Some);
            }
            let mut bytes = [0; HEAD];
            match self.io.read_exact(&mut bytes).await {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            match frame::head(bytes)? {
                Head::Data { stream, flags, length } => {
                    if stream == 0 || stream > self.last {
                        return Err(Violation("data of a stream that was never opened").into());
                    }
                    self.under_way = Some((stream, length, flags & FIN != 0));
                }
                Head::Control { kind, flags, length } => {
                    if length > CONTROL_MAX {
                        return Err(Violation("a control frame too long").into());
                    }
                    let mut payload = vec![0; length];
                    self.io.read_exact(&mut payload).await?;
                    match self.control(kind, flags, &payload).await? {
                        Control::Event(event) => return Ok(Some(event)),
                        Control::Done => {}
                        Control::GoAway => return Ok(None),
                    }
                }
            }
        }
    }

    async fn piece(&mut self, stream: u32, left: usize, fin: bool) -> Result<Event, Broken> {
        let mut bytes = BytesMut::zeroed(left.min(PIECE));
        self.io.read_exact(&mut bytes).await?;
        let rest = left - bytes.len();
        if rest > 0 {
            self.under_way = Some((stream, rest, fin));
        }
        Ok(Event::Data { stream, bytes: bytes.freeze(), fin: fin && rest == 0 })
    }

    async fn control(
        &mut self,
        kind: Kind,
        flags: u8,
        mut payload: &[u8],
    ) -> Result<Control, Broken> {
        let payload = &mut payload;
        match kind {
            Kind::SynStream => {
                let stream = frame::stream_number(payload)?;
                frame::number(payload)?;
                // Priority and slot mean nothing here.
                let block = payload.get(2..).ok_or(Violation("a frame too short"))?;
                let headers = self.unpacker.read(block)?;
                if stream.is_multiple_of(2) || stream <= self.last {
                    return Err(Violation("the number of a stream is not the next").into());
                }
                self.last = stream;
                return Ok(Control::Event(Event::Open { stream, headers, fin: flags & FIN != 0 }));
            }
            Kind::Headers | Kind::SynReply => {
                let stream = frame::stream_number(payload)?;
                // Of no interest, but the blocks after it build on it.
                self.unpacker.read(payload)?;
                if kind == Kind::Headers && flags & FIN != 0 && stream <= self.last {
                    let bytes = Bytes::new();
                    return Ok(Control::Event(Event::Data { stream, bytes, fin: true }));
                }
            }
            Kind::Reset => {
                let stream = frame::stream_number(payload)?;
                self.writer.forget(stream);
                return Ok(Control::Event(Event::Reset { stream }));
            }
            Kind::Settings => self.settings(payload)?,
            Kind::Ping => {
                let id = frame::number(payload)?;
                // Ours would be even; we send none.
                if !id.is_multiple_of(2) {
                    self.writer.pong(id).await?;
                }
            }
            Kind::GoAway => return Ok(Control::GoAway),
            Kind::WindowUpdate => {
                let stream = frame::stream_number(payload)?;
                self.writer.update(stream, frame::stream_number(payload)?)?;
            }
            Kind::Unknown => {}
        }
        Ok(Control::Done)
    }

    fn settings(&self, payload: &mut &[u8]) -> Result<(), Violation> {
        for _ in 0..frame::number(payload)? {
            let id = frame::number(payload)? & 0x00ff_ffff;
            let value = frame::number(payload)?;
            if id == INITIAL_WINDOW {
                self.writer.initial(value & 0x7fff_ffff);
            }
        }
        Ok(())
    }

    /// Data of a stream was taken in: now and then the client is allowed as much again.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn taken(&mut self, stream: u32, bytes: usize) -> io::Result<()> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.taken_in_session = self.taken_in_session.saturating_add(bytes);
        if self.taken_in_session >= UPDATE {
            self.writer.allow(0, std::mem::take(&mut self.taken_in_session)).await?;
        }
        if self.taken.0 != stream {
            let (before, owed) = std::mem::replace(&mut self.taken, (stream, 0));
            if owed > 0 {
                self.writer.allow(before, owed).await?;
            }
        }
        self.taken.1 = self.taken.1.saturating_add(bytes);
        if self.taken.1 >= UPDATE {
            let owed = std::mem::take(&mut self.taken.1);
            self.writer.allow(stream, owed).await?;
        }
        Ok(())
    }

    /// Reads and drops what the client still sends, until it closes: a connection that is closed
    /// with bytes unread is reset, and the client may lose what was sent to it last.
    pub(super) async fn drain(&mut self) {
        let mut bytes = [0; 2048];
        while let Ok(1..) = self.io.read(&mut bytes).await {}
    }
}

enum Control {
    Event(Event),
    Done,
    GoAway,
}
