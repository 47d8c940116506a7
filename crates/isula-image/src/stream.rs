//! From bytes that arrive asynchronously to a blocking reader, through a bounded channel; and from a
//! blocking writer to bytes that leave so.

use std::{
    io::{self, Read, Write},
    task::{Context, Poll},
    thread,
};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use isula_core::{error::PortError, ports::ByteStream};
use tokio::{sync::mpsc, task::spawn_blocking};

/// Pieces under way; a piece is what the sender made it (64 KiB, say).
const DEPTH: usize = 8;

enum Piece {
    Bytes(Bytes),
    /// The whole was sent. Without it the sender was dropped: the operation is cancelled.
    End,
}

/// The blocking end.
pub(crate) struct PieceReader {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.current = bytes,
                Some(Piece::End) => self.ended = true,
                None => return Err(io::Error::other("the sender broke off")),
            }
        }
        let length = self.current.len().min(buffer.len());
        if let Some(buffer) = buffer.get_mut(..length) {
            self.current.copy_to_slice(buffer);
        }
        Ok(length)
    }
}

/// Runs `work` on a blocking thread with the bytes of `stream` to read. If this future is
/// dropped, the reader fails, and with it the work.
///
/// # Errors
/// What `work` says, or what the stream says if it broke off.
pub(crate) async fn read_blocking<T: Send + 'static>(
    mut stream: ByteStream,
    work: impl FnOnce(PieceReader) -> Result<T, PortError> + Send + 'static,
) -> Result<T, PortError> {
    let (sender, pieces) = mpsc::channel(DEPTH);
    let reader = PieceReader { pieces, current: Bytes::new(), ended: false };
    let task = spawn_blocking(move || work(reader));
    let mut broken = None;
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(bytes) if bytes.is_empty() => {}
            // An error here means that the work is done with the bytes, for good or bad.
            Ok(bytes) => match sender.send(Piece::Bytes(bytes)).await {
                Ok(()) => {}
                Err(_) => break,
            },
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
    }
    if broken.is_none() {
        // Failing is as above.
        let _ = sender.send(Piece::End).await;
    }
    drop(sender);
    let done = join(task.await);
    match broken {
        Some(error) => Err(PortError::io("cannot receive the archive", error)),
        None => done,
    }
}

/// Bytes in a piece that leaves, and pieces on their way.
const PIECE: usize = 128 << 10;
const LEAVING: usize = 4;
const STACK: usize = 256 << 10;

/// The blocking end of bytes that leave. It fails when nobody wants them any more.
pub(crate) struct PieceWriter {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    current: BytesMut,
}

impl PieceWriter {
    fn send(&mut self) -> io::Result<()> {
        let piece = self.current.split().freeze();
        self.pieces.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.capacity() == 0 {
            self.current.reserve(PIECE);
        }
        let room = PIECE.saturating_sub(self.current.len());
        let length = bytes.len().min(room);
        self.current.extend_from_slice(bytes.get(..length).unwrap_or_default());
        if self.current.len() >= PIECE {
            self.send()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.current.is_empty() { Ok(()) } else { self.send() }
    }
}

/// Runs `work` on a thread of its own, and gives what it writes; an error of it is the last item.
/// If the stream is dropped the writer fails, and with it the work. (A thread, because a client
/// that does not read would keep one of the few that all blocking work shares.)
///
/// # Errors
/// There can be no further thread.
pub(crate) fn write_blocking(
    work: impl FnOnce(&mut PieceWriter) -> Result<(), PortError> + Send + 'static,
) -> Result<ByteStream, PortError> {
    let (sender, mut pieces) = mpsc::channel(LEAVING);
    let run = move || {
        let mut writer = PieceWriter { pieces: sender.clone(), current: BytesMut::new() };
        let failed = |error| PortError::io("cannot send", error);
        let done = work(&mut writer).and_then(|()| writer.flush().map_err(failed));
        // Nobody may be left to be told. An empty piece is the end; there is no other such piece.
        let _ = sender.blocking_send(done.map(|()| Bytes::new()).map_err(io::Error::other));
    };
    thread::Builder::new()
        .name("image-write".into())
        .stack_size(STACK)
        .spawn(run)
        .map_err(|error| PortError::io("cannot start a thread", error))?;
    let mut ended = false;
    let next = move |context: &mut Context<'_>| {
        if ended {
            return Poll::Ready(None);
        }
        let item = std::task::ready!(pieces.poll_recv(context));
        ended = !matches!(&item, Some(Ok(piece)) if !piece.is_empty());
        Poll::Ready(match item {
            Some(Ok(piece)) if piece.is_empty() => None,
            None => Some(Err(io::Error::other("the work broke off"))),
            item => item,
        })
    };
    Ok(Box::pin(futures_util::stream::poll_fn(next)))
}

/// The outcome of a blocking task. One that panicked is a fault of ours, not the end of the daemon.
pub(crate) fn join<T>(
    joined: Result<Result<T, PortError>, tokio::task::JoinError>,
) -> Result<T, PortError> {
    use isula_core::error::ErrorKind;
    joined.unwrap_or_else(|error| {
        Err(PortError::with_source(ErrorKind::Internal, "a task of the image store failed", error))
    })
}
