//! Our stdout and stderr, written by a thread.

use std::io::{self, Write};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

/// A piece of output and where it goes.
#[derive(Debug)]
pub(super) enum Piece {
    /// To stdout.
    Out(Bytes),
    /// To stderr.
    Err(Bytes),
}

/// The way to the thread, which begins with the first piece: most commands write nothing.
pub(super) struct Writer {
    pieces: mpsc::Sender<Piece>,
    done: oneshot::Receiver<io::Result<()>>,
    /// What the thread gets.
    waiting: Option<(mpsc::Receiver<Piece>, oneshot::Sender<io::Result<()>>)>,
}

impl Writer {
    /// Without a thread yet.
    pub fn new() -> Self {
        let (pieces, receiver) = mpsc::channel(4);
        let (sender, done) = oneshot::channel();
        Self { pieces, done, waiting: Some((receiver, sender)) }
    }

    /// Waits for room for a piece: the daemon is read no faster than our output is. What is sent is
    /// written after [`Writer::begin`].
    pub async fn room(&self) -> Option<mpsc::Permit<'_, Piece>> {
        self.pieces.reserve().await.ok()
    }

    /// Starts the thread, unless it was.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn begin(&mut self) -> io::Result<()> {
        let Some((pieces, sender)) = self.waiting.take() else { return Ok(()) };
        let thread = std::thread::Builder::new().name("stdout".to_owned());
        thread.spawn(move || {
            // The other end may have given up; then nobody asks for the result.
            let _ = sender.send(write(pieces));
        })?;
        Ok(())
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// What stdout or stderr said.
    pub async fn finish(self) -> io::Result<()> {
        let Self { pieces, done, waiting } = self;
        drop((pieces, waiting));
        done.await.unwrap_or(Ok(()))
    }
}

fn write(mut pieces: mpsc::Receiver<Piece>) -> io::Result<()> {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Out(bytes) => {
                out.write_all(&bytes)?;
                // std holds a last line without its end back; a prompt is such a line.
                out.flush()?;
            }
            Piece::Err(bytes) => err.write_all(&bytes)?,
        }
    }
    Ok(())
}
