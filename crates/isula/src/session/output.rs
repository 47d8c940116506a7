//! Our stdout and stderr, written by a thread.

use std::io::{self, Write};
use std::thread::JoinHandle;

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

/// The thread and the way to it.
pub(super) struct Writer {
    pieces: mpsc::Sender<Piece>,
    done: oneshot::Receiver<io::Result<()>>,
    _thread: JoinHandle<()>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn start() -> io::Result<Self> {
        let (pieces, receiver) = mpsc::channel(4);
        let (sender, done) = oneshot::channel();
        let thread = std::thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            // The other end may have given up; then nobody asks for the result.
            let _ = sender.send(write(receiver));
        })?;
        Ok(Self { pieces, done, _thread: thread })
    }

    /// Waits for room for a piece: the daemon is read no faster than our output is.
    pub async fn room(&self) -> Option<mpsc::Permit<'_, Piece>> {
        self.pieces.reserve().await.ok()
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// What stdout or stderr said.
    pub async fn finish(self) -> io::Result<()> {
        let Self { pieces, done, _thread } = self;
        drop(pieces);
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
