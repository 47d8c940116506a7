//! A SPDY session within WebSocket messages: a stream of bytes, cut anywhere.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::Message;

use super::{
    Socket,
    remote::{broken, farewell},
};

/// Bytes of a message of ours.
const PIECE: usize = 16 << 10;

/// The stream of bytes.
pub(super) struct Tunnel {
    socket: Socket,
    message: Bytes,
    closing: bool,
}

impl Tunnel {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket, message: Bytes::new(), closing: false }
    }

    fn socket(&mut self) -> Pin<&mut Socket> {
        Pin::new(&mut self.socket)
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.message.is_empty() {
            match ready!(self.socket().poll_next(context)) {
                None | Some(Ok(Message::Close(_))) => return Poll::Ready(Ok(())),
                Some(Ok(Message::Binary(bytes))) => self.message = bytes,
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
            }
        }
        let length = self.message.len().min(buffer.remaining());
        buffer.put_slice(&self.message.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.socket().poll_ready(context)).map_err(broken)?;
        let piece = Bytes::copy_from_slice(bytes.get(..PIECE).unwrap_or(bytes));
        let length = piece.remaining();
        self.socket().start_send(Message::Binary(piece)).map_err(broken)?;
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_flush(context).map_err(broken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            ready!(self.socket().poll_ready(context)).map_err(broken)?;
            self.socket().start_send(farewell()).map_err(broken)?;
            self.closing = true;
        }
        self.socket().poll_flush(context).map_err(broken)
    }
}
