//! The sending half of a SPDY session, shared by everything that has something to say.

use std::{
    collections::HashMap,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncWriteExt, WriteHalf},
    sync::{Mutex as AsyncMutex, Notify},
};

use super::{
    frame::{self, DATA_MAX, FIN, Reason, Violation},
    headers::Packer,
};
use crate::streaming::request::Duplex;

/// What a stream and a session may send before the peer allows more (sections 2.6.4, 2.6.8).
const WINDOW: i64 = 64 << 10;

/// Sends frames, each whole: one that was cut short by the end of whoever sent it is completed
/// before the next.
pub(super) struct Writer {
    wire: AsyncMutex<Wire>,
    credit: Mutex<Credit>,
    more: Notify,
}

struct Wire {
    io: WriteHalf<Box<dyn Duplex>>,
    rest: BytesMut,
    packer: Packer,
}

/// What may be sent.
///
/// The clients of Kubernetes neither send window updates nor stay within windows; TCP alone slows
/// them and us. So the windows bind us from the first word about them that a client sends.
struct Credit {
    bound: bool,
    initial: i64,
    session: i64,
    streams: HashMap<u32, i64>,
}

impl Writer {
    pub(super) fn new(io: WriteHalf<Box<dyn Duplex>>) -> Self {
        let wire = Wire { io, rest: BytesMut::new(), packer: Packer::default() };
        let credit =
            Credit { bound: false, initial: WINDOW, session: WINDOW, streams: HashMap::new() };
        Self { wire: AsyncMutex::new(wire), credit: Mutex::new(credit), more: Notify::new() }
    }

    fn credit(&self) -> MutexGuard<'_, Credit> {
        self.credit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, write: impl FnOnce(&mut BytesMut, &mut Packer)) -> io::Result<()> {
        let wire = &mut *self.wire.lock().await;
        write(&mut wire.rest, &mut wire.packer);
        while wire.rest.has_remaining() {
            if wire.io.write_buf(&mut wire.rest).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        wire.io.flush().await
    }

    /// Accepts a stream of the peer's.
    pub(super) async fn accept(&self, stream: u32) -> io::Result<()> {
        {
            let mut credit = self.credit();
            let initial = credit.initial;
            credit.streams.insert(stream, initial);
        }
        self.send(|out, packer| frame::reply(out, stream, &packer.empty())).await
    }

    /// Refuses or ends a stream.
    pub(super) async fn reset(&self, stream: u32, reason: Reason) -> io::Result<()> {
        self.forget(stream);
        self.send(|out, _| frame::reset(out, stream, reason)).await
    }

    /// The peer reads a stream no more. What is sent to it from here on is dropped.
    pub(super) fn forget(&self, stream: u32) {
        self.credit().streams.remove(&stream);
        self.more.notify_waiters();
    }

    pub(super) async fn pong(&self, id: u32) -> io::Result<()> {
        self.send(|out, _| frame::ping(out, id)).await
    }

    pub(super) async fn allow(&self, stream: u32, bytes: u32) -> io::Result<()> {
        self.send(|out, _| frame::window_update(out, stream, bytes)).await
    }

    /// Sends bytes on a stream, as its peer takes them.
    ///
    /// # Errors
    /// The connection broke; `BrokenPipe` when the peer has ended the stream.
    pub(super) async fn data(&self, stream: u32, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(self.grant(stream, bytes.len().min(DATA_MAX)).await?);
            self.send(|out, _| {
                frame::data(out, stream, 0, piece.len());
                out.extend_from_slice(&piece);
            })
            .await?;
        }
        Ok(())
    }

    /// Ends our direction of a stream.
    pub(super) async fn finish(&self, stream: u32) -> io::Result<()> {
        if self.credit().streams.remove(&stream).is_none() {
            return Ok(());
        }
        self.send(|out, _| frame::data(out, stream, FIN, 0)).await
    }

    /// Waits until at least one byte may be sent; takes up to `wanted` off the windows.
    async fn grant(&self, stream: u32, wanted: usize) -> io::Result<usize> {
        loop {
            let more = self.more.notified();
            tokio::pin!(more);
            // Registered before the look at the windows, so that no update slips in between.
            more.as_mut().enable();
            match self.credit().take(stream, wanted) {
                Some(0) => {}
                Some(granted) => return Ok(granted),
                None => return Err(io::ErrorKind::BrokenPipe.into()),
            }
            more.await;
        }
    }

    /// The peer allows more.
    pub(super) fn update(&self, stream: u32, bytes: u32) -> Result<(), Violation> {
        let result = self.credit().add(stream, i64::from(bytes));
        self.more.notify_waiters();
        result
    }

    /// The peer changes what a stream may send at first.
    pub(super) fn initial(&self, bytes: u32) {
        self.credit().change_initial(i64::from(bytes));
        self.more.notify_waiters();
    }

    /// Ends the session: nothing more is sent.
    pub(super) async fn close(&self, last: u32, broken: bool) -> io::Result<()> {
        self.send(|out, _| frame::go_away(out, last, broken)).await?;
        self.wire.lock().await.io.shutdown().await
    }
}

impl Credit {
    fn take(&mut self, stream: u32, wanted: usize) -> Option<usize> {
        let window = self.streams.get_mut(&stream)?;
        let mut granted = i64::try_from(wanted).unwrap_or(i64::MAX);
        if self.bound {
            granted = granted.min(*window).min(self.session).max(0);
        }
        *window -= granted;
        self.session -= granted;
        usize::try_from(granted).ok()
    }

    fn add(&mut self, stream: u32, bytes: i64) -> Result<(), Violation> {
        self.bind();
        let window = if stream == 0 {
            Some(&mut self.session)
        } else {
            // An update for a stream that has ended was under way.
            self.streams.get_mut(&stream)
        };
        if let Some(window) = window {
            *window += bytes;
            if *window > i64::from(i32::MAX) {
                return Err(Violation("a window beyond 2^31"));
            }
        }
        Ok(())
    }

    fn change_initial(&mut self, bytes: i64) {
        self.bind();
        for window in self.streams.values_mut() {
            *window += bytes - self.initial;
        }
        self.initial = bytes;
    }

    /// From now on windows count. What went out before they did is taken as allowed.
    fn bind(&mut self) {
        if !self.bound {
            self.bound = true;
            self.session = self.session.max(0);
            for window in self.streams.values_mut() {
                *window = (*window).max(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Credit, WINDOW};
    use std::collections::HashMap;

    fn credit() -> Credit {
        let streams = HashMap::from([(1, WINDOW), (3, WINDOW)]);
        Credit { bound: false, initial: WINDOW, session: WINDOW, streams }
    }

    #[test]
    fn a_client_that_never_speaks_of_windows_is_sent_everything() {
        let mut credit = credit();
        assert_eq!(credit.take(1, 1 << 20), Some(1 << 20));
        assert_eq!(credit.take(1, 1 << 20), Some(1 << 20));
        assert_eq!(credit.take(5, 1), None);
    }

    #[test]
    fn a_client_that_does_is_sent_what_it_allows() {
        let mut credit = credit();
        credit.change_initial(10);
        assert_eq!(credit.take(1, 100), Some(10));
        assert_eq!(credit.take(1, 100), Some(0));
        credit.add(1, 5).unwrap();
        assert_eq!(credit.take(1, 100), Some(5));
        credit.add(3, 1 << 20).unwrap();
        let left = usize::try_from(WINDOW).unwrap() - 15;
        assert_eq!(credit.take(3, 1 << 20), Some(left), "the session's window binds too");
        credit.add(0, 7).unwrap();
        assert_eq!(credit.take(3, 1 << 20), Some(7));
        // An update for a stream that is gone changes nothing.
        credit.add(9, 1).unwrap();
        credit.add(1, i64::from(i32::MAX)).unwrap();
        credit.add(1, 1).unwrap_err();
    }

    #[test]
    fn a_window_that_shrinks_below_nothing_waits() {
        let mut credit = credit();
        credit.change_initial(100);
        assert_eq!(credit.take(1, 60), Some(60));
        credit.change_initial(10);
        assert_eq!(credit.take(1, 1), Some(0));
        credit.add(1, 51).unwrap();
        assert_eq!(credit.take(1, 5), Some(1));
    }
}
