//! The client's side of a process: a socket whose other end the shim holds.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use isula_core::error::{ErrorKind, PortError};
use isula_core::ports::{Attach, Chunk, Output, Result, Session, SessionInput, TerminalSize};
use isula_sys::fd_passing;
use isulad_shim::protocol::{
    Streams,
    stream::{self as packets, FromProcess, ToProcess},
};
use tokio::io::unix::AsyncFd;

use crate::ready;

/// A session, and the end of its socket that goes to the shim.
pub fn open() -> io::Result<(Session, OwnedFd)> {
    let (here, there) = isula_sys::packet::pair()?;
    let socket = Arc::new(ready::watch(here)?);
    let input = Box::new(Input { socket: Arc::clone(&socket) });
    let output = Box::pin(stream::unfold(Some(socket), next));
    Ok((Session { input, output }, there))
}

/// What a client wants, as the shim is told.
pub fn streams(attach: Attach) -> Streams {
    let Attach { stdin, stdout, stderr, size } = attach;
    Streams { stdin, stdout, stderr, size: size.map(|size| (size.rows, size.columns)) }
}

type Socket = Arc<AsyncFd<OwnedFd>>;

struct Input {
    socket: Socket,
}

#[async_trait]
impl SessionInput for Input {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        for piece in bytes.chunks(packets::LIMIT) {
            self.send(&[IoSlice::new(&[ToProcess::INPUT]), IoSlice::new(piece)]).await?;
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        self.send(&[IoSlice::new(&packets::close_stdin())]).await
    }

    async fn resize(&mut self, size: TerminalSize) -> Result<()> {
        self.send(&[IoSlice::new(&packets::resize(size.rows, size.columns))]).await
    }
}

impl Input {
    async fn send(&self, parts: &[IoSlice<'_>]) -> Result<()> {
        let failed = |error| PortError::io("cannot send input to the process", error);
        loop {
            let mut ready = self.socket.writable().await.map_err(failed)?;
            match ready.try_io(|socket| fd_passing::send(socket.as_fd(), parts, &[])) {
                Ok(result) => return result.map_err(failed),
                Err(_would_block) => {}
            }
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // The shim sees that no more comes; output goes on as long as somebody holds it.
        let _ = rustix::net::shutdown(self.socket.get_ref(), rustix::net::Shutdown::Write);
    }
}

/// The next piece of output. The state is gone once there is no next.
async fn next(socket: Option<Socket>) -> Option<(Result<Chunk>, Option<Socket>)> {
    let socket = socket?;
    match receive(&socket).await {
        Ok(Some(Chunk::Exited(code))) => Some((Ok(Chunk::Exited(code)), None)),
        Ok(Some(chunk)) => Some((Ok(chunk), Some(socket))),
        Ok(None) => None,
        Err(error) => Some((Err(error), None)),
    }
}

async fn receive(socket: &AsyncFd<OwnedFd>) -> Result<Option<Chunk>> {
    let failed = |error| PortError::io("cannot read the output of the process", error);
    let packet = loop {
        let mut ready = socket.readable().await.map_err(failed)?;
        match take_packet(socket.get_ref()) {
            Ok(packet) => break packet,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) => return Err(failed(error)),
        }
    };
    if packet.is_empty() {
        let text = "the session was cut off: its client read too slowly, or the shim ended";
        return Err(PortError::new(ErrorKind::Unavailable, text));
    }
    match FromProcess::parse(&packet) {
        Some(FromProcess::Output(stream, _)) => {
            let stream = match stream {
                packets::Output::Stdout => Output::Stdout,
                packets::Output::Stderr => Output::Stderr,
            };
            Ok(Some(Chunk::Output(stream, packet.slice(1..))))
        }
        Some(FromProcess::Exited(code)) => Ok(Some(Chunk::Exited(code))),
        Some(FromProcess::End) => Ok(None),
        None => Err(PortError::new(ErrorKind::Internal, "a packet of a session is malformed")),
    }
}

/// A packet in a buffer of its own size: most are short, and a queue of them must not be long.
fn take_packet(socket: &OwnedFd) -> io::Result<Bytes> {
    let length = isula_sys::packet::next_length(socket.as_fd())?;
    let mut buffer = vec![0; length.min(packets::LIMIT + 1)];
    let length = fd_passing::receive(socket.as_fd(), &mut buffer, &mut Vec::new())?;
    buffer.truncate(length);
    Ok(buffer.into())
}
